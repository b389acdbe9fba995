//! Batches of feature rows that are kept while their rows may be asked for.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, new_empty_array},
    compute::interleave,
};
use datafusion::common::{Result, internal_err};

use super::{FeatureBatch, Layout};
use crate::{
    offline::errors::external,
    value::{Field, RowEncoder},
};

/// The batches that are still needed, each in a slot.
pub(in crate::offline) struct Held {
    slots: Vec<Option<FeatureBatch>>,
    layout: Arc<Layout>,
}

/// Where a row is: the slot of its batch, and the row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::offline) struct Position {
    pub(in crate::offline) slot: usize,
    pub(in crate::offline) row: usize,
}

impl Held {
    pub(in crate::offline) fn new(layout: Arc<Layout>) -> Self {
        Self { slots: Vec::new(), layout }
    }

    /// Puts a batch into a free slot.
    pub(in crate::offline) fn insert(&mut self, batch: FeatureBatch) -> usize {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(batch);
        slot
    }

    pub(in crate::offline) fn get(&self, slot: usize) -> Option<&FeatureBatch> {
        self.slots.get(slot)?.as_ref()
    }

    /// Drops the batches that `is_needed` does not know.
    pub(in crate::offline) fn release(&mut self, is_needed: impl Fn(usize) -> bool) {
        for (slot, batch) in self.slots.iter_mut().enumerate() {
            if !is_needed(slot) {
                *batch = None;
            }
        }
    }

    pub(in crate::offline) fn bytes(&self) -> usize {
        self.slots.iter().flatten().map(|batch| batch.bytes).sum()
    }

    /// The columns of the rows at `positions`, in the order of [`Layout::columns`].
    pub(in crate::offline) fn gather(&self, positions: &[Position]) -> Result<Vec<ArrayRef>> {
        let indices: Vec<(usize, usize)> = positions.iter().map(|at| (at.slot, at.row)).collect();
        let gather = |(column, field): (usize, &Field)| {
            let empty = new_empty_array(&field.data_type.to_arrow());
            let arrays: Vec<&dyn Array> = self
                .slots
                .iter()
                .map(|slot| slot.as_ref().map_or(&empty, |batch| &batch.columns[column]).as_ref())
                .collect();
            match arrays.is_empty() {
                true => Ok(empty),
                false => Ok(interleave(&arrays, &indices)?),
            }
        };
        self.layout.columns().iter().enumerate().map(gather).collect()
    }

    /// The hashes of the content of rows.
    pub(in crate::offline) fn hashes(&self) -> Hashes<'_> {
        Hashes { held: self, encoders: Vec::new(), scratch: Vec::new() }
    }
}

/// Hashes rows of held batches.
pub(in crate::offline) struct Hashes<'a> {
    held: &'a Held,
    /// By slot; made when a row of the slot is first hashed, which few ever are.
    encoders: Vec<Option<RowEncoder<'a>>>,
    scratch: Vec<u8>,
}

impl Hashes<'_> {
    /// The hash of the content of the row, as [`RowEncoder::hash`].
    pub(in crate::offline) fn of(&mut self, at: Position) -> Result<u64> {
        if self.encoders.len() <= at.slot {
            self.encoders.resize_with(at.slot + 1, || None);
        }
        let encoder = match &mut self.encoders[at.slot] {
            Some(encoder) => encoder,
            empty => {
                let Some(batch) = self.held.get(at.slot) else {
                    return internal_err!("a row of a batch that was let go");
                };
                let fields = &self.held.layout.content;
                let content = &batch.columns[batch.columns.len() - fields.len()..];
                empty.insert(RowEncoder::new(fields, content).map_err(external)?)
            }
        };
        Ok(encoder.hash(at.row, &mut self.scratch))
    }
}
