//! How many rows a call has room for, so that calls of many are made as far as they can be.

use super::subject::{Alone, Given};
use crate::{
    value::{Cell, Row},
    wasm::Limits,
};

/// What rows take of the limits of a call, as far as they show it alone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    rows: u64,
    /// Of what they are and what they give, about.
    bytes: u64,
    instructions: u64,
    /// The most memory that one of them takes.
    memory_bytes: u64,
}

impl Load {
    /// Of no rows, under these params.
    pub(super) fn of_params(params: &Row) -> Self {
        Self { bytes: params.iter().map(bytes).sum(), ..Self::default() }
    }

    /// With a row more; of one that is not known alone, what it is counts.
    pub(super) fn with(self, row: &Row, alone: Option<&Alone>) -> Self {
        let given = match alone.map(|alone| &alone.given) {
            Some(Given::Values(row)) => row.iter().map(bytes).sum(),
            Some(Given::Error(message)) => message.len() as u64,
            Some(Given::Stopped(_)) | None => 0,
        };
        let instructions = alone.and_then(|alone| alone.instructions).unwrap_or_default();
        let memory_bytes = alone.map_or(0, |alone| alone.memory_bytes);
        Self {
            rows: self.rows + 1,
            bytes: self.bytes + row.iter().map(bytes).sum::<u64>() + given,
            instructions: self.instructions.saturating_add(instructions),
            memory_bytes: self.memory_bytes.max(memory_bytes),
        }
    }

    /// Whether a call has room for it, with as much to spare: what rows take together is not quite
    /// what they take alone.
    pub(super) fn fits(&self, limits: &Limits, instructions: u64) -> bool {
        self.rows <= limits.rows.into()
            && self.bytes <= limits.input_bytes.min(limits.output_bytes) / 2
            && self.instructions <= instructions
    }

    /// Whether a call has memory for it for sure. What goes in or out may lie there several times,
    /// while it grows; a memory that is large from the start may have room for it all the same.
    pub(super) fn has_memory(&self, limits: &Limits) -> bool {
        self.memory_bytes.saturating_add(4 * self.bytes) <= limits.memory_bytes
    }
}

/// The bytes of a value in a column, about.
fn bytes(cell: &Cell) -> u64 {
    match cell {
        Cell::Utf8(text) => 4 + text.len() as u64,
        Cell::Binary(bytes) => 4 + bytes.len() as u64,
        Cell::List(items) => 4 + items.iter().map(bytes).sum::<u64>(),
        _ => 8,
    }
}
