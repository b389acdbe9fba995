//! Row groups on their way into a Parquet file: cut from the rows, encoded side by side.

use std::mem;

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{common::runtime::SpawnedTask, execution::SendableRecordBatchStream};
use futures::StreamExt as _;
use parquet::{
    arrow::arrow_writer::{
        ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
    },
    errors::ParquetError,
};
use tokio::sync::mpsc;

use super::{content_hash::ContentHasher, errors::from_datafusion};
use crate::{
    digest::Digest,
    error::{Error, Result},
};

/// How many rows a row group has; the last one has fewer.
const ROWS: usize = 1 << 17;

/// From how many bytes on, as they are in memory, a row group has fewer rows.
const BYTES: usize = 128 << 20;

/// The rows of a row group.
pub(super) type RowGroup = Vec<RecordBatch>;

/// A row group that is being encoded: its columns.
pub(super) type Encoding = SpawnedTask<Result<Vec<ArrowColumnChunk>>>;

/// What a row group is sent to.
pub(super) struct Outlets {
    /// Takes the rows for their hash.
    pub(super) hash: mpsc::Sender<RowGroup>,
    /// Takes the columns. As many row groups are in the making as fit into the channel.
    pub(super) columns: mpsc::Sender<Encoding>,
    pub(super) writers: ArrowRowGroupWriterFactory,
}

/// Cuts the rows into row groups, in their order, and sends each to the outlets; ends early, without
/// an error, when nobody takes them any more.
///
/// # Errors
/// Those of the rows.
pub(super) async fn cut(mut rows: SendableRecordBatchStream, outlets: Outlets) -> Result<()> {
    let (schema, mut sent) = (rows.schema(), 0);
    let mut next = Cut::default();
    loop {
        let batch = rows.next().await.transpose().map_err(from_datafusion)?;
        let (ended, complete) = match batch {
            Some(batch) => (false, next.push(&batch)),
            None => {
                (true, Some(next.take()).filter(|group| !group.is_empty()).into_iter().collect())
            }
        };
        for group in complete {
            let writers = outlets.writers.create_column_writers(sent).map_err(write_error)?;
            let (schema, rows) = (SchemaRef::clone(&schema), group.clone());
            let encoding = SpawnedTask::spawn_blocking(move || encode(&schema, writers, &rows));
            if outlets.columns.send(encoding).await.is_err()
                || outlets.hash.send(group).await.is_err()
            {
                return Ok(());
            }
            sent += 1;
        }
        if ended {
            return Ok(());
        }
    }
}

/// The hash of all rows that come.
///
/// # Errors
/// Those of [`ContentHasher::update`].
pub(super) fn hash(
    schema: &SchemaRef,
    mut rows: mpsc::Receiver<RowGroup>,
) -> Result<(u64, Digest)> {
    let (mut count, mut hasher) = (0, ContentHasher::new(schema));
    while let Some(group) = rows.blocking_recv() {
        for batch in group {
            count += batch.num_rows() as u64;
            hasher.update(&batch)?;
        }
    }
    Ok((count, hasher.finish()))
}

/// A row group in the making.
#[derive(Default)]
struct Cut {
    batches: RowGroup,
    rows: usize,
    bytes: usize,
}

impl Cut {
    /// Adds rows, and gives the row groups that are complete with them.
    fn push(&mut self, batch: &RecordBatch) -> Vec<RowGroup> {
        let (mut complete, mut at) = (Vec::new(), 0);
        while at < batch.num_rows() {
            let piece = batch.slice(at, (ROWS - self.rows).min(batch.num_rows() - at));
            at += piece.num_rows();
            self.rows += piece.num_rows();
            self.bytes += bytes(&piece);
            self.batches.push(piece);
            if self.rows == ROWS || self.bytes >= BYTES {
                complete.push(self.take());
            }
        }
        complete
    }

    fn take(&mut self) -> RowGroup {
        mem::take(self).batches
    }
}

/// How many bytes these rows take in memory, however much more is in the buffers they share.
fn bytes(batch: &RecordBatch) -> usize {
    let size = |column: &arrow::array::ArrayRef| {
        let whole = || column.get_buffer_memory_size();
        column.to_data().get_slice_memory_size().unwrap_or_else(|_| whole())
    };
    batch.columns().iter().map(size).sum()
}

/// The columns of a row group.
fn encode(
    schema: &SchemaRef,
    mut writers: Vec<ArrowColumnWriter>,
    rows: &[RecordBatch],
) -> Result<Vec<ArrowColumnChunk>> {
    let mut first = 0;
    for (place, field) in schema.fields().iter().enumerate() {
        // A nested column is several in the file.
        let mut width = 0;
        for batch in rows {
            let leaves = compute_leaves(field, batch.column(place)).map_err(write_error)?;
            width = leaves.len();
            for (writer, leaf) in writers.iter_mut().skip(first).zip(&leaves) {
                writer.write(leaf).map_err(write_error)?;
            }
        }
        first += width;
    }
    writers.into_iter().map(|writer| writer.close().map_err(write_error)).collect()
}

/// The error for a file that cannot be written: of the disk, or of what is to be written.
pub(super) fn write_error(error: ParquetError) -> Error {
    let io =
        std::iter::successors(Some(&error as &dyn std::error::Error), |error| (*error).source())
            .find_map(|error| error.downcast_ref::<std::io::Error>());
    match io {
        Some(_) => Error::unavailable(error.to_string()),
        None => Error::invalid(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::error::Kind;

    fn batch(rows: usize, text: &str) -> RecordBatch {
        let columns: [(&str, ArrayRef); 2] = [
            ("x", Arc::new((0..rows as i64).collect::<Int64Array>())),
            ("text", Arc::new(StringArray::from(vec![text; rows]))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    }

    fn rows(groups: &[RowGroup]) -> Vec<usize> {
        groups.iter().map(|group| group.iter().map(RecordBatch::num_rows).sum()).collect()
    }

    #[test]
    fn row_groups_are_cut_where_they_are_full() {
        let mut cut = Cut::default();
        let groups: Vec<RowGroup> =
            [ROWS - 1, 2 * ROWS, 5].iter().flat_map(|rows| cut.push(&batch(*rows, ""))).collect();
        assert_eq!(rows(&groups), [ROWS, ROWS, ROWS]);
        assert_eq!(rows(&[cut.take()]), [4]);
    }

    #[test]
    fn wide_rows_make_smaller_row_groups() {
        let mut cut = Cut::default();
        let whole = batch(40, &"x".repeat(BYTES / 100));
        // Slices of one large batch count for what is in them.
        assert!((0..40).all(|row| cut.push(&whole.slice(row, 1)).is_empty()));
        assert_eq!(rows(&[cut.take()]), [40]);
        let groups = (0..10).flat_map(|_| cut.push(&whole)).collect::<Vec<_>>();
        assert_eq!(rows(&groups), [120, 120, 120]);
    }

    #[test]
    fn a_full_disk_is_no_fault_of_the_caller() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert_eq!(write_error(ParquetError::from(full)).kind(), Kind::Unavailable);
        assert_eq!(write_error(ParquetError::NYI("unions".into())).kind(), Kind::Invalid);
    }
}
