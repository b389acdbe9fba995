//! Rows on their way out of a plan.

use std::{collections::BTreeSet, sync::Arc};

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

/// The newest rows of a source, on their way.
pub struct LatestRows {
    /// The rows, in batches.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    /// What was read for them so far.
    pub scanned: Scanned,
}

/// What a plan has read so far.
pub struct Scanned(Arc<dyn ExecutionPlan>);

impl Scanned {
    /// How many rows its scans gave.
    pub fn rows(&self) -> u64 {
        rows_of_scans(self.0.as_ref())
    }
}

fn rows_of_scans(plan: &dyn ExecutionPlan) -> u64 {
    let inputs = plan.children();
    if inputs.is_empty() {
        return plan.metrics().and_then(|metrics| metrics.output_rows()).unwrap_or(0) as u64;
    }
    inputs.into_iter().map(|input| rows_of_scans(input.as_ref())).sum()
}

/// The newest row of every entity of a source, as [`latest`] says, in batches: of the rows that can
/// be seen at the end of the period, as a point-in-time join would find them then. Those of its
/// files are read that have these paths; of a query, all.
///
/// # Errors
/// Those of [`Sources::rows`] and of reading.
pub async fn latest_rows(
    sources: &Sources,
    source: &str,
    layout: Layout,
    paths: &BTreeSet<&str>,
    from: Option<Timestamp>,
    to: Timestamp,
) -> Result<LatestRows> {
    let period = Period { from, to: Some(to) };
    let mut rows = sources.rows_of(source, &layout, period, paths)?;
    if sources.visible(source)? == Visible::Created {
        let end = lit(ScalarValue::TimestampMicrosecond(Some(to.0), Some("UTC".into())));
        let written = ident(CREATED).is_null().or(ident(CREATED).lt_eq(end));
        rows = rows.filter(written).map_err(from_datafusion)?;
    }
    let rows = latest(rows, layout, period)?;
    let context = Arc::new(rows.task_ctx());
    let plan = rows.create_physical_plan().await.map_err(from_datafusion)?;
    let batches = execute_stream(Arc::clone(&plan), context).map_err(from_datafusion)?;
    Ok(LatestRows { batches: batches.map_err(from_datafusion).boxed(), scanned: Scanned(plan) })
}
