//! How much a column is going to hold.

use crate::abi::{Batch, Values};

/// Beyond it, a column grows as it needs to.
const MOST_BYTES: usize = 1 << 20;

/// What is known of a column before its first row is written. A column that has its room from the
/// start is not copied while it grows, and leaves no shorter copies of itself behind in memory.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// The rows of the batch.
    pub(crate) rows: usize,
    /// The bytes of the texts that go in, which is about what comes out of most functions. Memory
    /// that is never written to costs nothing.
    pub(crate) bytes: usize,
}

impl Room {
    /// The room for what is made of a batch.
    pub(crate) fn of(batch: &Batch) -> Self {
        let bytes = batch.columns.iter().map(|column| match &column.values {
            Values::Utf8(texts) | Values::Binary(texts) => texts.bytes.len(),
            Values::ListUtf8(lists) => lists.items.bytes.len(),
            _ => 0,
        });
        let bytes = bytes.fold(0, usize::saturating_add).min(MOST_BYTES);
        Self { rows: batch.rows as usize, bytes }
    }
}
