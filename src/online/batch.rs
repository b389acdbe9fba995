//! Rows on their way into a store and out of it, many in one buffer.

use std::{cmp::Ordering, io, ops::Range};

use super::{EntityKeys, RowVersion, Rows, ViewId, value::definition};

/// A row as a store gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRow<'a> {
    /// When it became true, and when it was written down.
    pub version: RowVersion,
    /// Its features: see [`ValueSchema`](super::ValueSchema).
    pub value: &'a [u8],
}

impl<'a> StoredRow<'a> {
    /// Whether this row, which is stored, stays when `new` comes: if it is newer, by event time and
    /// created time. Of two rows that are equally new, the one with the greater hash of its content
    /// stays, if one definition made both; otherwise hashes are of different columns and say
    /// nothing, and the new row is the one under the definition in force.
    pub(super) fn outlives(&self, new: &StoredRow<'_>) -> bool {
        let times = |row: &StoredRow<'_>| (row.version.event, row.version.created);
        match times(self).cmp(&times(new)) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal => {
                definition(self.value) == definition(new.value)
                    && self.version.content > new.version.content
            }
        }
    }

    /// Whether it is one of these rows of its view.
    pub(super) fn is_among(&self, rows: Rows) -> bool {
        match rows {
            Rows::All => true,
            Rows::Outdated(by) => definition(self.value) != Some(by.start_of_values().as_slice()),
        }
    }

    /// The length of [`StoredRow::write_to`].
    pub(super) fn stored_len(&self) -> usize {
        RowVersion::BYTES + self.value.len()
    }

    /// Writes the row as stores keep it: the bytes of its version, then its value.
    pub(super) fn write_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        out.write_all(&self.version.to_bytes())?;
        out.write_all(self.value)
    }

    /// The row that [`StoredRow::write_to`] wrote; `None` where it wrote no such.
    pub(super) fn parse(stored: &'a [u8]) -> Option<Self> {
        let (version, value) = stored.split_first_chunk()?;
        let version = RowVersion::from_bytes(version)?;
        Some(Self { version, value })
    }
}

/// Rows of one view with the keys of their entities, in any order.
#[derive(Debug, Clone, Default)]
pub struct RowBatch {
    /// Key and value of one row after the other.
    bytes: Vec<u8>,
    rows: Vec<Extent>,
}

#[derive(Debug, Clone, Copy)]
struct Extent {
    version: RowVersion,
    key: usize,
    value: usize,
    end: usize,
}

impl RowBatch {
    /// A batch with room for `rows` rows, keys and values of which take `bytes` bytes.
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), rows: Vec::with_capacity(rows) }
    }

    /// Adds a row; `write_value` appends its value to the buffer it is given, and only appends.
    pub fn push(
        &mut self,
        key: &[u8],
        version: RowVersion,
        write_value: impl FnOnce(&mut Vec<u8>),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        write_value(&mut self.bytes);
        let value = start + key.len();
        self.rows.push(Extent { version, key: start, value, end: self.bytes.len() });
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows with the keys of their entities, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], StoredRow<'_>)> {
        self.rows.iter().map(|extent| {
            let value = &self.bytes[extent.value..extent.end];
            (&self.bytes[extent.key..extent.value], StoredRow { version: extent.version, value })
        })
    }
}

/// What is looked up: the rows of these entities in these views.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    /// The views.
    pub views: &'a [ViewId],
    /// The entities.
    pub keys: &'a EntityKeys,
}

/// What a [`Lookup`] found: a row or none for every view and key, view by view, and within a view in the order of the keys.
#[derive(Debug, Clone)]
pub struct ReadRows {
    keys: usize,
    bytes: Vec<u8>,
    cells: Vec<Option<Cell>>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    version: RowVersion,
    start: usize,
    end: usize,
}

impl ReadRows {
    /// No row for any of so many keys in so many views.
    pub fn nothing(views: usize, keys: usize) -> Self {
        Self { keys, bytes: Vec::new(), cells: vec![None; views * keys] }
    }

    /// Makes room for rows of so many bytes together.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Adds what the key at a place in the lookup has in the view at a place in it. There are a key
    /// and a view at these places.
    pub(super) fn put(&mut self, view: usize, key: usize, row: StoredRow<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(row.value);
        self.cells[view * self.keys + key] =
            Some(Cell { version: row.version, start, end: self.bytes.len() });
    }

    /// The bytes that all the values are in.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where among the bytes the values are that [`ReadRows::view`] gives.
    pub fn places(&self, view: usize) -> impl ExactSizeIterator<Item = Option<Range<usize>>> {
        let cells = self.cells.iter().skip(view * self.keys).take(self.keys);
        cells.map(|cell| cell.map(|cell| cell.start..cell.end))
    }

    /// What the keys have in the view at this place in the request, in the order of the keys.
    pub fn view(&self, view: usize) -> impl ExactSizeIterator<Item = Option<StoredRow<'_>>> {
        let cells = self.cells.iter().skip(view * self.keys).take(self.keys);
        cells.map(|cell| {
            cell.map(|cell| StoredRow {
                version: cell.version,
                value: &self.bytes[cell.start..cell.end],
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    const VERSION: RowVersion = RowVersion { event: Timestamp(1), created: None, content: 2 };

    fn values<'a>(rows: impl Iterator<Item = Option<StoredRow<'a>>>) -> Vec<Option<&'a [u8]>> {
        rows.map(|row| row.map(|row| row.value)).collect()
    }

    #[test]
    fn stored_rows_round_trip() {
        let row = StoredRow { version: VERSION, value: b"value" };
        let mut stored = Vec::new();
        row.write_to(&mut stored).unwrap();
        assert_eq!(stored.len(), row.stored_len());
        assert_eq!(StoredRow::parse(&stored), Some(row));
        assert_eq!(StoredRow::parse(&stored[..RowVersion::BYTES - 1]), None);
    }

    #[test]
    fn of_two_rows_the_newer_stays() {
        let row = |event, content, value: &'static [u8]| StoredRow {
            version: RowVersion { event: Timestamp(event), created: None, content },
            value,
        };
        let [one, other] = [&[1; 20], &[2; 20]];
        let check = |stored: StoredRow<'_>, new: StoredRow<'_>, stays: bool| {
            assert_eq!(stored.outlives(&new), stays, "{stored:?} and {new:?}");
        };
        check(row(2, 0, one), row(1, 9, other), true);
        check(row(1, 9, one), row(2, 0, other), false);
        check(row(1, 9, one), row(1, 8, one), true);
        check(row(1, 8, one), row(1, 9, one), false);
        check(row(1, 9, one), row(1, 8, other), false);
        check(row(1, 8, one), row(1, 9, other), false);
    }

    #[test]
    fn batches_keep_keys_and_values_apart() {
        let mut batch = RowBatch::with_capacity(2, 0);
        batch.push(b"a", VERSION, |out| out.extend_from_slice(b"bc"));
        batch.push(b"ab", VERSION, |_| ());
        let rows: Vec<_> = batch.iter().map(|(key, row)| (key, row.value)).collect();
        assert_eq!(rows, [(b"a".as_slice(), b"bc".as_slice()), (b"ab", b"")]);
    }

    #[test]
    fn rows_are_found_by_view_and_key() {
        let mut rows = ReadRows::nothing(2, 2);
        for (view, key, value) in [(1, 1, b"d".as_slice()), (0, 0, b"a"), (1, 0, b"")] {
            rows.put(view, key, StoredRow { version: VERSION, value });
        }
        assert_eq!(values(rows.view(0)), [Some(b"a".as_slice()), None]);
        assert_eq!(values(rows.view(1)), [Some(b"".as_slice()), Some(b"d")]);
        assert_eq!(rows.view(2).len(), 0);
    }
}
