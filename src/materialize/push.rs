//! Rows that a caller brings, written to every view that reads their source.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt64Array},
    datatypes::{DataType as ArrowType, Field as ArrowField, Schema},
};
use serde_json::Value;

use super::{ViewWriter, Written};
use crate::{
    error::{Error, Result, did_you_mean},
    evaluate::InForce,
    offline::{self, HASH, key_column},
    online::OnlineStore,
    value::{DataType, RowEncoder, column_from_json},
};

/// What a push did, view by view.
pub type Pushed = BTreeMap<String, Written>;

/// The names under which the times of pushed rows are understood besides the source's own.
const EVENT_TIMESTAMP: &str = "event_timestamp";
const CREATED: &str = "created";

/// Writes rows of a source, or of one feature view, as if the source had had them: features are
/// made by the same function, and the newest row of every entity stays.
///
/// `rows` has the columns that the views need, under the source's names: join keys, content, event
/// time (also called `event_timestamp`), created time where the source has one (also called
/// `created`). Columns that nothing needs are an error: they are typing mistakes more often than
/// not.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when `target` is neither a source with online views nor an
/// online view; [`crate::error::Kind::Invalid`] for columns that are missing, unknown, uneven or
/// of another type, and for rows without an event time. Nothing is written then.
pub async fn push(
    in_force: &InForce,
    target: &str,
    rows: &BTreeMap<String, Vec<Value>>,
    store: &dyn OnlineStore,
) -> Result<Pushed> {
    let views = views(in_force, target)?;
    let frame = Frame::new(in_force, &views, rows)?;
    let mut batches = Vec::with_capacity(views.len());
    for name in views {
        let writer = ViewWriter::new(in_force, name)?;
        let batch = frame.batch(&writer)?;
        batches.push((name, writer, batch));
    }
    let mut pushed = Pushed::new();
    for (name, writer, batch) in batches {
        pushed.insert(name.to_owned(), writer.write(&batch, store).await?);
    }
    Ok(pushed)
}

fn views<'a>(in_force: &'a InForce, target: &str) -> Result<Vec<&'a str>> {
    let definitions = &in_force.state.definitions;
    let online = || definitions.feature_views.iter().filter(|(_, view)| view.online);
    let mut views: Vec<&str> = online()
        .filter(|(name, view)| view.source == target || *name == target)
        .map(|(name, _)| name.as_str())
        .collect();
    views.dedup();
    if views.is_empty() {
        let known = online().flat_map(|(name, view)| [name.as_str(), view.source.as_str()]);
        return Err(Error::not_found(format!(
            "nothing pushed: {target} is neither a source of online feature views nor one of them"
        ))
        .with_hint(did_you_mean(target, known)));
    }
    Ok(views)
}

/// The pushed rows, column by column, with the names of the times found out.
struct Frame<'a> {
    columns: &'a BTreeMap<String, Vec<Value>>,
    rows: usize,
    event: String,
    created: Option<String>,
}

impl<'a> Frame<'a> {
    fn new(
        in_force: &InForce,
        views: &[&str],
        columns: &'a BTreeMap<String, Vec<Value>>,
    ) -> Result<Self> {
        let definitions = &in_force.state.definitions;
        let view = views.first().and_then(|name| definitions.feature_views.get(*name));
        let source = view.and_then(|view| definitions.sources.get(&view.source));
        let source = source.ok_or_else(|| Error::internal("a view without a source"))?;
        let called = |names: [&str; 2]| {
            names.into_iter().find(|name| columns.contains_key(*name)).map(str::to_owned)
        };
        let event = called([&source.timestamp, EVENT_TIMESTAMP]).ok_or_else(|| {
            Error::invalid(format!(
                "nothing pushed: column \"{}\" with the event times is missing",
                source.timestamp
            ))
            .with_hint(format!("the columns are: {}", names(columns)))
        })?;
        let created = called([source.created.as_deref().unwrap_or(CREATED), CREATED]);
        let frame = Self { rows: even(columns)?, columns, event, created };
        frame.refuse_unknown(in_force, views)?;
        Ok(frame)
    }

    fn refuse_unknown(&self, in_force: &InForce, views: &[&str]) -> Result<()> {
        let mut needed = vec![self.event.clone()];
        needed.extend(self.created.clone());
        for name in views {
            let writer = ViewWriter::new(in_force, name)?;
            needed.extend(
                writer.keys().iter().chain(writer.content()).map(|field| field.name.clone()),
            );
        }
        match self.columns.keys().find(|name| !needed.contains(name)) {
            Some(unknown) => {
                Err(Error::invalid(format!("nothing pushed: unknown column \"{unknown}\""))
                    .with_hint(did_you_mean(unknown, needed.iter().map(String::as_str))))
            }
            None => Ok(()),
        }
    }

    fn batch(&self, writer: &ViewWriter) -> Result<RecordBatch> {
        let mut fields = Vec::new();
        let mut columns = Vec::new();
        let mut put = |name: String, column: ArrayRef| {
            fields.push(ArrowField::new(name, column.data_type().clone(), true));
            columns.push(column);
        };
        for key in writer.keys() {
            put(key_column(&key.name), self.column(&key.name, key.data_type)?);
        }
        let content: Vec<ArrayRef> = writer
            .content()
            .iter()
            .map(|field| self.column(&field.name, field.data_type))
            .collect::<Result<_>>()?;
        let encoder = RowEncoder::new(writer.content(), &content)?;
        let mut scratch = Vec::new();
        let hashes: UInt64Array =
            (0..self.rows).map(|row| Some(encoder.hash(row, &mut scratch))).collect();
        for (field, column) in writer.content().iter().zip(&content) {
            put(field.name.clone(), column.clone());
        }
        let event = self.column(&self.event, DataType::Timestamp)?;
        if let Some(row) = (0..self.rows).find(|row| event.is_null(*row)) {
            return Err(Error::invalid(format!(
                "nothing pushed: row {row} has no event time in \"{}\"",
                self.event
            )));
        }
        put(offline::EVENT.to_owned(), event);
        let created = match &self.created {
            Some(name) => self.column(name, DataType::Timestamp)?,
            None => column_from_json(&vec![Value::Null; self.rows], DataType::Timestamp)?,
        };
        put(offline::CREATED.to_owned(), created);
        fields.push(ArrowField::new(HASH, ArrowType::UInt64, false));
        columns.push(std::sync::Arc::new(hashes));
        RecordBatch::try_new(Schema::new(fields).into(), columns)
            .map_err(|error| Error::internal(format!("pushed rows are uneven: {error}")))
    }

    fn column(&self, name: &str, data_type: DataType) -> Result<ArrayRef> {
        let values = self.columns.get(name).ok_or_else(|| {
            Error::invalid(format!("nothing pushed: column \"{name}\" is missing"))
                .with_hint(format!("the columns are: {}", names(self.columns)))
        })?;
        column_from_json(values, data_type)
            .map_err(|error| error.context(format!("nothing pushed: column \"{name}\"")))
    }
}

fn names(columns: &BTreeMap<String, Vec<Value>>) -> String {
    columns.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn even(columns: &BTreeMap<String, Vec<Value>>) -> Result<usize> {
    let mut lengths = columns.iter().map(|(name, values)| (name, values.len()));
    let Some((first, rows)) = lengths.next() else {
        return Err(Error::invalid("nothing pushed: there are no columns"));
    };
    match lengths.find(|(_, length)| *length != rows) {
        Some((other, length)) => Err(Error::invalid(format!(
            "nothing pushed: column \"{first}\" has {rows} rows, column \"{other}\" has {length}"
        ))),
        None => Ok(rows),
    }
}
