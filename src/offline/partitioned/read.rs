//! Reading a partitioned dataset in the order of its rows.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    compute::{concat_batches, interleave},
    datatypes::{Field, Schema, SchemaRef},
};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{COLUMNS, ORDER, data_file, names::Partitions};
use crate::{
    error::{Context, Error, Result},
    offline::{parquet_file::damaged, read_metadata},
};

/// The rows of a dataset, in their order.
pub(in crate::offline) struct OrderedRows {
    folder: PathBuf,
    order: ParquetRecordBatchReader,
    partitions: Partitions,
    /// The names of all columns, in their order.
    columns: Vec<String>,
    /// By the numbers of the partitions.
    cursors: Vec<Cursor>,
    schema: SchemaRef,
}

/// The rows of the dataset in a folder, in their order, with the columns in theirs.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] when a file is missing, [`crate::error::Kind::Corrupt`] when one
/// is damaged.
pub(in crate::offline) fn rows_in_order(folder: &Path, by: &[String]) -> Result<OrderedRows> {
    let path = folder.join(ORDER);
    let (order, order_schema) = open(&path)?;
    let columns = read_metadata(&path)?;
    let columns = columns.get(COLUMNS).and_then(|text| serde_json::from_str(text).ok());
    let columns: Vec<String> = columns.ok_or_else(|| {
        Error::corrupt(format!("{} does not say which columns there are", path.display()))
    })?;
    let mut rows = OrderedRows {
        folder: folder.to_owned(),
        order,
        partitions: Partitions::new(&order_schema, by)?,
        columns,
        cursors: Vec::new(),
        schema: order_schema,
    };
    // The columns of the partitions are in the first of them, which the first row names.
    let first = open(&path)?.0.next().transpose();
    let first = first.map_err(|error| Error::corrupt(format!("{}: {error}", path.display())))?;
    if let Some(batch) = first {
        rows.partitions.number(&batch.slice(0, 1))?;
        rows.open_new()?;
        rows.schema = rows.whole_schema()?;
    }
    Ok(rows)
}

fn open(path: &Path) -> Result<(ParquetRecordBatchReader, SchemaRef)> {
    let file = File::open(path).context(|| format!("{} cannot be opened", path.display()))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file);
    let builder = builder.map_err(|error| damaged(path.display(), &error))?;
    let schema = Arc::clone(builder.schema());
    let reader = builder.build().map_err(|error| damaged(path.display(), &error))?;
    Ok((reader, schema))
}

impl OrderedRows {
    /// The columns.
    pub(in crate::offline) fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn whole_schema(&self) -> Result<SchemaRef> {
        let data = self.cursors.first().map(|cursor| Arc::clone(&cursor.schema));
        let known: BTreeMap<&str, &Arc<Field>> = data
            .iter()
            .flat_map(|schema| schema.fields())
            .chain(self.schema.fields())
            .map(|field| (field.name().as_str(), field))
            .collect();
        let field = |name: &String| {
            let field = known.get(name.as_str()).map(|field| Arc::clone(field));
            field.ok_or_else(|| {
                Error::corrupt(format!("{} lacks column \"{name}\"", self.folder.display()))
            })
        };
        Ok(Arc::new(Schema::new(self.columns.iter().map(field).collect::<Result<Vec<_>>>()?)))
    }

    /// Files of partitions that were met for the first time.
    fn open_new(&mut self) -> Result<()> {
        for name in &self.partitions.names[self.cursors.len()..] {
            let path = data_file(&self.folder, name);
            let (reader, schema) = open(&path)?;
            self.cursors.push(Cursor { path, reader, schema, waiting: None });
        }
        Ok(())
    }

    /// The rows whose partitions' columns are these.
    fn complete(&mut self, order: &RecordBatch) -> Result<RecordBatch> {
        let numbers = self.partitions.number(order)?;
        self.open_new()?;
        let mut counts = vec![0; self.cursors.len()];
        let places: Vec<(usize, usize)> = numbers
            .iter()
            .map(|number| {
                counts[*number] += 1;
                (*number, counts[*number] - 1)
            })
            .collect();
        let taken = self.cursors.iter_mut().zip(counts).map(|(cursor, rows)| cursor.take(rows));
        let taken = taken.collect::<Result<Vec<RecordBatch>>>()?;
        let columns = self.columns.iter().map(|name| match order.column_by_name(name) {
            Some(column) => Ok(Arc::clone(column)),
            None => self.interleaved(name, &taken, &places),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .map_err(|error| Error::corrupt(format!("{}: {error}", self.folder.display())))
    }

    fn interleaved(
        &self,
        name: &str,
        taken: &[RecordBatch],
        places: &[(usize, usize)],
    ) -> Result<ArrayRef> {
        let columns = taken.iter().zip(&self.cursors).map(|(rows, cursor)| {
            let column = rows.column_by_name(name).map(|column| column.as_ref() as &dyn Array);
            column.ok_or_else(|| {
                Error::corrupt(format!("{} lacks column \"{name}\"", cursor.path.display()))
            })
        });
        interleave(&columns.collect::<Result<Vec<_>>>()?, places)
            .map_err(|error| Error::corrupt(format!("{}: {error}", self.folder.display())))
    }

    /// An error where a partition has rows that are in no place.
    fn refuse_left(&mut self) -> Result<()> {
        self.cursors.iter_mut().try_for_each(|cursor| match cursor.next()? {
            Some(_) => Err(Error::corrupt(format!(
                "{} has more rows than {ORDER} says",
                cursor.path.display()
            ))),
            None => Ok(()),
        })
    }
}

impl Iterator for OrderedRows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.folder.join(ORDER);
        match self.order.next() {
            Some(Ok(order)) => Some(self.complete(&order)),
            Some(Err(error)) => Some(Err(Error::corrupt(format!("{}: {error}", path.display())))),
            None => self.refuse_left().err().map(Err),
        }
    }
}

/// A partition, and how far it was read.
struct Cursor {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    schema: SchemaRef,
    waiting: Option<RecordBatch>,
}

impl Cursor {
    /// The rows that wait, or the next ones.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(waiting) = self.waiting.take() {
            return Ok(Some(waiting));
        }
        let next = self.reader.next().transpose();
        next.map_err(|error| Error::corrupt(format!("{}: {error}", self.path.display())))
    }

    /// The next rows, so many.
    fn take(&mut self, rows: usize) -> Result<RecordBatch> {
        let mut taken = Vec::new();
        let mut left = rows;
        while left > 0 {
            let Some(batch) = self.next()? else {
                return Err(Error::corrupt(format!(
                    "{} has fewer rows than {ORDER} says",
                    self.path.display()
                )));
            };
            let some = batch.num_rows().min(left);
            taken.push(batch.slice(0, some));
            left -= some;
            let rest = batch.num_rows() - some;
            self.waiting = (rest > 0).then(|| batch.slice(some, rest));
        }
        concat_batches(&self.schema, &taken)
            .map_err(|error| Error::corrupt(format!("{}: {error}", self.path.display())))
    }
}
