//! Writing a Parquet file, whole or not at all.

use std::{num::NonZeroUsize, path::Path, thread};

use arrow::datatypes::SchemaRef;
use datafusion::{
    common::runtime::SpawnedTask, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowColumnChunk},
    file::{metadata::KeyValue, writer::SerializedFileWriter},
};
use tokio::sync::mpsc;

use super::{
    encoding::properties,
    errors::from_datafusion,
    row_groups::{Outlets, cut, hash, write_error},
};
use crate::{
    digest::Digest,
    error::{Context, Error, Result},
    storage::Draft,
};

/// The most row groups that are in the making at once, whatever the machine.
const MOST_AT_ONCE: usize = 8;

/// What a written file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// How many rows.
    pub rows: u64,
    /// The hash of the rows, as [`super::ContentHasher`] makes it.
    pub hash: Digest,
}

/// Writes the rows to one Parquet file in their order, with the key-value metadata that `metadata`
/// makes of the content. A file that was there before is replaced when the new one is complete and
/// on the disk; after an error it stays as it was, and nothing of the new one stays.
///
/// Row groups are encoded side by side, and the rows are hashed beside that; a row group for each
/// core is in memory at the most, and two that come and go.
///
/// # Errors
/// Those of the rows and of `metadata`; [`crate::error::Kind::Unavailable`] when the disk is full
/// or the folder cannot be written to.
pub async fn write_parquet(
    rows: SendableRecordBatchStream,
    path: &Path,
    metadata: impl AsyncFnOnce(&Content) -> Result<Vec<(String, String)>>,
) -> Result<Content> {
    let not_written = || format!("{} was not written", path.display());
    let mut draft = Draft::create(path).context(not_written)?;
    let content = write(rows, &mut draft, metadata).await.context(not_written)?;
    draft.finish().context(not_written)?;
    Ok(content)
}

async fn write(
    mut rows: SendableRecordBatchStream,
    draft: &mut Draft,
    metadata: impl AsyncFnOnce(&Content) -> Result<Vec<(String, String)>>,
) -> Result<Content> {
    let schema = rows.schema();
    let first = rows.try_next().await.map_err(from_datafusion)?;
    let properties = properties(first.as_ref());
    let rows = stream::iter(first.map(Ok)).chain(rows);
    let rows = Box::pin(RecordBatchStreamAdapter::new(SchemaRef::clone(&schema), rows));
    let writer = ArrowWriter::try_new(draft, SchemaRef::clone(&schema), Some(properties));
    let (mut file, writers) =
        writer.and_then(ArrowWriter::into_serialized_writer).map_err(write_error)?;
    let at_once = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_AT_ONCE);
    let (columns, mut encoded) = mpsc::channel(at_once);
    let (hashed, to_hash) = mpsc::channel(1);
    let hash = SpawnedTask::spawn_blocking(move || hash(&schema, to_hash));
    let cutting = SpawnedTask::spawn(cut(rows, Outlets { hash: hashed, columns, writers }));
    while let Some(encoding) = encoded.recv().await {
        append(&mut file, joined(encoding).await?)?;
    }
    joined(cutting).await?;
    let (rows, hash) = joined(hash).await?;
    let content = Content { rows, hash };
    for (key, value) in metadata(&content).await? {
        file.append_key_value_metadata(KeyValue::new(key, value));
    }
    file.close().map_err(write_error)?;
    Ok(content)
}

/// Adds a row group to the file.
fn append(
    file: &mut SerializedFileWriter<&mut Draft>,
    columns: Vec<ArrowColumnChunk>,
) -> Result<()> {
    let mut group = file.next_row_group().map_err(write_error)?;
    for column in columns {
        column.append_to_row_group(&mut group).map_err(write_error)?;
    }
    group.close().map_err(write_error)?;
    Ok(())
}

/// The outcome of a task; a panic in it goes on here.
async fn joined<T: 'static>(task: SpawnedTask<Result<T>>) -> Result<T> {
    let outcome = task.join_unwind().await;
    outcome.map_err(|error| Error::internal(format!("a task was cancelled: {error}")))?
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        sync::Arc,
    };

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use datafusion::error::DataFusionError;

    use super::*;
    use crate::{
        error::Kind,
        offline::{ContentHasher, read_metadata},
        storage::testing::names,
    };

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(future)
    }

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let numbers = (from..from + rows).map(|i| (i % 3 != 0).then_some(i));
        let texts = (from..from + rows).map(|i| format!("text {i}"));
        let columns: [(&str, ArrayRef); 2] = [
            ("number", Arc::new(numbers.collect::<Int64Array>())),
            ("text", Arc::new(StringArray::from_iter_values(texts))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn rows(batches: Vec<Result<RecordBatch, DataFusionError>>) -> SendableRecordBatchStream {
        Box::pin(RecordBatchStreamAdapter::new(batch(0, 0).schema(), stream::iter(batches)))
    }

    #[test]
    fn the_content_can_be_in_the_metadata() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        let said =
            async |content: &Content| Ok(vec![("content".to_owned(), content.hash.to_string())]);
        let content =
            block_on(write_parquet(rows(vec![Ok(batch(0, 5)), Ok(batch(5, 7))]), &path, said))
                .unwrap();
        assert_eq!(content.rows, 12);
        assert_eq!(read_metadata(&path).unwrap()["content"], content.hash.to_string());

        let again = folder.path().join("again.parquet");
        let other = block_on(write_parquet(rows(vec![Ok(batch(0, 12))]), &again, said)).unwrap();
        assert_eq!(other, content);
    }

    #[test]
    fn what_is_read_back_has_the_hash_that_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        let content =
            block_on(write_parquet(rows(vec![Ok(batch(0, 3000))]), &path, async |_| Ok(vec![])))
                .unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
            File::open(&path).unwrap(),
        );
        let mut hasher = ContentHasher::new(&batch(0, 0).schema());
        for batch in reader.unwrap().with_batch_size(777).build().unwrap() {
            hasher.update(&batch.unwrap()).unwrap();
        }
        assert_eq!(hasher.finish(), content.hash);
    }

    #[test]
    fn after_an_error_all_is_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.parquet");
        fs::write(&path, "before").unwrap();
        let broken = rows(vec![
            Ok(batch(0, 5)),
            Err(DataFusionError::ResourcesExhausted("no memory".into())),
        ]);
        let error = block_on(write_parquet(broken, &path, async |_| Ok(vec![]))).unwrap_err();
        assert_eq!(error.kind(), Kind::Limit);
        let refused = block_on(write_parquet(rows(vec![Ok(batch(0, 5))]), &path, async |_| {
            Err(Error::invalid("no"))
        }));
        assert!(refused.unwrap_err().message().contains("out.parquet was not written: no"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(names(folder.path()), ["out.parquet"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/out.parquet");
        let error = block_on(write_parquet(rows(vec![]), &path, async |_| Ok(vec![]))).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
    }
}
