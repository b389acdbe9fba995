//! Entity rows in a CSV file: UTF-8, fields between commas, quoted where they have to be, a line of
//! names first. An empty field is null.
//!
//! Join keys, request columns and the time are read as what they have to be, in the forms of JSON
//! ([`crate::value`]); the others get the type that all of their values have
//! ([`super::csv_types`]). So a file is read twice: once for the types, once for the rows.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::{Field as ArrowField, Schema, SchemaRef},
};
use csv::{Reader, StringRecord, StringRecordsIntoIter};
use datafusion::execution::TaskContext;
use serde_json::Value;

use super::{
    csv_types::Common,
    data::{Batches, EntityData},
};
use crate::{
    error::{Context, Error, Result},
    offline::{Period, stream::from_blocking},
    time::Timestamp,
    value::{DataType, Scalar, column_from_json},
};

/// A file that was read once.
struct CsvData {
    path: PathBuf,
    schema: SchemaRef,
    types: Vec<DataType>,
    rows: u64,
    period: Period,
}

/// Reads a file for its types; the columns in `typed` have theirs. `time` is the column whose period
/// is wanted.
pub(super) fn open(
    path: &Path,
    typed: &BTreeMap<String, DataType>,
    time: &str,
) -> Result<Arc<dyn EntityData>> {
    let mut reader = reader(path)?;
    let names = reader.headers().map_err(|error| unreadable(path, &error))?.clone();
    let mut common = vec![Common::NONE; names.len()];
    let (mut rows, mut times) = (0, Some(Vec::new()));
    for record in reader.into_records() {
        let record = record.map_err(|error| unreadable(path, &error))?;
        for ((name, text), common) in names.iter().zip(&record).zip(&mut common) {
            if name == time {
                let moment = moment(text).map_err(|error| located(path, &record, name, error))?;
                times = times.zip(moment).map(|(times, moment)| widened(times, moment));
            } else if !text.is_empty() && !typed.contains_key(name) {
                common.add(text);
            }
        }
        rows += 1;
    }
    let data_type = |(name, common): (&str, Common)| {
        typed.get(name).copied().unwrap_or_else(|| common.data_type())
    };
    let types: Vec<DataType> = names.iter().zip(common).map(data_type).collect();
    let field =
        |(name, data_type): (&str, &DataType)| ArrowField::new(name, data_type.to_arrow(), true);
    let schema = Schema::new(names.iter().zip(&types).map(field).collect::<Vec<_>>());
    let period = match times.as_deref() {
        Some([from, to]) => Period { from: Some(*from), to: Some(*to) },
        _ => Period::ALL,
    };
    Ok(Arc::new(CsvData { path: path.to_owned(), schema: Arc::new(schema), types, rows, period }))
}

fn reader(path: &Path) -> Result<Reader<File>> {
    let file = File::open(path).context(|| format!("{} cannot be opened", path.display()))?;
    Ok(Reader::from_reader(file))
}

/// The time in a field; `None` for one that is given by its count of microseconds.
fn moment(text: &str) -> Result<Option<Timestamp>> {
    match text.parse() {
        Ok(moment) => Ok(Some(moment)),
        Err(_) if text.is_empty() => Err(Error::invalid("there is no time")),
        Err(_) => scalar(text, DataType::Timestamp).map(|_| None),
    }
}

/// The first and the last of some times, and of one more.
fn widened(times: Vec<Timestamp>, moment: Timestamp) -> Vec<Timestamp> {
    match times.as_slice() {
        [from, to] => vec![moment.min(*from), moment.max(*to)],
        _ => vec![moment, moment],
    }
}

impl EntityData for CsvData {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn period(&self, _: &str) -> Period {
        self.period
    }

    fn batches(&self, context: &Arc<TaskContext>) -> Batches {
        let (path, types, schema) =
            (self.path.clone(), self.types.clone(), Arc::clone(&self.schema));
        let batch_size = context.session_config().batch_size();
        from_blocking(Arc::clone(&self.schema), batch_size, move || {
            let records = reader(&path)?.into_records();
            Ok(Rows { path, schema, types, batch_size, records })
        })
    }
}

/// The rows on their way.
struct Rows {
    path: PathBuf,
    schema: SchemaRef,
    types: Vec<DataType>,
    batch_size: usize,
    records: StringRecordsIntoIter<File>,
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let records: csv::Result<Vec<_>> = self.records.by_ref().take(self.batch_size).collect();
        match records {
            Ok(records) if records.is_empty() => None,
            Ok(records) => Some(self.batch(&records)),
            Err(error) => Some(Err(unreadable(&self.path, &error))),
        }
    }
}

impl Rows {
    fn batch(&self, records: &[StringRecord]) -> Result<RecordBatch> {
        let columns = self.types.iter().enumerate().map(|(place, data_type)| {
            let text = |record: &StringRecord| record.get(place).unwrap_or_default().to_owned();
            let values: Vec<Value> =
                records.iter().map(|record| json(text(record), *data_type)).collect();
            column_from_json(&values, *data_type)
                .map_err(|error| self.locate(records, place, error))
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::internal(format!("rows of a CSV file do not fit: {error}")))
    }

    /// The error of the first field of a column that is no value of its type.
    fn locate(&self, records: &[StringRecord], place: usize, error: Error) -> Error {
        let name = self.schema.field(place).name();
        let failing = records.iter().find_map(|record| {
            let text = record.get(place).filter(|text| !text.is_empty())?;
            Some((record, scalar(text, self.types[place]).err()?))
        });
        match failing {
            Some((record, error)) => located(&self.path, record, name, error),
            None => error.context(format!("{}, column \"{name}\"", self.path.display())),
        }
    }
}

/// A field in the form of JSON: lists are written as they are there.
fn json(text: String, data_type: DataType) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    let list = data_type.item().and_then(|_| serde_json::from_str(&text).ok());
    list.unwrap_or(Value::String(text))
}

fn scalar(text: &str, data_type: DataType) -> Result<Scalar> {
    let scalar = Scalar::from_json(&json(text.to_owned(), data_type), data_type);
    scalar.map_err(|error| match data_type {
        DataType::Timestamp => error.with_hint(
            "a timestamp is written 1997-06-30T12:00:00.5Z or 1997-06-30; without a zone it is UTC",
        ),
        _ => error,
    })
}

fn located(path: &Path, record: &StringRecord, name: &str, error: Error) -> Error {
    let line = record.position().map_or(0, csv::Position::line);
    error.context(format!("{}, line {line}, column \"{name}\"", path.display()))
}

/// The error for a line that cannot be read, which says its number.
fn unreadable(path: &Path, error: &csv::Error) -> Error {
    let line = |position: &Option<csv::Position>| position.as_ref().map_or(0, csv::Position::line);
    let (at, what) = match error.kind() {
        csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
            (line(pos), format!("{len} fields, and the first line has {expected_len}"))
        }
        csv::ErrorKind::Utf8 { pos, err } => (line(pos), format!("text that is not UTF-8: {err}")),
        csv::ErrorKind::Io(error) => {
            return Error::unavailable(format!("{} cannot be read: {error}", path.display()));
        }
        _ => return Error::invalid(format!("{} cannot be read: {error}", path.display())),
    };
    Error::invalid(format!("{}, line {at} has {what}", path.display()))
        .with_hint("fields are between commas; one with a comma, a quote or a new line is quoted")
}
