//! The entity dataframe: the rows, with their times, that features are wanted for.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, UInt64Array, new_empty_array},
    datatypes::{DataType as ArrowType, Field as ArrowField, Schema, SchemaRef},
};
use datafusion::{
    catalog::streaming::StreamingTable,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::{DataFrame, SessionContext},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, arrow_reader::ArrowReaderMetadata};

use super::{
    ROW_NUMBER,
    errors::{external, from_datafusion},
    parquet_file::{damaged, read_footer},
    sources::{Columns, columns},
};
use crate::{
    error::{Context, Error, Result, did_you_mean},
    value::{DataType, conform},
};

/// The column that holds the times unless another is named.
pub const DEFAULT_TIME: &str = "event_timestamp";

/// An entity dataframe: a Parquet file whose footer has been read.
#[derive(Clone)]
pub struct EntityDataframe {
    path: PathBuf,
    footer: ArrowReaderMetadata,
    time: String,
}

impl EntityDataframe {
    /// The dataframe in the file at `path`, whose times are in the column `time`, or in
    /// [`DEFAULT_TIME`].
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is no such file,
    /// [`crate::error::Kind::Corrupt`] when it is no Parquet file or cut off,
    /// [`crate::error::Kind::Invalid`] when it lacks the column.
    pub fn open(path: impl Into<PathBuf>, time: Option<&str>) -> Result<Self> {
        let path = path.into();
        let footer = read_footer(&path).map_err(|error| error.context("the entity dataframe cannot be read"))?;
        let time = time.unwrap_or(DEFAULT_TIME).to_owned();
        let names: Vec<&str> = footer.schema().fields().iter().map(|field| field.name().as_str()).collect();
        if !names.contains(&time.as_str()) {
            return Err(Error::invalid(format!(
                "the entity dataframe {} has no column \"{time}\" with the times; it has: {}",
                path.display(),
                names.join(", ")
            ))
            .with_hint("name the column with --timestamp-column"));
        }
        Ok(Self { path, footer, time })
    }

    /// The name of the column with the times.
    pub fn time(&self) -> &str {
        &self.time
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.footer.metadata().file_metadata().num_rows().unsigned_abs()
    }

    /// Its columns.
    pub fn columns(&self) -> Columns {
        columns(self.footer.schema())
    }

    /// The rows, with a column [`ROW_NUMBER`] after all others. The time and the columns in
    /// `typed` (join keys and request columns) have their types; others are carried through as they
    /// are.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when columns are missing, of other types or called as the
    /// row number. A value that does not fit, and a null time, are errors when the rows are read.
    pub fn read(&self, context: &SessionContext, typed: &BTreeMap<String, DataType>) -> Result<DataFrame> {
        let mut typed = typed.clone();
        typed.insert(self.time.clone(), DataType::Timestamp);
        let schema = Arc::new(self.schema(&typed)?);
        let rows = EntityRows { dataframe: self.clone(), typed, schema: Arc::clone(&schema) };
        let table = StreamingTable::try_new(schema, vec![Arc::new(rows)]).map_err(from_datafusion)?;
        context.read_table(Arc::new(table)).map_err(from_datafusion)
    }

    /// The columns that come out.
    fn schema(&self, typed: &BTreeMap<String, DataType>) -> Result<Schema> {
        let held = self.footer.schema();
        if held.field_with_name(ROW_NUMBER).is_ok() {
            return Err(self.error(format!("a column \"{ROW_NUMBER}\", which is kept for the number of the row")));
        }
        let missing: Vec<&str> = typed.keys().map(String::as_str).filter(|name| held.field_with_name(name).is_err()).collect();
        if let Some(first) = missing.first() {
            let names = held.fields().iter().map(|field| field.name().as_str());
            return Err(self.error(format!("no column {}", missing.join(", "))).with_hint(did_you_mean(first, names)));
        }
        let mut fields = Vec::with_capacity(held.fields().len() + 1);
        for field in held.fields() {
            fields.push(match typed.get(field.name()) {
                Some(data_type) => {
                    self.conform(field.name(), &new_empty_array(field.data_type()), *data_type)?;
                    Arc::new(ArrowField::new(field.name(), data_type.to_arrow(), true))
                }
                None => Arc::clone(field),
            });
        }
        fields.push(Arc::new(ArrowField::new(ROW_NUMBER, ArrowType::UInt64, false)));
        Ok(Schema::new(fields))
    }

    fn conform(&self, name: &str, column: &ArrayRef, data_type: DataType) -> Result<ArrayRef> {
        conform(column, data_type)
            .map_err(|error| error.context(format!("the entity dataframe {}, column \"{name}\"", self.path.display())))
    }

    fn error(&self, what: impl fmt::Display) -> Error {
        Error::invalid(format!("the entity dataframe {} has {what}", self.path.display()))
    }
}

/// The rows of an entity dataframe, read when they are asked for, in their order.
struct EntityRows {
    dataframe: EntityDataframe,
    typed: BTreeMap<String, DataType>,
    schema: SchemaRef,
}

impl fmt::Debug for EntityRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntityRows").field(&self.dataframe.path).finish()
    }
}

impl EntityRows {
    /// The batch as it comes out; its first row has the number `first`.
    fn finish(&self, batch: &RecordBatch, first: u64) -> Result<RecordBatch> {
        let mut columns = Vec::with_capacity(batch.num_columns() + 1);
        for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            columns.push(match self.typed.get(field.name()) {
                Some(data_type) => self.dataframe.conform(field.name(), column, *data_type)?,
                None => Arc::clone(column),
            });
            if *field.name() == self.dataframe.time {
                self.refuse_null_times(column, first)?;
            }
        }
        let rows = first..first + batch.num_rows() as u64;
        columns.push(Arc::new(UInt64Array::from_iter_values(rows)));
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::internal(format!("entity rows do not fit their schema: {error}")))
    }

    fn refuse_null_times(&self, times: &ArrayRef, first: u64) -> Result<()> {
        let nulls = times.logical_nulls();
        let null = nulls.as_ref().and_then(|nulls| nulls.iter().position(|valid| !valid));
        match null {
            Some(row) => Err(self
                .dataframe
                .error(format!(
                    "no time in row {}: column \"{}\" is null there",
                    first + row as u64,
                    self.dataframe.time
                ))
                .with_hint("rows are counted from 0")),
            None => Ok(()),
        }
    }
}

impl PartitionStream for EntityRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = Self {
            dataframe: self.dataframe.clone(),
            typed: self.typed.clone(),
            schema: Arc::clone(&self.schema),
        };
        let batch_size = context.session_config().batch_size();
        let mut next = 0;
        let batches = stream::once(self.dataframe.clone().batches(batch_size)).try_flatten();
        let batches = batches.map(move |batch| {
            let batch = rows.finish(&batch?, next)?;
            next += batch.num_rows() as u64;
            Ok(batch)
        });
        let batches = batches.map_err(external);
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}

impl EntityDataframe {
    /// The rows as they are in the file.
    async fn batches(self, batch_size: usize) -> Result<impl Stream<Item = Result<RecordBatch>>> {
        let file = tokio::fs::File::open(&self.path).await.context(|| self.path.display().to_string())?;
        let reader = ParquetRecordBatchStreamBuilder::new_with_metadata(file, self.footer)
            .with_batch_size(batch_size)
            .build()
            .map_err(|error| damaged(&self.path, &error))?;
        Ok(reader.map_err(move |error| damaged(&self.path, &error)))
    }
}
