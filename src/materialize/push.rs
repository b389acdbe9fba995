//! Rows that a caller brings, written to every view that reads their source.

use std::collections::{BTreeMap, BTreeSet};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array},
    datatypes::{DataType as ArrowType, Field as ArrowField, Schema, TimestampMicrosecondType},
};
use futures::future::join_all;
use serde_json::Value;

use super::{EncodedRows, ViewWriter, Written, views};
use crate::{
    definition::{FeatureView, Source},
    error::{Error, Result, did_you_mean},
    evaluate::InForce,
    offline::{self, HASH, key_column},
    online::Stores,
    time::{Span, Timestamp},
    value::{DataType, RowEncoder, column_from_json},
};

/// What a push did, view by view.
pub type Pushed = BTreeMap<String, Written>;

/// What pushed rows are of.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The source of this name, for every online view that reads it; where there is none, the
    /// online view of this name.
    SourceOrView(&'a str),
    /// The online view of this name, and no other, whatever sources are called.
    View(&'a str),
}

/// The names under which the times of pushed rows are understood besides the source's own.
const EVENT_TIMESTAMP: &str = "event_timestamp";
const CREATED: &str = "created";

/// How far the clock of whoever pushes may be ahead of ours.
const CLOCK_SLACK: Span = Span(5 * 60 * 1_000_000);

/// Writes rows of a source, or of one feature view, as if the source had had them: features are
/// made by the same function, and the newest row of every entity stays.
///
/// `rows` has the columns that the views need, under the source's names: join keys, content, event
/// time (also called `event_timestamp`), created time where the source has one (also called
/// `created`). Columns that nothing needs are an error: they are typing mistakes more often than
/// not.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when there is no such target, as with a source that no online
/// view reads; [`crate::error::Kind::Invalid`] for a view that is not online, for columns that are
/// missing, unknown, uneven or of another type, and for rows without an event time, with one in the
/// future or without an entity in any view; [`crate::error::Kind::Transform`] where a view's
/// function fails. Nothing is written then.
/// Those of the stores, which are [`crate::error::Kind::Unavailable`] where one is full or not there:
/// the views are named that were not written; the others were.
pub async fn push(
    in_force: &InForce,
    target: Target<'_>,
    rows: &BTreeMap<String, Vec<Value>>,
    now: Timestamp,
    stores: &Stores,
) -> Result<Pushed> {
    let (source, views) = read_by(in_force, target)?;
    let writer = |name: &str| Ok((name.to_owned(), ViewWriter::new(in_force, name)?));
    let writers = views.into_iter().map(writer).collect::<Result<Vec<_>>>()?;
    let frame = Frame::new(source, &writers, rows)?;
    frame.refuse_keyless(&writers)?;
    frame.refuse_future(now)?;
    // All views are computed before any is written: rows that one of them refuses are in none.
    let transforms = writers.iter().filter_map(|(_, writer)| writer.transform()).collect();
    let encode = |(name, writer): (String, ViewWriter)| {
        let rows = writer.encode(&frame.batch(&writer)?);
        Ok((name, rows?))
    };
    let compute = || writers.into_iter().map(encode).collect::<Result<Vec<_>>>();
    let encoded = in_force.library.turns().run(&transforms, compute).await?;
    write(encoded, stores).await
}

/// Writes to all views, whichever of their stores fail.
async fn write(encoded: Vec<(String, EncodedRows)>, stores: &Stores) -> Result<Pushed> {
    let write = |(name, rows): (String, EncodedRows)| async { (name, rows.write(stores).await) };
    let (mut pushed, mut failed, mut first) = (Pushed::new(), Vec::new(), None);
    for (name, written) in join_all(encoded.into_iter().map(write)).await {
        match written {
            Ok(written) => drop(pushed.insert(name, written)),
            Err(error) => {
                failed.push(name);
                first.get_or_insert(error.not_the_callers());
            }
        }
    }
    match first {
        None => Ok(pushed),
        Some(error) => Err(error.context(format!("not pushed to {}", failed.join(", ")))),
    }
}

/// The source that rows are pushed to and the online views that they are for.
fn read_by<'a>(in_force: &'a InForce, target: Target<'_>) -> Result<(&'a Source, Vec<&'a str>)> {
    let definitions = &in_force.state.definitions;
    let views = match target {
        Target::View(name) => views(in_force, &[name.to_owned()])?,
        Target::SourceOrView(name) => named(in_force, name)?,
    };
    let source = views.values().next().and_then(|view| definitions.sources.get(&view.source));
    let source = source.ok_or_else(|| Error::internal("a view without a source"))?;
    Ok((source, views.into_keys().collect()))
}

/// The online views that read the source of this name, or the one of this name.
fn named<'a>(in_force: &'a InForce, name: &str) -> Result<BTreeMap<&'a str, &'a FeatureView>> {
    let online = views(in_force, &[])?;
    let mut chosen = online.clone();
    chosen.retain(|_, view| view.source == name);
    if chosen.is_empty() {
        chosen.extend(online.get_key_value(name));
    }
    if chosen.is_empty() {
        let known = online.iter().flat_map(|(name, view)| [*name, view.source.as_str()]);
        let known: BTreeSet<&str> = known.collect();
        return Err(Error::not_found(format!(
            "nothing pushed: {name} is neither a source of online feature views nor one of them"
        ))
        .with_hint(did_you_mean(name, known)));
    }
    Ok(chosen)
}

/// The pushed rows, column by column.
struct Frame<'a> {
    columns: &'a BTreeMap<String, Vec<Value>>,
    rows: usize,
    source: &'a Source,
}

impl<'a> Frame<'a> {
    fn new(
        source: &'a Source,
        writers: &[(String, ViewWriter)],
        columns: &'a BTreeMap<String, Vec<Value>>,
    ) -> Result<Self> {
        let frame = Self { rows: even(columns)?, columns, source };
        frame.refuse_unknown(writers)?;
        Ok(frame)
    }

    fn refuse_unknown(&self, writers: &[(String, ViewWriter)]) -> Result<()> {
        let fields =
            writers.iter().flat_map(|(_, writer)| writer.keys().iter().chain(writer.content()));
        let times = [Some(&self.source.timestamp), self.source.created.as_ref()];
        let known = fields.map(|field| &field.name).chain(times.into_iter().flatten());
        let needed: BTreeSet<&str> = known.map(|name| self.given_as(name)).collect();
        match self.columns.keys().find(|name| !needed.contains(name.as_str())) {
            Some(unknown) => {
                Err(Error::invalid(format!("nothing pushed: unknown column \"{unknown}\""))
                    .with_hint(did_you_mean(unknown, needed)))
            }
            None => Ok(()),
        }
    }

    /// A row is for the views whose join keys it has; there has to be one.
    fn refuse_keyless(&self, writers: &[(String, ViewWriter)]) -> Result<()> {
        let mut keyless = vec![true; self.rows];
        for (_, writer) in writers {
            let keys = writer.keys().iter().map(|key| self.column(&key.name, key.data_type));
            let keys = keys.collect::<Result<Vec<_>>>()?;
            for (row, keyless) in keyless.iter_mut().enumerate() {
                *keyless &= keys.iter().any(|key| key.is_null(row));
            }
        }
        match keyless.iter().position(|keyless| *keyless) {
            Some(row) => Err(Error::invalid(format!("nothing pushed: row {row} has no join key"))),
            None => Ok(()),
        }
    }

    /// A row of the future would hide the newest one until its time comes, and nothing could
    /// correct it.
    fn refuse_future(&self, now: Timestamp) -> Result<()> {
        let latest = now.0.saturating_add(CLOCK_SLACK.0);
        let times = [Some(self.source.timestamp.as_str()), self.created()];
        for name in times.into_iter().flatten() {
            let times = self.column(name, DataType::Timestamp)?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            let future = times.iter().position(|time| time.is_some_and(|time| time > latest));
            if let Some(row) = future {
                let time = Timestamp(times.value(row));
                let name = self.given_as(name);
                return Err(Error::invalid(format!(
                    "nothing pushed: row {row} has \"{name}\" {time}, which is after now, {now}"
                )));
            }
        }
        Ok(())
    }

    /// The source's column with the created times, if it was brought.
    fn created(&self) -> Option<&str> {
        let created = self.source.created.as_deref();
        created.filter(|name| self.columns.contains_key(self.given_as(name)))
    }

    /// The name under which a column of the source was brought: the times have another besides
    /// their own.
    fn given_as<'n>(&self, name: &'n str) -> &'n str {
        let is_created = self.source.created.as_deref() == Some(name);
        let alias = match name {
            name if name == self.source.timestamp => EVENT_TIMESTAMP,
            _ if is_created => CREATED,
            name => name,
        };
        let aliased = !self.columns.contains_key(name) && self.columns.contains_key(alias);
        if aliased { alias } else { name }
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
        let event = self.column(&self.source.timestamp, DataType::Timestamp)?;
        if let Some(row) = (0..self.rows).find(|row| event.is_null(*row)) {
            return Err(Error::invalid(format!(
                "nothing pushed: row {row} has no event time in \"{}\"",
                self.given_as(&self.source.timestamp)
            )));
        }
        put(offline::EVENT.to_owned(), event);
        let created = match self.created() {
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
        let name = self.given_as(name);
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
