//! Rows on their way out of a plan.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::{
    dataframe::DataFrame, execution::SendableRecordBatchStream,
    physical_plan::stream::RecordBatchStreamAdapter,
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::{Layout, Period, Sources, errors::from_datafusion, latest};
use crate::{error::Result, time::Timestamp};

/// Told of rows as they pass.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// The batches of a plan; `progress` is told of the rows in them.
pub(super) async fn stream(
    rows: DataFrame,
    progress: Progress,
) -> Result<SendableRecordBatchStream> {
    let batches = rows.execute_stream().await.map_err(from_datafusion)?;
    let schema = batches.schema();
    let told = batches.inspect_ok(move |batch| progress(batch.num_rows() as u64));
    Ok(Box::pin(RecordBatchStreamAdapter::new(schema, told)))
}

/// The newest row of every entity of a source, as [`latest`] says, in batches.
///
/// # Errors
/// Those of [`Sources::rows`] and of reading.
pub async fn latest_rows(
    sources: &Sources,
    source: &str,
    layout: Layout,
    from: Option<Timestamp>,
    to: Timestamp,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let period = Period { from, to: Some(to) };
    let rows = latest(sources.rows(source, &layout, period)?, layout, period)?;
    let batches = rows.execute_stream().await.map_err(from_datafusion)?;
    Ok(batches.map_err(from_datafusion).boxed())
}
