//! Feature rows and their order: what a view reads of its source, and which of two rows is newer.
//!
//! Whatever asks for the newest row of an entity, the point-in-time join and the latest rows
//! alike, asks [`Newest`]; nothing else decides between rows.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, new_null_array},
    buffer::NullBuffer,
    compute::interleave,
    datatypes::{Schema, TimestampMicrosecondType},
    row::{RowConverter, Rows, SortField},
};
use datafusion::{
    common::{Result, exec_err, internal_err},
    physical_expr::LexOrdering,
};

use super::{
    errors::external,
    operator::{ASCENDING, ordering, take_columns},
};
use crate::{
    definition::Visible,
    value::{DataType, Field, RowEncoder},
};

/// The column with the event time of a feature row; never null.
pub const EVENT: &str = "__event";

/// The column with the time at which a feature row was written down; null where that is not known.
pub const CREATED: &str = "__created";

/// The column with the value of a join key in a feature row.
pub fn key_column(join_key: &str) -> String {
    format!("__key_{join_key}")
}

/// The layout of feature rows: a plan of them has, by name, a column for every join key, the event
/// time, the created time and the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The join keys and their types.
    pub keys: BTreeMap<String, DataType>,
    /// The columns of the source from which the view's features are made: what breaks the ties
    /// that are left when the times of two rows are equal.
    pub content: Vec<Field>,
}

impl Layout {
    /// All columns: the keys, [`EVENT`], [`CREATED`], the content.
    pub(super) fn columns(&self) -> Vec<Field> {
        let column = |name: String, data_type| Field {
            name,
            data_type,
            nullable: true,
            documentation: String::new(),
        };
        let keys = self.keys.iter().map(|(key, data_type)| column(key_column(key), *data_type));
        let times = [EVENT, CREATED].map(|name| column(name.to_owned(), DataType::Timestamp));
        keys.chain(times).chain(self.content.iter().cloned()).collect()
    }

    /// The names of the key columns.
    pub fn key_columns(&self) -> Vec<String> {
        self.keys.keys().map(|key| key_column(key)).collect()
    }

    /// The order in which [`Newest`] takes rows: by key, event time and created time.
    pub(super) fn ordering(&self, schema: &Schema) -> Result<LexOrdering> {
        let mut columns = self.key_columns();
        columns.extend([EVENT, CREATED].map(str::to_owned));
        ordering(schema, &columns)
    }

    /// What turns keys into bytes.
    pub(super) fn key_converter(&self) -> Result<KeyConverter> {
        let field = |key: &DataType| SortField::new_with_options(key.to_arrow(), ASCENDING);
        Ok(KeyConverter(RowConverter::new(self.keys.values().map(field).collect())?))
    }
}

/// For people, in plans: `keys=[user_id] content=[amount]`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.keys().map(String::as_str).collect();
        let content: Vec<&str> = self.content.iter().map(|field| field.name.as_str()).collect();
        write!(f, "keys=[{}] content=[{}]", keys.join(", "), content.join(", "))
    }
}

/// Turns the keys of batches into bytes that compare as the keys sort.
#[derive(Debug)]
pub(super) struct KeyConverter(RowConverter);

/// The keys of a batch.
pub(super) struct Keys {
    rows: Rows,
    nulls: Option<NullBuffer>,
}

impl KeyConverter {
    pub(super) fn convert(&self, columns: &[ArrayRef]) -> Result<Keys> {
        let nulls = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.nulls())
        });
        Ok(Keys {
            rows: self.0.convert_columns(columns)?,
            nulls,
        })
    }
}

impl Keys {
    /// The key of a row; it compares as the key sorts.
    pub(super) fn get(&self, row: usize) -> &[u8] {
        self.rows.row(row).data()
    }

    /// Whether a part of the key is null: such a key matches no other.
    pub(super) fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// The first row from `from` on whose key is not less than `key`; the keys are sorted.
    pub(super) fn seek(&self, from: usize, key: &[u8]) -> usize {
        let (mut low, mut step) = (from, 1);
        while low + step <= self.rows.num_rows() && self.get(low + step - 1) < key {
            low += step;
            step *= 2;
        }
        let mut high = self.rows.num_rows().min(low + step);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle) < key {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }
}

/// A column of timestamps.
pub(super) fn take_times(batch: &RecordBatch, name: &str) -> Result<TimestampMicrosecondArray> {
    let times = batch
        .column_by_name(name)
        .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    match times {
        Some(times) => Ok(times.clone()),
        None => internal_err!("no column {name} of timestamps"),
    }
}

/// A batch of feature rows, sorted by [`Layout::ordering`], taken apart.
pub(super) struct FeatureBatch {
    pub(super) keys: Keys,
    events: TimestampMicrosecondArray,
    created: TimestampMicrosecondArray,
    /// In the order of [`Layout::columns`].
    columns: Vec<ArrayRef>,
    bytes: usize,
}

impl FeatureBatch {
    pub(super) fn new(batch: &RecordBatch, layout: &Layout, converter: &KeyConverter) -> Result<Self> {
        let columns = take_columns(batch, layout.columns().iter().map(|column| &column.name))?;
        let keys = converter.convert(&columns[..layout.keys.len()])?;
        let events = take_times(batch, EVENT)?;
        if events.null_count() > 0 {
            return exec_err!("{} feature rows have no event time", events.null_count());
        }
        Ok(Self {
            bytes: batch.get_array_memory_size() + keys.rows.size(),
            keys,
            events,
            created: take_times(batch, CREATED)?,
            columns,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    pub(super) fn event(&self, row: usize) -> i64 {
        self.events.value(row)
    }

    fn created(&self, row: usize) -> Option<i64> {
        self.created.is_valid(row).then(|| self.created.value(row))
    }
}

/// The batches that are still needed, each in a slot.
pub(super) struct Held {
    slots: Vec<Option<FeatureBatch>>,
    layout: Arc<Layout>,
}

/// Where a row is: the slot of its batch, and the row in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) slot: usize,
    pub(super) row: usize,
}

impl Held {
    pub(super) fn new(layout: Arc<Layout>) -> Self {
        Self { slots: Vec::new(), layout }
    }

    /// Puts a batch into a free slot.
    pub(super) fn insert(&mut self, batch: FeatureBatch) -> usize {
        let free = self.slots.iter().position(Option::is_none);
        let slot = free.unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(batch);
        slot
    }

    pub(super) fn get(&self, slot: usize) -> Option<&FeatureBatch> {
        self.slots.get(slot)?.as_ref()
    }

    /// Drops the batches that `is_needed` does not know.
    pub(super) fn release(&mut self, is_needed: impl Fn(usize) -> bool) {
        for (slot, batch) in self.slots.iter_mut().enumerate() {
            if !is_needed(slot) {
                *batch = None;
            }
        }
    }

    pub(super) fn count(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    pub(super) fn bytes(&self) -> usize {
        self.slots.iter().flatten().map(|batch| batch.bytes).sum()
    }

    /// The values of columns, given by their indices in [`Layout::columns`], in the rows at
    /// `positions`; null where there is no position.
    pub(super) fn gather(&self, columns: &[usize], positions: &[Option<Position>]) -> Result<Vec<ArrayRef>> {
        let missing = (self.slots.len(), 0);
        let indices: Vec<(usize, usize)> =
            positions.iter().map(|at| at.map_or(missing, |at| (at.slot, at.row))).collect();
        let fields = self.layout.columns();
        let gather = |column: &usize| {
            let null = new_null_array(&fields[*column].data_type.to_arrow(), 1);
            let slots = self.slots.iter().map(|slot| slot.as_ref().map_or(&null, |batch| &batch.columns[*column]));
            let arrays: Vec<&dyn Array> = slots.chain([&null]).map(AsRef::as_ref).collect();
            Ok(interleave(&arrays, &indices)?)
        };
        columns.iter().map(gather).collect()
    }

    /// The hashes of the content of rows.
    pub(super) fn hashes(&self) -> Hashes<'_> {
        Hashes { held: self, encoders: Vec::new(), scratch: Vec::new() }
    }
}

/// Hashes rows of held batches.
pub(super) struct Hashes<'a> {
    held: &'a Held,
    /// By slot; made when a row of the slot is first hashed, which few ever are.
    encoders: Vec<Option<RowEncoder<'a>>>,
    scratch: Vec<u8>,
}

impl Hashes<'_> {
    /// The hash of the content of the row, as [`RowEncoder::hash`].
    pub(super) fn of(&mut self, at: Position) -> Result<u64> {
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

/// A feature row that may be the newest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    pub(super) at: Position,
    pub(super) event: i64,
    created: Option<i64>,
    visible: i64,
}

/// Finds the newest row of one entity that can be seen at a moment, for moments that only grow:
/// the one with the greatest event time, among equals the greatest created time (none being the
/// least), among equals still the greatest hash of its content.
///
/// Rows arrive in the order of [`Layout::ordering`], so that each is newer than all before it but
/// for the ties that its hash decides. A row that cannot be seen yet waits; it stops waiting when
/// a newer one can be seen no later than itself. So those that wait are ever newer and ever later
/// to be seen, and both arriving and asking take constant time on average.
pub(super) struct Newest {
    /// From when on a row can be seen, given its event and created times.
    visible: fn(i64, Option<i64>) -> i64,
    waiting: VecDeque<Candidate>,
    newest: Option<Candidate>,
}

impl Newest {
    /// The newest of the rows that can be seen at a moment.
    pub(super) fn visible(mode: Visible) -> Self {
        Self::new(match mode {
            Visible::Event => |event, _| event,
            Visible::Created => |event, created| created.map_or(event, |created| created.max(event)),
        })
    }

    /// The newest of all rows, whenever they can be seen.
    pub(super) fn of_all() -> Self {
        Self::new(|_, _| i64::MIN)
    }

    fn new(visible: fn(i64, Option<i64>) -> i64) -> Self {
        Self { visible, waiting: VecDeque::new(), newest: None }
    }

    /// Forgets all rows: the next ones are of another entity.
    pub(super) fn reset(&mut self) {
        self.waiting.clear();
        self.newest = None;
    }

    /// Takes the row at `at`, which is in `batch`.
    pub(super) fn arrive(&mut self, at: Position, batch: &FeatureBatch, hashes: &mut Hashes) -> Result<()> {
        let (event, created) = (batch.event(at.row), batch.created(at.row));
        let visible = (self.visible)(event, created);
        while let Some(last) = self.waiting.back().filter(|last| last.visible >= visible) {
            let tie = (last.event, last.created) == (event, created);
            if tie && hashes.of(last.at)? >= hashes.of(at)? {
                return Ok(());
            }
            self.waiting.pop_back();
        }
        self.waiting.push_back(Candidate { at, event, created, visible });
        Ok(())
    }

    /// The newest row that can be seen at `moment`; all rows with an event time up to it have
    /// arrived, and it is no earlier than the last one asked for.
    pub(super) fn at(&mut self, moment: i64) -> Option<Candidate> {
        while let Some(next) = self.waiting.pop_front_if(|next| next.visible <= moment) {
            self.newest = Some(next);
        }
        self.newest
    }

    /// Whether a row of the slot may still be asked for.
    pub(super) fn needs(&self, slot: usize) -> bool {
        self.waiting.iter().chain(&self.newest).any(|row| row.at.slot == slot)
    }
}
