//! The entity dataframe: the rows, with their times, that features are wanted for.
//!
//! What it is read from is one of [`parquet`], [`csv`], [`ipc`] and [`query`]; what all of them have
//! in common is here: names that are mapped, columns that get their types, rows that are numbered.

mod columns;
mod csv;
mod csv_types;
mod data;
mod dataset;
mod ipc;
mod parquet;
mod query;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, new_empty_array},
    datatypes::{DataType as ArrowType, Field as ArrowField, FieldRef, Schema, SchemaRef},
};
use datafusion::{
    catalog::streaming::StreamingTable,
    logical_expr::ident,
    prelude::{DataFrame, SessionContext},
};

use self::{
    columns::{Column, columns},
    data::EntityData,
    rows::EntityRows,
};
use super::{ROW_NUMBER, Selection, Sources, errors::from_datafusion, period::Period};
use crate::{
    error::{Error, Result},
    value::{DataType, conform},
};

/// The column that holds the times unless another is named.
pub const DEFAULT_TIME: &str = "event_timestamp";

/// What the rows of an entity dataframe are read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntityOrigin {
    /// A file: CSV where the name ends in `.csv`, Arrow IPC (a file or a stream) where it ends in
    /// `.arrow`, `.arrows`, `.ipc` or `.feather`, Parquet otherwise.
    File(PathBuf),
    /// A query over the sources, by their names.
    Sql(String),
    /// A training dataset that was made before, and the columns that it is partitioned by.
    Dataset(PathBuf, Vec<String>),
}

/// An entity dataframe, as it is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityRequest {
    /// Where its rows are.
    pub origin: EntityOrigin,
    /// What its columns are called here, and there, for those whose names differ.
    pub names: BTreeMap<String, String>,
    /// The column with the time of each row, as it is called here.
    pub time: String,
    /// Which rows are taken.
    pub selection: Selection,
}

impl EntityRequest {
    /// All rows, with the columns called as they are there.
    pub fn all(origin: EntityOrigin, time: &str) -> Self {
        Self {
            origin,
            names: BTreeMap::new(),
            time: time.to_owned(),
            selection: Selection::default(),
        }
    }
}

/// An entity dataframe whose columns are known.
#[derive(Clone)]
pub struct EntityDataframe {
    /// How messages call it.
    name: String,
    data: Arc<dyn EntityData>,
    columns: Vec<Column>,
    /// The place of the column with the times.
    time: usize,
    selection: Selection,
    /// Of the rows that come out.
    schema: SchemaRef,
}

impl EntityDataframe {
    /// The dataframe of a request. The time and the columns in `typed` (join keys and request
    /// columns) get their types; others are carried through as they are. A query opens the sources
    /// that it reads, where they are not open yet.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such file or source,
    /// [`crate::error::Kind::Corrupt`] when a file is damaged or cut off,
    /// [`crate::error::Kind::Invalid`] when columns are missing, doubled, of other types or called as
    /// the row number, when a text in a CSV file is no value of the type it has to be, and when a
    /// query does more than read.
    pub async fn open(
        request: &EntityRequest,
        typed: &BTreeMap<String, DataType>,
        sources: &mut Sources,
    ) -> Result<Self> {
        let held = |name: &str| request.names.get(name).map_or(name, String::as_str).to_owned();
        let mut typed = typed.clone();
        typed.insert(request.time.clone(), DataType::Timestamp);
        let wanted = typed.iter().map(|(name, data_type)| (held(name), *data_type)).collect();
        let (name, data): (String, Arc<dyn EntityData>) = match &request.origin {
            EntityOrigin::File(path) => {
                let data = open_file(path, &wanted, &held(&request.time));
                let data =
                    data.map_err(|error| error.context("the entity dataframe cannot be read"))?;
                (format!("the entity dataframe {}", path.display()), data)
            }
            EntityOrigin::Dataset(path, by) => {
                (format!("the dataset {}", path.display()), dataset::open(path, by)?)
            }
            EntityOrigin::Sql(sql) => {
                ("the query of entities".to_owned(), query::open(sql, sources).await?)
            }
        };
        Self::new(name, data, request, &typed)
    }

    fn new(
        name: String,
        data: Arc<dyn EntityData>,
        request: &EntityRequest,
        typed: &BTreeMap<String, DataType>,
    ) -> Result<Self> {
        let held = data.schema();
        let columns = columns(&name, &held, request, typed)?;
        let time = columns.iter().position(|column| column.name == request.time);
        let time = time.ok_or_else(|| Error::internal("an entity dataframe without times"))?;
        let mut fields: Vec<FieldRef> = Vec::with_capacity(columns.len() + 1);
        for (column, field) in columns.iter().zip(held.fields()) {
            fields.push(match column.data_type {
                Some(data_type) => {
                    conform(&new_empty_array(field.data_type()), data_type)
                        .map_err(|error| error.context(format!("{name}, {column}")))?;
                    Arc::new(ArrowField::new(&column.name, data_type.to_arrow(), true))
                }
                None => Arc::new(field.as_ref().clone().with_name(&column.name)),
            });
        }
        fields.push(Arc::new(ArrowField::new(ROW_NUMBER, ArrowType::UInt64, false)));
        let schema = Arc::new(Schema::new(fields));
        Ok(Self { name, data, columns, time, selection: request.selection, schema })
    }

    /// The name of the column with the times.
    pub fn time(&self) -> &str {
        &self.columns[self.time].name
    }

    /// How many rows are taken, where that is known before they are read.
    pub fn rows(&self) -> Option<u64> {
        self.data.rows().map(|rows| self.selection.count(rows))
    }

    /// The sources that it is read from; none, where it is a file.
    pub fn sources(&self) -> &[String] {
        self.data.sources()
    }

    /// The period that its times are in, as far as that is known before the rows are read.
    pub fn period(&self) -> Period {
        self.data.period(&self.columns[self.time].held)
    }

    /// The rows, with a column [`ROW_NUMBER`] after all others.
    ///
    /// # Errors
    /// A value that does not fit, and a null time, are errors when the rows are read.
    pub fn read(&self, context: &SessionContext) -> Result<DataFrame> {
        let schema = Arc::clone(&self.schema);
        let table = StreamingTable::try_new(schema, vec![Arc::new(EntityRows(self.clone()))])
            .map_err(from_datafusion)?;
        let table = table.with_sort_order(vec![ident(ROW_NUMBER).sort(true, true)]);
        context.read_table(Arc::new(table)).map_err(from_datafusion)
    }

    /// A column of a batch, whose first row is at place `first`, as it comes out.
    fn conform(&self, place: usize, values: &ArrayRef, first: u64) -> Result<ArrayRef> {
        let column = &self.columns[place];
        let Some(data_type) = column.data_type else {
            return Ok(Arc::clone(values));
        };
        conform(values, data_type).map_err(|error| {
            let failing =
                (0..values.len()).find(|row| conform(&values.slice(*row, 1), data_type).is_err());
            let row =
                failing.map_or_else(String::new, |row| format!(", row {}", first + row as u64));
            error.context(format!("{}{row}, {column}", self.name))
        })
    }
}

/// What a file holds, by the end of its name.
fn open_file(
    path: &Path,
    typed: &BTreeMap<String, DataType>,
    time: &str,
) -> Result<Arc<dyn EntityData>> {
    let end = path.extension().unwrap_or_default().to_ascii_lowercase();
    match end.to_str() {
        Some("csv") => csv::open(path, typed, time),
        Some("arrow" | "arrows" | "ipc" | "feather") => ipc::open(path),
        _ => parquet::open(path),
    }
}
