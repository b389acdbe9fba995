//! Rows on their way out of a plan.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::{
    common::ScalarValue,
    dataframe::DataFrame,
    execution::SendableRecordBatchStream,
    logical_expr::{ident, lit},
    physical_plan::{ExecutionPlan, execute_stream, stream::RecordBatchStreamAdapter},
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::{CREATED, Layout, Period, Sources, errors::from_datafusion, latest};
use crate::{definition::Visible, error::Result, time::Timestamp};

/// Told of rows as they pass.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// The batches of a plan, and the plan; `progress` is told of the rows in them.
pub(super) async fn stream(
    rows: DataFrame,
    progress: Progress,
) -> Result<(SendableRecordBatchStream, Arc<dyn ExecutionPlan>)> {
    let (state, plan) = rows.into_parts();
    let plan = state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
    let batches = execute_stream(Arc::clone(&plan), state.task_ctx()).map_err(from_datafusion)?;
    let schema = batches.schema();
    let told = batches.inspect_ok(move |batch| progress(batch.num_rows() as u64));
    Ok((Box::pin(RecordBatchStreamAdapter::new(schema, told)), plan))
}

/// The newest row of every entity of a source, as [`latest`] says, in batches: of the rows that can
/// be seen at the end of the period, as a point-in-time join would find them then.
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
    let mut rows = sources.rows(source, &layout, period)?;
    if sources.visible(source)? == Visible::Created {
        let end = lit(ScalarValue::TimestampMicrosecond(Some(to.0), Some("UTC".into())));
        let written = ident(CREATED).is_null().or(ident(CREATED).lt_eq(end));
        rows = rows.filter(written).map_err(from_datafusion)?;
    }
    let rows = latest(rows, layout, period)?;
    let batches = rows.execute_stream().await.map_err(from_datafusion)?;
    Ok(batches.map_err(from_datafusion).boxed())
}
