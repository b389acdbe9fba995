//! A row as bytes: what the online store keeps, and what breaks ties between rows.
//!
//! ```text
//! row   := entry*
//! entry := tag: u32 le, length + 1: LEB128 (0 = null), bytes
//! bytes := boolean: 1 byte · numbers, dates, timestamps: little-endian · utf8, binary: as they are
//!        · lists of numbers: items little-endian · list<utf8>: (length: u32 le, bytes)*
//! ```
//! The tag is the first four bytes of the SHA-256 of the column's name, a NUL and its type, so
//! that a reader finds its columns although others were added, dropped or reordered, and takes
//! nothing for a value that was written under another type.

mod decode;
mod encode;
mod places;

use std::ops::Range;

pub use decode::RowDecoder;
pub use encode::{RowEncoder, content_hash};
pub use places::RowPlaces;

use arrow::array::{Array, ArrayRef};

use super::{DataType, Field};
use crate::{
    digest::Digest,
    error::{Error, Result},
};
use decode::Builder;
use encode::Source;

fn tag(field: &Field) -> [u8; 4] {
    let digest = Digest::of(format!("{}\0{}", field.name, field.data_type));
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn tags(fields: &[Field]) -> Result<Vec<[u8; 4]>> {
    let tags: Vec<_> = fields.iter().map(tag).collect();
    let twin =
        (1..tags.len()).find_map(|i| Some((tags[..i].iter().position(|t| *t == tags[i])?, i)));
    match twin {
        Some((a, b)) => Err(Error::invalid(format!(
            "the columns \"{}\" and \"{}\" cannot be told apart in a row: their tags are equal",
            fields[a].name, fields[b].name
        ))
        .with_hint("rename one of them")),
        None => Ok(tags),
    }
}

/// Which columns rows have: made once, for many decoders and encoders.
#[derive(Debug, Clone)]
pub struct RowSchema {
    /// The columns in the order of their names, which is that of a row's entries.
    columns: Vec<Wanted>,
    /// Their types, in the order in which they were named.
    types: Vec<DataType>,
}

#[derive(Debug, Clone)]
struct Wanted {
    tag: [u8; 4],
    name: String,
    data_type: DataType,
    /// Its place among the columns that are given.
    place: usize,
}

impl RowSchema {
    /// Columns of these names and types, in this order.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when two columns share a tag (two equal names, or one pair
    /// in four thousand million).
    pub fn new(fields: &[Field]) -> Result<Self> {
        let wanted = |(place, (field, tag)): (usize, (&Field, [u8; 4]))| Wanted {
            tag,
            name: field.name.clone(),
            data_type: field.data_type,
            place,
        };
        let columns = fields.iter().zip(tags(fields)?).enumerate().map(wanted);
        let mut columns: Vec<_> = columns.collect();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { columns, types: fields.iter().map(|field| field.data_type).collect() })
    }

    /// An encoder for rows of these columns, which are in the order in which they were named.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when a column is missing or not of its type.
    pub fn encoder<'a>(&self, columns: &'a [ArrayRef]) -> Result<RowEncoder<'a>> {
        let source = |Wanted { tag, name, data_type, place }: &Wanted| {
            let column = columns.get(*place);
            match column.filter(|column| *column.data_type() == data_type.to_arrow()) {
                Some(column) => Ok((*tag, Source::new(column, *data_type))),
                None => Err(Error::internal(format!(
                    "column \"{name}\" is {} and should be {data_type}",
                    column.map_or("missing".to_owned(), |column| column.data_type().to_string()),
                ))),
            }
        };
        Ok(RowEncoder { columns: self.columns.iter().map(source).collect::<Result<_>>()? })
    }

    /// No rows yet of so many, to be found where they lie.
    pub fn places(&self, rows: usize) -> RowPlaces {
        RowPlaces {
            columns: self.types.iter().map(|data_type| (*data_type, 0)).collect(),
            places: Vec::with_capacity(rows * self.types.len()),
        }
    }

    /// A decoder that expects about `rows` rows.
    pub fn decoder(&self, rows: usize) -> RowDecoder<'_> {
        let builder = |wanted: &Wanted| Builder::new(wanted.data_type, rows);
        RowDecoder { columns: &self.columns, builders: self.columns.iter().map(builder).collect() }
    }
}

/// Does something with each item of a list of texts; `None` where the bytes are none.
pub(in crate::value) fn texts<'a>(bytes: &'a [u8], mut item: impl FnMut(&'a str)) -> Option<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (text, behind) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        item(std::str::from_utf8(text).ok()?);
        rest = behind;
    }
    Some(())
}

fn bad_bytes(wanted: &Wanted) -> Error {
    corrupt(&format!("bad bytes for column \"{}\"", wanted.name))
}

/// Says of each column, in their order, where in the row its value is: nowhere, where it is null or
/// missing.
fn locate(
    columns: &[Wanted],
    row: &[u8],
    mut tell: impl FnMut(&Wanted, Option<Range<usize>>) -> Result<()>,
) -> Result<()> {
    // Entries and columns are both in the order of names: each is looked for where the one before
    // was found, and only one that is missing makes for another look from the start.
    let mut rest = row;
    for wanted in columns {
        let found = match find(rest, wanted.tag)? {
            None => find(row, wanted.tag)?,
            found => found,
        };
        let value = found.and_then(|(value, behind)| {
            rest = behind;
            let end = row.len() - behind.len();
            value.map(|value| end - value.len()..end)
        });
        tell(wanted, value)?;
    }
    Ok(())
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(format!("a stored row cannot be read: {what}"))
}

/// What the entry with this tag holds, null or bytes, and what stands behind it; `None` where there
/// is no such entry.
type Found<'a> = Option<(Option<&'a [u8]>, &'a [u8])>;

fn find(mut row: &[u8], tag: [u8; 4]) -> Result<Found<'_>> {
    while !row.is_empty() {
        let (found, rest) =
            row.split_first_chunk::<4>().ok_or_else(|| corrupt("it ends in a tag"))?;
        let (length, rest) = read_length(rest).ok_or_else(|| corrupt("it ends in a length"))?;
        let (bytes, behind) = match length {
            Some(length) => {
                let split = rest.split_at_checked(length);
                let (bytes, behind) = split.ok_or_else(|| corrupt("it ends in a value"))?;
                (Some(bytes), behind)
            }
            None => (None, rest),
        };
        if *found == tag {
            return Ok(Some((bytes, behind)));
        }
        row = behind;
    }
    Ok(None)
}

fn read_length(bytes: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let length = match value.checked_sub(1) {
                Some(length) => Some(usize::try_from(length).ok()?),
                None => None,
            };
            return Some((length, &bytes[i + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::AsArray as _;
    use proptest::prelude::*;

    use super::{super::tests::any_columns, *};

    proptest! {
        #[test]
        fn rows_round_trip((fields, columns) in any_columns(0..20)) {
            let rows = columns[0].len();
            let encoder = RowEncoder::new(&fields, &columns).unwrap();
            let schema = RowSchema::new(&fields).unwrap();
            let mut decoder = schema.decoder(rows);
            let mut bytes = Vec::new();
            for row in 0..rows {
                bytes.clear();
                encoder.encode(row, &mut bytes);
                decoder.push(&bytes).unwrap();
            }
            for (decoded, column) in decoder.finish().iter().zip(&columns) {
                prop_assert_eq!(&decoded.to_data(), &column.to_data());
            }
        }

        /// The same row through decoders of some of its columns, in any order.
        #[test]
        fn some_columns_are_those_of_all(
            (fields, columns) in any_columns(1..4),
            chosen in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        ) {
            let mut places: Vec<_> = chosen.iter().map(|index| index.index(fields.len())).collect();
            let mut seen = std::collections::BTreeSet::new();
            places.retain(|place| seen.insert(*place));
            let some: Vec<_> = places.iter().map(|place| fields[*place].clone()).collect();
            let schema = RowSchema::new(&some).unwrap();
            let mut decoder = schema.decoder(1);
            let encoder = RowEncoder::new(&fields, &columns).unwrap();
            let mut bytes = Vec::new();
            for row in 0..columns[0].len() {
                bytes.clear();
                encoder.encode(row, &mut bytes);
                decoder.push(&bytes).unwrap();
            }
            for (decoded, place) in decoder.finish().iter().zip(&places) {
                prop_assert_eq!(&decoded.to_data(), &columns[*place].to_data());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(fuzz_cases()))]

        /// Whatever the bytes: cut, changed, moved or made up. `UNSKEW_FUZZ` is the number of cases.
        #[test]
        fn garbage_is_an_error_or_a_row_but_never_a_panic(
            garbage in proptest::collection::vec(any::<u8>(), 0..64),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<proptest::sample::Index>(),
            (fields, columns) in any_columns(1..2),
        ) {
            let schema = RowSchema::new(&fields).unwrap();
            let mut row = Vec::new();
            RowEncoder::new(&fields, &columns).unwrap().encode(0, &mut row);
            let decode = |bytes: &[u8]| {
                let mut decoder = schema.decoder(1);
                let decoded = decoder.push(bytes).is_ok();
                // Where values are found, and only there, they can be decoded.
                assert_eq!(schema.places(1).push(&schema, 0, bytes).is_ok(), decoded);
                if decoded {
                    assert!(decoder.finish().iter().all(|column| column.len() == 1));
                }
            };
            decode(&garbage);
            decode(&row[..cut.index(row.len() + 1)]);
            for (place, byte) in changes {
                if !row.is_empty() {
                    let place = place.index(row.len());
                    row[place] = byte;
                }
            }
            decode(&row);
            row.extend_from_slice(&garbage);
            decode(&row);
        }
    }

    fn fuzz_cases() -> u32 {
        std::env::var("UNSKEW_FUZZ").map_or(256, |cases| cases.parse().unwrap())
    }

    #[test]
    fn columns_that_came_or_went_are_null_or_passed_over() {
        let field = |name: &str, data_type| Field {
            name: name.into(),
            data_type,
            nullable: true,
            documentation: String::new(),
        };
        let old = [field("a", DataType::Int64), field("b", DataType::Utf8)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(arrow::array::Int64Array::from(vec![7])),
            Arc::new(arrow::array::StringArray::from(vec!["x"])),
        ];
        let mut row = Vec::new();
        RowEncoder::new(&old, &columns).unwrap().encode(0, &mut row);
        let new = [
            field("c", DataType::Int64),
            field("a", DataType::Float64),
            field("b", DataType::Utf8),
        ];
        let schema = RowSchema::new(&new).unwrap();
        let mut decoder = schema.decoder(1);
        decoder.push(&row).unwrap();
        let decoded = decoder.finish();
        assert!(decoded[0].is_null(0), "added");
        assert!(decoded[1].is_null(0), "another type");
        assert_eq!(decoded[2].as_string::<i32>().value(0), "x");
    }

    #[test]
    fn the_hash_depends_on_content_not_on_order() {
        let field = |name: &str| Field {
            name: name.into(),
            data_type: DataType::Int64,
            nullable: true,
            documentation: String::new(),
        };
        let column = |value: i64| Arc::new(arrow::array::Int64Array::from(vec![value])) as ArrayRef;
        let hash = content_hash(&[field("a"), field("b")], &[column(1), column(2)], 0).unwrap();
        assert_eq!(
            content_hash(&[field("b"), field("a")], &[column(2), column(1)], 0).unwrap(),
            hash
        );
        assert_ne!(
            content_hash(&[field("a"), field("b")], &[column(2), column(1)], 0).unwrap(),
            hash
        );
    }
}
