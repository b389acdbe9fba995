//! Which feature row each entity row gets, while feature rows come in whatever order.
//!
//! A feature row is first seen by the earliest entity row of its key that is not before it: that is
//! the place where it competes. When all have come, every entity row gets the newest of the rows
//! that won at its place or at an earlier one of its key.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, UInt32Array, new_null_array},
    compute::{concat, interleave, take},
    datatypes::TimestampMicrosecondType,
};
use datafusion::common::{Result, internal_err};

use super::{JoinSpec, index::EntityIndex};
use crate::{
    offline::{errors::external, feature_rows::is_newer},
    value::RowSchema,
};

/// How many bytes of a column are put together: 32-bit offsets reach no further than twice that.
const PIECE_BYTES: usize = 1 << 30;

/// Feature rows on their way to their places.
pub(super) struct Arrivals {
    /// The event time, the created time, the content.
    pub(super) columns: Vec<ArrayRef>,
    /// Of those rows that have a place: which they are, in order, and the place.
    pub(super) rows: Vec<u32>,
    pub(super) places: Vec<u32>,
}

/// Where a row is kept: which batch or piece, and which row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    batch: u32,
    row: u32,
}

const NOWHERE: At = At { batch: u32::MAX, row: 0 };

/// The newest row so far at a place.
#[derive(Debug, Clone, Copy)]
struct Best {
    event: i64,
    at: At,
}

/// The rows that won so far.
pub(super) struct Winners {
    spec: Arc<JoinSpec>,
    format: RowSchema,
    /// By place.
    best: Vec<Best>,
    held: Vec<Held>,
    held_bytes: usize,
    /// Batches of which less than half may still be winners.
    thin: Vec<u32>,
}

/// Rows that won when they came.
#[derive(Default)]
struct Held {
    columns: Vec<ArrayRef>,
    /// Each row's place.
    places: Vec<u32>,
    /// How many are still winners.
    live: usize,
}

impl Held {
    fn bytes(&self) -> usize {
        let columns = self.columns.iter().map(|column| column.get_array_memory_size());
        columns.sum::<usize>() + self.places.capacity() * size_of::<u32>()
    }
}

impl Winners {
    /// No rows so far.
    pub(super) fn new(spec: Arc<JoinSpec>, places: usize) -> Result<Self> {
        Ok(Self {
            format: RowSchema::new(&spec.layout.content).map_err(external)?,
            spec,
            best: vec![Best { event: 0, at: NOWHERE }; places],
            held: Vec::new(),
            held_bytes: 0,
            thin: Vec::new(),
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.best.capacity() * size_of::<Best>() + self.held_bytes
    }

    /// Lets rows compete.
    pub(super) fn arrive(&mut self, arrivals: Arrivals) -> Result<()> {
        let Arrivals { columns, mut rows, mut places } = arrivals;
        let Some(events) = columns[0].as_primitive_opt::<TimestampMicrosecondType>() else {
            return internal_err!("event times that are no timestamps");
        };
        let batch = self.held.len() as u32;
        for (row, place) in rows.iter().zip(&places) {
            let (event, at) = (events.value(*row as usize), At { batch, row: *row });
            let best = self.best[*place as usize];
            let wins = best.at == NOWHERE || self.is_newer(Best { event, at }, best, &columns)?;
            if wins {
                self.best[*place as usize] = Best { event, at };
                if best.at != NOWHERE && best.at.batch != batch {
                    self.lose(best.at.batch);
                }
            }
        }
        // A row is never moved behind where it was, so none is taken for another.
        let mut kept = 0;
        for i in 0..rows.len() {
            let best = &mut self.best[places[i] as usize];
            if best.at == (At { batch, row: rows[i] }) {
                best.at.row = kept as u32;
                (rows[kept], places[kept]) = (rows[i], places[i]);
                kept += 1;
            }
        }
        rows.truncate(kept);
        places.truncate(kept);
        places.shrink_to_fit();
        let rows = UInt32Array::from(rows);
        let columns = columns.iter().map(|column| take(column, &rows, None));
        let held = Held { columns: columns.collect::<Result<_, _>>()?, places, live: kept };
        self.held_bytes += held.bytes();
        self.held.push(held);
        self.shrink()
    }

    /// Whether one row is newer than another; `arrived` is the batch that is not held yet.
    fn is_newer(&self, one: Best, other: Best, arrived: &[ArrayRef]) -> Result<bool> {
        let columns = |at: At| {
            self.held.get(at.batch as usize).map_or(arrived, |held| held.columns.as_slice())
        };
        let created = |at: At| {
            let created = columns(at)[1].as_primitive::<TimestampMicrosecondType>();
            created.is_valid(at.row as usize).then(|| created.value(at.row as usize))
        };
        let hash = |at: At| -> Result<u64> {
            let encoder = self.format.encoder(&columns(at)[2..]).map_err(external)?;
            Ok(encoder.hash(at.row as usize, &mut Vec::new()))
        };
        is_newer((one.event, || created(one.at)), (other.event, || created(other.at)), || {
            Ok((hash(one.at)?, hash(other.at)?))
        })
    }

    /// One row of the batch wins no more.
    fn lose(&mut self, batch: u32) {
        let held = &mut self.held[batch as usize];
        held.live -= 1;
        if held.live * 2 < held.places.len() {
            self.thin.push(batch);
        }
    }

    /// Lets go of the losers in batches that are mostly losers.
    fn shrink(&mut self) -> Result<()> {
        while let Some(batch) = self.thin.pop() {
            let held = &mut self.held[batch as usize];
            if held.live * 2 >= held.places.len() {
                continue;
            }
            self.held_bytes -= held.bytes();
            let mut rows = Vec::with_capacity(held.live);
            for (row, place) in held.places.iter().enumerate() {
                let best = &mut self.best[*place as usize];
                if best.at == (At { batch, row: row as u32 }) {
                    best.at.row = rows.len() as u32;
                    rows.push(row as u32);
                }
            }
            held.places = rows.iter().map(|row| held.places[*row as usize]).collect();
            let rows = UInt32Array::from(rows);
            for column in &mut held.columns {
                *column = take(column, &rows, None)?;
            }
            self.held_bytes += held.bytes();
        }
        Ok(())
    }

    /// What each of so many entity rows gets.
    pub(super) fn finish(mut self, index: &EntityIndex, rows: usize) -> Result<Matches> {
        let mut at = vec![NOWHERE; rows];
        let mut matched = 0;
        for key in 0..index.keys().len() {
            let mut newest = Best { event: 0, at: NOWHERE };
            for place in index.places(key) {
                let best = self.best[place];
                if best.at != NOWHERE
                    && (newest.at == NOWHERE || self.is_newer(best, newest, &[])?)
                {
                    newest = best;
                }
                let oldest = self.spec.oldest(index.time(place));
                if newest.at != NOWHERE && newest.event >= oldest {
                    at[index.row(place)] = newest.at;
                    matched += 1;
                }
            }
        }
        self.best = Vec::new();
        self.put_together(at, matched)
    }

    /// The columns that come out in few pieces instead of many batches, and where the rows are then.
    fn put_together(self, mut at: Vec<At>, matched: usize) -> Result<Matches> {
        let mut starts = Vec::with_capacity(self.held.len());
        let (mut start, mut bytes) = (At { batch: 0, row: 0 }, 0);
        for held in &self.held {
            if start.row > 0 && bytes + held.bytes() > PIECE_BYTES {
                (start, bytes) = (At { batch: start.batch + 1, row: 0 }, 0);
            }
            starts.push(start);
            start.row += held.places.len() as u32;
            bytes += held.bytes();
        }
        for at in at.iter_mut().filter(|at| **at != NOWHERE) {
            let start = starts[at.batch as usize];
            *at = At { batch: start.batch, row: start.row + at.row };
        }
        let keys = self.spec.layout.keys.len();
        let outputs: Vec<usize> =
            self.spec.output_columns()?.into_iter().map(|column| column - keys).collect();
        // Column by column, so that no more than one of them is there twice.
        let mut batches: Vec<_> =
            self.held.into_iter().map(|held| held.columns.into_iter()).collect();
        let mut columns = Vec::new();
        for (column, field) in self.spec.layout.columns()[keys..].iter().enumerate() {
            let mut pieces = vec![new_null_array(&field.data_type.to_arrow(), 1)];
            let arrays: Vec<ArrayRef> = batches.iter_mut().filter_map(Iterator::next).collect();
            if outputs.contains(&column) {
                let pairs: Vec<_> = starts.iter().zip(&arrays).collect();
                for piece in pairs.chunk_by(|one, other| one.0.batch == other.0.batch) {
                    let arrays: Vec<&dyn Array> =
                        piece.iter().map(|pair| pair.1.as_ref()).collect();
                    pieces.push(concat(&arrays)?);
                }
            }
            columns.push(pieces);
        }
        Ok(Matches { columns, outputs, at, matched })
    }
}

/// What each entity row gets.
pub(super) struct Matches {
    /// Of each column: a null, then its pieces.
    columns: Vec<Vec<ArrayRef>>,
    /// The columns that come out.
    outputs: Vec<usize>,
    /// Where each entity row's feature row is, by piece.
    at: Vec<At>,
    /// How many entity rows found a row.
    pub(super) matched: usize,
}

impl Matches {
    /// The columns that come out, of some of the entity rows.
    pub(super) fn gather(&self, rows: Range<usize>) -> Result<Vec<ArrayRef>> {
        let index = |at: &At| match *at {
            NOWHERE => (0, 0),
            at => (at.batch as usize + 1, at.row as usize),
        };
        let indices: Vec<(usize, usize)> = self.at[rows].iter().map(index).collect();
        let gather = |column: &usize| {
            let pieces: Vec<&dyn Array> = self.columns[*column].iter().map(AsRef::as_ref).collect();
            Ok(interleave(&pieces, &indices)?)
        };
        self.outputs.iter().map(gather).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        let pieces = self.columns.iter().flatten().map(|piece| piece.get_array_memory_size());
        pieces.sum::<usize>() + self.at.capacity() * size_of::<At>()
    }
}
