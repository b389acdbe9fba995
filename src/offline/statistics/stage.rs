//! Statistics of rows on their way: taken beside, while the rows go on.

use arrow::array::RecordBatch;
use datafusion::{
    common::runtime::SpawnedTask, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{TryStreamExt as _, stream};
use tokio::sync::mpsc;

use super::{ColumnStatistics, Statistics};
use crate::error::{Error, Result};

/// How many batches may wait to be looked at.
const WAITING: usize = 4;

/// The statistics of rows that are on their way.
pub(in crate::offline) struct Watching(SpawnedTask<Result<Vec<ColumnStatistics>>>);

/// The same rows, and their statistics, which are complete when the rows have ended.
pub(in crate::offline) fn watch(
    rows: SendableRecordBatchStream,
) -> (SendableRecordBatchStream, Watching) {
    let schema = rows.schema();
    let (sender, receiver) = mpsc::channel(WAITING);
    let columns = schema.clone();
    let task = SpawnedTask::spawn_blocking(move || take(&columns, receiver));
    let passing = stream::try_unfold((rows, sender), async |(mut rows, sender)| {
        let Some(batch) = rows.try_next().await? else {
            return Ok(None);
        };
        // A task that has ended says why at its end.
        let _ = sender.send(batch.clone()).await;
        Ok(Some((batch, (rows, sender))))
    });
    (Box::pin(RecordBatchStreamAdapter::new(schema, passing)), Watching(task))
}

fn take(
    schema: &arrow::datatypes::Schema,
    mut batches: mpsc::Receiver<RecordBatch>,
) -> Result<Vec<ColumnStatistics>> {
    let mut statistics = Statistics::new(schema)?;
    while let Some(batch) = batches.blocking_recv() {
        statistics.update(&batch);
    }
    statistics.finish()
}

impl Watching {
    /// The statistics, once all rows have passed.
    ///
    /// # Errors
    /// None in practice.
    pub(in crate::offline) async fn finish(self) -> Result<Vec<ColumnStatistics>> {
        let ended = self.0.join_unwind().await;
        ended.map_err(|error| Error::internal(format!("no statistics: {error}")))?
    }
}
