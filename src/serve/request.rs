//! What is asked of the feature server, and why it may be refused.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use serde_json::Value;

use super::Prepared;
use crate::{
    error::{Error, Kind},
    time::Timestamp,
    value::{DataType, column_from_json},
};

/// A request for some entities, by a plan of the features.
#[derive(Debug, Clone)]
pub struct Request {
    /// The entity rows, column by column: join keys and request columns, as JSON values. Columns
    /// that nothing needs are passed over.
    pub entities: BTreeMap<String, Vec<Value>>,
    /// The time of the request: what `event_time` is in on-demand views, and what ttl counts from.
    pub event_time: Timestamp,
    /// The most rows the request may have.
    pub max_rows: usize,
    /// Whether an answer may lack the views whose store fails.
    pub partial: bool,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No such feature service.
    FeatureServiceNotFound,
    /// No such feature view.
    FeatureViewNotFound,
    /// No such feature in a view.
    FeatureNotFound,
    /// A request column is missing.
    RequestDataNotFound,
    /// Two columns of the answer would have one name.
    NameCollision,
    /// Anything else that the caller has to correct.
    Invalid,
    /// Not the caller's mistake: a store does not answer, a transform fails.
    Failed,
}

/// A refusal: its class, and the error for people.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The class.
    pub class: Class,
    /// What is wrong.
    pub error: Error,
}

impl Refused {
    /// A refusal of this class.
    pub fn new(class: Class, error: Error) -> Self {
        Self { class, error }
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let class = match error.kind() {
            Kind::Invalid | Kind::NotFound | Kind::Limit => Class::Invalid,
            _ => Class::Failed,
        };
        Self { class, error }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.error
    }
}

/// The entity rows of a request, read as what the plan wants.
#[derive(Debug)]
pub struct EntityRows {
    /// How many.
    pub rows: usize,
    /// Join keys and request columns that are there.
    pub columns: BTreeMap<String, ArrayRef>,
    /// The time of the request.
    pub event_time: Timestamp,
}

impl Request {
    pub(super) fn read(&self, prepared: &Prepared) -> Result<EntityRows, Refused> {
        let rows = self.rows()?;
        let mut columns = BTreeMap::new();
        for (name, data_type) in prepared.request() {
            let Some(values) = self.entities.get(name) else {
                return Err(prepared.request_data_missing(self.entities.keys()));
            };
            columns.insert(name.clone(), read(name, values, *data_type)?);
        }
        for (name, data_type) in prepared.join_keys() {
            if let Some(values) = self.entities.get(name) {
                let column = read(name, values, *data_type)?;
                if column.null_count() > 0 {
                    return Err(Error::invalid(format!("Join key {name} is null in a row")).into());
                }
                columns.insert(name.clone(), column);
            }
        }
        let join_keys = prepared.join_keys();
        if !join_keys.is_empty() && !join_keys.keys().any(|name| columns.contains_key(name)) {
            let wanted: Vec<&str> = join_keys.keys().map(String::as_str).collect();
            return Err(Error::invalid("No join key in the entities")
                .with_hint(format!("the features need: {}", wanted.join(", ")))
                .into());
        }
        Ok(EntityRows { rows, columns, event_time: self.event_time })
    }

    fn rows(&self) -> Result<usize, Refused> {
        let mut lengths = self.entities.iter().map(|(name, values)| (name, values.len()));
        let Some((first, rows)) = lengths.next() else {
            return Err(Error::invalid("No entities: nothing to answer for").into());
        };
        if let Some((other, length)) = lengths.find(|(_, length)| *length != rows) {
            return Err(Error::invalid(format!(
                "All entity rows must have the same columns: {first} has {rows} rows, {other} has {length}"
            ))
            .into());
        }
        if rows == 0 {
            return Err(Error::invalid("No entity rows: nothing to answer for").into());
        }
        if rows > self.max_rows {
            let limit = self.max_rows as u64;
            return Err(Error::limit("rows of a request", limit, 0, rows as u64).into());
        }
        Ok(rows)
    }
}

fn read(name: &str, values: &[Value], data_type: DataType) -> Result<ArrayRef, Refused> {
    Ok(column_from_json(values, data_type)
        .map_err(|error| error.context(format!("Entity column {name}")))?)
}
