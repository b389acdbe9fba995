//! The entity dataframe: the rows, with their times, that features are wanted for.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch, UInt64Array, new_empty_array},
    compute::{max, min},
    datatypes::{
        DataType as ArrowType, Field as ArrowField, Schema, SchemaRef, TimestampMicrosecondType,
    },
};
use datafusion::{
    catalog::streaming::StreamingTable,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::ident,
    physical_plan::{stream::RecordBatchStreamAdapter, streaming::PartitionStream},
    prelude::{DataFrame, SessionContext},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use parquet::arrow::{
    ParquetRecordBatchStreamBuilder,
    arrow_reader::{ArrowReaderMetadata, statistics::StatisticsConverter},
};

use super::{
    ROW_NUMBER,
    errors::{external, from_datafusion},
    parquet_file::{damaged, read_footer},
    period::Period,
    sources::{Columns, columns},
};
use crate::{
    error::{Context, Error, Result, did_you_mean},
    time::Timestamp,
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
        let footer = read_footer(&path)
            .map_err(|error| error.context("the entity dataframe cannot be read"))?;
        let time = time.unwrap_or(DEFAULT_TIME).to_owned();
        let names: Vec<&str> =
            footer.schema().fields().iter().map(|field| field.name().as_str()).collect();
        let twice = (1..names.len()).find(|place| names[..*place].contains(&names[*place]));
        if let Some(place) = twice {
            return Err(Error::invalid(format!(
                "the entity dataframe {} has two columns \"{}\"",
                path.display(),
                names[place]
            )));
        }
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

    /// The period that its times are in, as far as the statistics in the file tell without reading
    /// the rows.
    pub fn period(&self) -> Period {
        self.extremes().unwrap_or(Period::ALL)
    }

    fn extremes(&self) -> Option<Period> {
        let file = self.footer.metadata();
        let column = StatisticsConverter::try_new(
            &self.time,
            self.footer.schema(),
            file.file_metadata().schema_descr(),
        )
        .ok()?;
        let known = |extremes: ArrayRef| {
            let extremes = conform(&extremes, DataType::Timestamp).ok()?;
            let complete = extremes.null_count() == 0;
            complete.then(|| extremes.as_primitive::<TimestampMicrosecondType>().clone())
        };
        let from = known(column.row_group_mins(file.row_groups()).ok()?)?;
        let to = known(column.row_group_maxes(file.row_groups()).ok()?)?;
        Some(Period { from: min(&from).map(Timestamp), to: max(&to).map(Timestamp) })
    }

    /// The rows, with a column [`ROW_NUMBER`] after all others. The time and the columns in
    /// `typed` (join keys and request columns) have their types; others are carried through as they
    /// are.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when columns are missing, of other types or called as the
    /// row number. A value that does not fit, and a null time, are errors when the rows are read.
    pub fn read(
        &self,
        context: &SessionContext,
        typed: &BTreeMap<String, DataType>,
    ) -> Result<DataFrame> {
        let mut typed = typed.clone();
        typed.insert(self.time.clone(), DataType::Timestamp);
        let schema = Arc::new(self.schema(&typed)?);
        let rows = EntityRows { dataframe: self.clone(), typed, schema: Arc::clone(&schema) };
        let table =
            StreamingTable::try_new(schema, vec![Arc::new(rows)]).map_err(from_datafusion)?;
        let table = table.with_sort_order(vec![ident(ROW_NUMBER).sort(true, true)]);
        context.read_table(Arc::new(table)).map_err(from_datafusion)
    }

    /// The columns that come out.
    fn schema(&self, typed: &BTreeMap<String, DataType>) -> Result<Schema> {
        let held = self.footer.schema();
        if held.field_with_name(ROW_NUMBER).is_ok() {
            return Err(self.error(format!(
                "a column \"{ROW_NUMBER}\", which is kept for the number of the row"
            )));
        }
        let missing: Vec<&str> = typed
            .keys()
            .map(String::as_str)
            .filter(|name| held.field_with_name(name).is_err())
            .collect();
        if let Some(first) = missing.first() {
            let names = held.fields().iter().map(|field| field.name().as_str());
            return Err(self
                .error(format!("no column {}", missing.join(", ")))
                .with_hint(did_you_mean(first, names)));
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
        conform(column, data_type).map_err(|error| {
            error
                .context(format!("the entity dataframe {}, column \"{name}\"", self.path.display()))
        })
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
        RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|error| {
            Error::internal(format!("entity rows do not fit their schema: {error}"))
        })
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
        let file =
            tokio::fs::File::open(&self.path).await.context(|| self.path.display().to_string())?;
        let reader = ParquetRecordBatchStreamBuilder::new_with_metadata(file, self.footer)
            .with_batch_size(batch_size)
            .build()
            .map_err(|error| damaged(self.path.display(), &error))?;
        Ok(reader.map_err(move |error| damaged(self.path.display(), &error)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow::{
        array::{Int8Array, Int64Array, StringArray, TimestampNanosecondArray, new_null_array},
        compute::concat_batches,
        datatypes::{TimeUnit, UInt64Type},
    };
    use parquet::arrow::ArrowWriter;

    use super::*;
    use crate::{
        error::Kind,
        offline::{Resources, in_order, session},
    };

    fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        );
        let batch = batch.unwrap();
        let mut writer =
            ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    /// A dataframe of so many rows; the times of the rows in `null` are.
    fn dataframe(path: &Path, time: &str, rows: i64, null: &[i64]) {
        let times = (0..rows).map(|row| (!null.contains(&row)).then_some(row * 1000));
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("label", Arc::new((0..rows).map(|row| Some((row % 2) as i8)).collect::<Int8Array>())),
            (
                "user_id",
                Arc::new((0..rows).map(|row| Some((row % 7) as i8)).collect::<Int8Array>()),
            ),
            (time, Arc::new(times.collect::<TimestampNanosecondArray>())),
        ];
        write(path, columns);
    }

    fn typed() -> BTreeMap<String, DataType> {
        [("user_id".to_owned(), DataType::Int64)].into()
    }

    fn read(path: &Path, time: Option<&str>) -> Result<RecordBatch> {
        let context =
            session(&Resources { partitions: 4, batch_size: 100, ..Resources::default() })?;
        let rows = EntityDataframe::open(path, time)?.read(&context, &typed())?;
        let schema = Arc::clone(rows.schema().inner());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let batches = runtime.block_on(rows.collect()).map_err(from_datafusion)?;
        Ok(concat_batches(&schema, &batches).unwrap())
    }

    #[test]
    fn rows_are_numbered_in_the_order_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entities.parquet");
        dataframe(&path, "event_timestamp", 1234, &[]);
        let entities = EntityDataframe::open(&path, None).unwrap();
        assert_eq!(entities.rows(), 1234);
        assert_eq!(
            entities.period(),
            Period { from: Some(Timestamp(0)), to: Some(Timestamp(1233)) }
        );
        let rows = read(&path, None).unwrap();
        let names: Vec<_> =
            rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["label", "user_id", "event_timestamp", ROW_NUMBER]);
        assert_eq!(*rows.column(0).data_type(), ArrowType::Int8, "carried through as it is");
        assert_eq!(*rows.column(1).data_type(), ArrowType::Int64);
        let times = rows.column(2).as_primitive::<TimestampMicrosecondType>();
        let numbers = rows.column(3).as_primitive::<UInt64Type>();
        for row in 0..1234 {
            assert_eq!((times.value(row), numbers.value(row)), (row as i64, row as u64));
        }
    }

    #[test]
    fn the_order_can_be_restored() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entities.parquet");
        dataframe(&path, "event_timestamp", 500, &[]);
        let context =
            session(&Resources { partitions: 4, batch_size: 10, ..Resources::default() }).unwrap();
        let rows = EntityDataframe::open(&path, None).unwrap().read(&context, &typed()).unwrap();
        let shuffled = rows.sort_by(vec![datafusion::logical_expr::ident("user_id")]).unwrap();
        let ordered = crate::offline::testing::collect(in_order(shuffled).unwrap());
        assert_eq!(ordered.num_columns(), 3);
        let times = ordered.column(2).as_primitive::<TimestampMicrosecondType>();
        assert!((0..500).all(|row| times.value(row) == row as i64));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("entities.parquet");
        let check = |time: Option<&str>, kind: Kind, expect: &str| {
            let error = read(&path, time).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(expect), "{error}");
        };
        check(None, Kind::NotFound, "the entity dataframe cannot be read");
        dataframe(&path, "label", 10, &[]);
        check(None, Kind::Invalid, "has two columns \"label\"");
        dataframe(&path, "ts", 10, &[]);
        let message =
            "has no column \"event_timestamp\" with the times; it has: label, user_id, ts";
        check(None, Kind::Invalid, message);
        check(None, Kind::Invalid, "--timestamp-column");
        assert_eq!(read(&path, Some("ts")).unwrap().num_rows(), 10);
        check(
            Some("label"),
            Kind::Invalid,
            "column \"label\": type int32 cannot be read as timestamp",
        );
        dataframe(&path, "event_timestamp", 345, &[321, 330]);
        check(
            None,
            Kind::Invalid,
            "has no time in row 321: column \"event_timestamp\" is null there",
        );
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        check(None, Kind::Corrupt, "cut off or damaged");
        let time = || new_null_array(&ArrowType::Timestamp(TimeUnit::Second, None), 1);
        write(
            &path,
            vec![("event_timestamp", time()), ("user_ids", Arc::new(Int64Array::from(vec![1])))],
        );
        check(None, Kind::Invalid, "has no column user_id\nhint: did you mean \"user_ids\"?");
        write(
            &path,
            vec![("event_timestamp", time()), ("user_id", Arc::new(StringArray::from(vec!["x"])))],
        );
        check(None, Kind::Invalid, "column \"user_id\": type utf8 cannot be read as int64");
        write(
            &path,
            vec![("event_timestamp", time()), ("__row", Arc::new(Int64Array::from(vec![1])))],
        );
        check(None, Kind::Invalid, "a column \"__row\", which is kept for the number of the row");
    }
}
