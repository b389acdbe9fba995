//! Bitmaps: row `i` is bit `i % 8`, counted from the least significant, of byte `i / 8`.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// The length in bytes of a bitmap over `rows` rows.
pub(crate) fn bytes_for(rows: usize) -> usize {
    rows.div_ceil(8)
}

/// Whether the bit of `row` is set.
///
/// # Panics
/// Where the bitmap is too short for the row.
#[inline]
pub(crate) fn get(bytes: &[u8], row: usize) -> bool {
    bytes[row / 8] & (1 << (row % 8)) != 0
}

/// Sets the bit of `row`.
///
/// # Panics
/// Where the bitmap is too short for the row.
#[inline]
pub(crate) fn set(bytes: &mut [u8], row: usize) {
    bytes[row / 8] |= 1 << (row % 8);
}

/// The rows from `row` to `end` whose bits are equal to the one of `row`, as many as follow each
/// other in its word of 64 rows; and whether that bit is set. `row` is before `end`.
#[inline]
pub(crate) fn run(words: &[u64], row: usize, end: usize) -> (Range<usize>, bool) {
    let bits = words[row / 64] >> (row % 64);
    let set = bits & 1 == 1;
    let others = if set { !bits } else { bits };
    let length = (others.trailing_zeros() as usize).min(64 - row % 64);
    (row..end.min(row + length), set)
}

/// Whether the bit of `row` is set in a bitmap of words.
#[inline]
pub(crate) fn is_set(words: &[u64], row: usize) -> bool {
    words[row / 64] >> (row % 64) & 1 == 1
}

/// Which rows of a column under construction have a value. Nothing is stored until the first null.
#[derive(Debug)]
pub(crate) struct Validity {
    rows: usize,
    bytes: Vec<u8>,
}

impl Validity {
    /// All of `rows` rows have a value.
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, bytes: Vec::new() }
    }

    /// Makes `row` null.
    #[inline]
    pub(crate) fn clear(&mut self, row: usize) {
        if self.bytes.is_empty() {
            self.bytes = all_set(self.rows);
        }
        self.bytes[row / 8] &= !(1 << (row % 8));
    }

    /// Makes all rows null that are not among these.
    pub(crate) fn keep(&mut self, rows: &[u64]) {
        if self.bytes.is_empty() {
            self.bytes = all_set(self.rows);
        }
        let (eights, rest) = self.bytes.as_chunks_mut();
        let last = rows.get(eights.len()).map_or([0; 8], |word| word.to_le_bytes());
        rest.iter_mut().zip(last).for_each(|(byte, rows)| *byte &= rows);
        for (eight, rows) in eights.iter_mut().zip(rows) {
            *eight = (u64::from_le_bytes(*eight) & rows).to_le_bytes();
        }
    }

    /// The bitmap, empty when no row is null.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A bitmap with a bit for each of `rows` rows; the bits after the last are zero, so that equal
/// columns are equal bytes.
fn all_set(rows: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; bytes_for(rows)];
    if let (Some(last), used @ 1..) = (bytes.last_mut(), rows % 8) {
        *last = (1 << used) - 1;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::words;

    #[test]
    fn nothing_is_stored_without_a_null() {
        assert_eq!(Validity::new(9).finish(), []);
    }

    #[test]
    fn rows_that_are_kept_stay_as_they_are() {
        for rows in [1, 7, 8, 63, 64, 65, 200] {
            let kept = |row: usize| !row.is_multiple_of(3);
            let mut bytes = vec![0; bytes_for(rows)];
            (0..rows).filter(|row| kept(*row)).for_each(|row| set(&mut bytes, row));
            let words = words(&bytes).collect::<Vec<_>>();
            assert!((0..rows).all(|row| is_set(&words, row) == kept(row)));

            let mut validity = Validity::new(rows);
            validity.keep(&words);
            assert_eq!(validity.finish(), bytes);

            let mut validity = Validity::new(rows);
            validity.clear(rows - 1);
            validity.keep(&words);
            let bytes = validity.finish();
            assert!((0..rows).all(|row| get(&bytes, row) == (kept(row) && row + 1 < rows)));
        }
    }

    #[test]
    fn bits_after_the_last_row_are_zero() {
        for rows in 1..=17 {
            let mut validity = Validity::new(rows);
            validity.clear(rows - 1);
            let bytes = validity.finish();
            assert_eq!(bytes.len(), bytes_for(rows));
            for row in 0..bytes.len() * 8 {
                assert_eq!(get(&bytes, row), row + 1 < rows, "row {row} of {rows}");
            }
        }
    }

    /// Bits far apart and close together, from the first to the last row of a word.
    #[test]
    fn runs_are_of_equal_bits() {
        for seed in 1..64_u64 {
            let bit = |row: u64| !(row * row * seed / 97 + row / seed).is_multiple_of(3);
            for rows in [1, 7, 8, 63, 64, 65, 127, 128, 200] {
                let mut bytes = vec![0; bytes_for(rows)];
                (0..rows).filter(|row| bit(*row as u64)).for_each(|row| set(&mut bytes, row));
                let (words, mut next) = (words(&bytes).collect::<Vec<_>>(), 0);
                while next < rows {
                    let (run, is_set) = run(&words, next, rows);
                    assert!(run.start == next && run.end > next && run.end <= rows);
                    assert!(run.clone().all(|row| get(&bytes, row) == is_set), "{run:?}");
                    // Nothing but the end of its word ends it before another bit does.
                    let whole = run.end.is_multiple_of(64) || run.end == rows;
                    assert!(whole || get(&bytes, run.end) != is_set, "{run:?}");
                    next = run.end;
                }
            }
        }
    }

    #[test]
    fn set_is_seen_by_get() {
        let mut bytes = [0; 2];
        set(&mut bytes, 9);
        assert_eq!(bytes, [0, 2]);
        assert!(get(&bytes, 9) && !get(&bytes, 8));
    }
}
