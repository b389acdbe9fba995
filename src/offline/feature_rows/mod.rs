//! Feature rows and their order: what a view reads of its source, and which of two rows is newer.
//!
//! Whatever asks for the newest row of an entity, the point-in-time join and the latest rows
//! alike, asks [`is_newer`]; nothing else decides between rows.

mod held;
mod keys;
mod newest;

use std::{collections::BTreeMap, fmt};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Schema, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, exec_err, internal_err},
    physical_expr::LexOrdering,
};

pub(super) use held::{Held, Position};
pub(super) use keys::{KeyConverter, Keys};
pub(super) use newest::is_newer;

use super::operator::{ordering, take_columns};
use crate::value::{DataType, Field};

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

    /// The order of rows by key, event time and created time.
    pub(super) fn ordering(&self, schema: &Schema) -> Result<LexOrdering> {
        let mut columns = self.key_columns();
        columns.extend([EVENT, CREATED].map(str::to_owned));
        ordering(schema, &columns)
    }

    /// What turns keys into bytes.
    pub(super) fn key_converter(&self) -> Result<KeyConverter> {
        KeyConverter::new(self.keys.values().copied())
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
    pub(super) fn new(
        batch: &RecordBatch,
        layout: &Layout,
        converter: &KeyConverter,
    ) -> Result<Self> {
        let columns = take_columns(batch, layout.columns().iter().map(|column| &column.name))?;
        let keys = converter.convert(&columns[..layout.keys.len()])?;
        let events = take_times(batch, EVENT)?;
        if events.null_count() > 0 {
            return exec_err!("{} feature rows have no event time", events.null_count());
        }
        Ok(Self {
            bytes: batch.get_array_memory_size() + keys.size(),
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

    pub(super) fn created(&self, row: usize) -> Option<i64> {
        self.created.is_valid(row).then(|| self.created.value(row))
    }
}
