//! Writing a Parquet file, whole or not at all.

use std::{
    error::Error as StdError,
    fs::File,
    io::{self, BufWriter},
    iter::successors,
    path::Path,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
};
use tempfile::NamedTempFile;

use super::{content_hash::ContentHasher, errors::from_datafusion};
use crate::{
    digest::Digest,
    error::{Context, Error, Result},
};

/// What a written file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content {
    /// How many rows.
    pub rows: u64,
    /// The hash of the rows, as [`ContentHasher`] makes it.
    pub hash: Digest,
}

/// Writes the rows to one Parquet file in their order, with the key-value metadata that `metadata`
/// makes of the content. A file that was there before is replaced when the new one is complete and
/// on the disk; after an error it stays as it was, and nothing of the new one stays.
///
/// # Errors
/// Those of the rows and of `metadata`; [`crate::error::Kind::Unavailable`] when the disk is full
/// or the folder cannot be written to.
pub async fn write_parquet(
    mut rows: SendableRecordBatchStream,
    path: &Path,
    metadata: impl AsyncFnOnce(&Content) -> Result<Vec<(String, String)>>,
) -> Result<Content> {
    let not_written = || format!("{} was not written", path.display());
    let mut file = Writer::create(path, rows.schema()).context(not_written)?;
    while let Some(batch) = rows.next().await {
        let batch = batch.map_err(from_datafusion).context(not_written)?;
        file.write(&batch).context(not_written)?;
    }
    file.finish(path, metadata).await.context(not_written)
}

/// A file that is not there yet under its name.
struct Writer {
    rows: u64,
    hasher: ContentHasher,
    parquet: ArrowWriter<BufWriter<NamedTempFile>>,
}

impl Writer {
    /// A file in the same folder as `path`, which is removed unless it is finished.
    fn create(path: &Path, schema: SchemaRef) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let prefix = format!(".{name}.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".tmp");
        // Readable by whom any new file is readable, and not by its owner alone.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = BufWriter::new(builder.tempfile_in(folder(path))?);
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
        Ok(Self {
            rows: 0,
            hasher: ContentHasher::new(&schema),
            parquet: ArrowWriter::try_new(file, schema, Some(properties.build()))
                .map_err(write_error)?,
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        self.hasher.update(batch)?;
        self.parquet.write(batch).map_err(write_error)
    }

    /// Completes the file and gives it its name.
    async fn finish(
        mut self,
        path: &Path,
        metadata: impl AsyncFnOnce(&Content) -> Result<Vec<(String, String)>>,
    ) -> Result<Content> {
        let content = Content { rows: self.rows, hash: self.hasher.finish() };
        for (key, value) in metadata(&content).await? {
            self.parquet.append_key_value_metadata(KeyValue::new(key, value));
        }
        let file = self.parquet.into_inner().map_err(write_error)?;
        let file = file.into_inner().map_err(|error| error.into_error())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(folder(path))?.sync_all()?;
        Ok(content)
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

fn write_error(error: ParquetError) -> Error {
    let io = successors(Some(&error as &dyn StdError), |error| (*error).source())
        .find_map(|error| error.downcast_ref::<io::Error>());
    match io {
        Some(_) => Error::unavailable(error.to_string()),
        None => Error::invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use datafusion::{error::DataFusionError, physical_plan::stream::RecordBatchStreamAdapter};
    use futures::{executor::block_on, stream};

    use super::*;
    use crate::{error::Kind, offline::read_metadata};

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

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| name.into_string().unwrap()).collect()
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

    #[test]
    fn a_full_disk_is_no_fault_of_the_caller() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(write_error(ParquetError::from(full)).kind(), Kind::Unavailable);
        assert_eq!(write_error(ParquetError::NYI("unions".into())).kind(), Kind::Invalid);
    }
}
