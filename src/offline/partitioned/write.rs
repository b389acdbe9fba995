//! Writing a partitioned dataset, whole or not at all.

use std::{fs::File, io::Write as _, path::Path, sync::Arc};

use arrow::{
    array::{RecordBatch, UInt32Array},
    compute::take_record_batch,
    datatypes::Schema,
};
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt as _;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    COLUMNS, MANIFEST, ORDER, data_file,
    draft::DraftFolder,
    names::{Partitions, can_partition},
};
use crate::{
    error::{Context, Error, Result, did_you_mean},
    offline::{Content, ContentHasher, errors::from_datafusion, row_groups::write_error},
};

/// The most partitions: each of them is a file that is open while all of them are written.
const MOST: usize = 1_000;

/// How many bytes wait in memory at the most, over all partitions, before the largest of them is
/// written as a row group.
const WAITING: usize = 256 << 20;

/// An error where rows of this schema cannot be partitioned by these columns.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when a column is missing, doubled or of another type, and when no
/// column is left.
fn refuse_partitions(schema: &Schema, by: &[String]) -> Result<()> {
    let names = || schema.fields().iter().map(|field| field.name().as_str());
    for (place, column) in by.iter().enumerate() {
        let Ok(field) = schema.field_with_name(column) else {
            return Err(Error::invalid(format!(
                "cannot partition by \"{column}\": there is no such column"
            ))
            .with_hint(did_you_mean(column, names())));
        };
        if by[..place].contains(column) {
            return Err(Error::invalid(format!("cannot partition by \"{column}\" twice")));
        }
        if !can_partition(field.data_type()) {
            return Err(Error::invalid(format!(
                "cannot partition by \"{column}\": its type is {}",
                crate::value::DataType::of_arrow(field.data_type())
                    .map_or_else(|| field.data_type().to_string(), |own| own.name().to_owned())
            ))
            .with_hint("partition by booleans, integers, dates or text"));
        }
        if column.starts_with(['.', '_']) {
            return Err(Error::invalid(format!(
                "cannot partition by \"{column}\": folders whose names start so are passed over"
            ))
            .with_hint("give the column another name with --map"));
        }
    }
    match by.len() == schema.fields().len() {
        true => Err(Error::invalid("cannot partition by all columns: none is left")),
        false => Ok(()),
    }
}

/// Writes the rows to a folder, in a file for every value of the columns in `by`, with the manifest
/// that `manifest` makes of the content. A dataset that was there before is replaced when the new one
/// is complete and on the disk; after an error it stays as it was, and nothing of the new one stays.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when the rows cannot be partitioned so; those of the rows and of
/// `manifest`;
/// [`crate::error::Kind::Limit`] when there are too many partitions;
/// [`crate::error::Kind::Unavailable`] when the disk is full or the folder cannot be written to.
pub(in crate::offline) async fn write_partitioned(
    rows: SendableRecordBatchStream,
    path: &Path,
    by: &[String],
    manifest: impl AsyncFnOnce(&Content) -> Result<String>,
) -> Result<Content> {
    let not_written = || format!("{} was not written", path.display());
    let written: Result<Content> = async {
        refuse_partitions(&rows.schema(), by)?;
        let draft = DraftFolder::create(path)?;
        let content = write(rows, draft.path(), by).await?;
        let mut file = File::create(draft.path().join(MANIFEST))?;
        file.write_all(manifest(&content).await?.as_bytes())?;
        file.sync_all()?;
        draft.finish()?;
        Ok(content)
    }
    .await;
    written.context(not_written)
}

async fn write(
    mut rows: SendableRecordBatchStream,
    folder: &Path,
    by: &[String],
) -> Result<Content> {
    let schema = rows.schema();
    let mut hasher = ContentHasher::new(&schema);
    let mut files = Files::create(folder, &schema, by)?;
    let mut count = 0;
    while let Some(batch) = rows.try_next().await.map_err(from_datafusion)? {
        count += batch.num_rows() as u64;
        hasher.update(&batch)?;
        files.write(&batch)?;
    }
    files.finish(&schema)?;
    Ok(Content { rows: count, hash: hasher.finish() })
}

/// The files of all partitions, and that of the order.
struct Files<'a> {
    folder: &'a Path,
    partitions: Partitions,
    /// The columns of the order, and those of the partitions, by their places.
    order: Vec<usize>,
    kept: Vec<usize>,
    order_file: ArrowWriter<File>,
    /// By the numbers of the partitions.
    data_files: Vec<ArrowWriter<File>>,
}

impl<'a> Files<'a> {
    fn create(folder: &'a Path, schema: &Schema, by: &[String]) -> Result<Self> {
        let places = 0..schema.fields().len();
        let (order, kept): (Vec<usize>, Vec<usize>) =
            places.partition(|place| by.contains(schema.field(*place).name()));
        let columns = schema.project(&order).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self {
            folder,
            partitions: Partitions::new(schema, by)?,
            order,
            kept,
            order_file: create(&folder.join(ORDER), &columns)?,
            data_files: Vec::new(),
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let project = |places: &[usize]| {
            batch.project(places).map_err(|error| Error::internal(error.to_string()))
        };
        self.order_file.write(&project(&self.order)?).map_err(write_error)?;
        let kept = project(&self.kept)?;
        let numbers = self.partitions.number(batch)?;
        self.open_new(&kept.schema())?;
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.data_files.len()];
        for (row, number) in (0..).zip(numbers) {
            rows[number].push(row);
        }
        for (file, rows) in self.data_files.iter_mut().zip(rows) {
            if !rows.is_empty() {
                let some = take_record_batch(&kept, &UInt32Array::from(rows))
                    .map_err(|error| Error::internal(error.to_string()))?;
                file.write(&some).map_err(write_error)?;
            }
        }
        self.flush()
    }

    /// Files for the partitions that were met for the first time.
    fn open_new(&mut self, schema: &Arc<Schema>) -> Result<()> {
        let (open, there) = (self.data_files.len(), self.partitions.names.len());
        if there > MOST {
            return Err(Error::limit("partitions", MOST as u64, open as u64, there as u64)
                .with_hint("partition by columns with fewer values"));
        }
        for name in &self.partitions.names[open..] {
            let path = data_file(self.folder, name);
            std::fs::create_dir_all(path.parent().unwrap_or(self.folder))?;
            self.data_files.push(create(&path, schema)?);
        }
        Ok(())
    }

    /// Writes what waits longest, where too much does.
    fn flush(&mut self) -> Result<()> {
        let waiting: usize = self.data_files.iter().map(ArrowWriter::in_progress_size).sum();
        let largest = self.data_files.iter_mut().max_by_key(|file| file.in_progress_size());
        match largest {
            Some(file) if waiting > WAITING => file.flush().map_err(write_error),
            _ => Ok(()),
        }
    }

    /// Completes all files, on the disk.
    fn finish(mut self, schema: &Schema) -> Result<()> {
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        let names = serde_json::to_string(&names).map_err(|e| Error::internal(e.to_string()))?;
        self.order_file.append_key_value_metadata(KeyValue::new(COLUMNS.to_owned(), names));
        for file in self.data_files.into_iter().chain([self.order_file]) {
            file.into_inner().map_err(write_error)?.sync_all()?;
        }
        Ok(())
    }
}

fn create(path: &Path, schema: &Schema) -> Result<ArrowWriter<File>> {
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let file = File::create(path)?;
    ArrowWriter::try_new(file, Arc::new(schema.clone()), Some(properties.build()))
        .map_err(write_error)
}
