//! Rows on their way out of a plan.

use std::{collections::BTreeSet, sync::Arc};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use datafusion::{
    common::ScalarValue,
    dataframe::DataFrame,
    execution::SendableRecordBatchStream,
    logical_expr::{ident, lit},
    physical_plan::{
        ExecutionPlan, execute_stream,
        stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter},
    },
};
use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};

use super::{
    CREATED, Layout, Period, Sources,
    errors::{external, from_datafusion},
    latest,
};
use crate::{definition::Visible, error::Result, time::Timestamp};

/// How many batches are read ahead of whoever takes them.
const AHEAD: usize = 2;

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

/// Batches of at most so many rows, from a reader that blocks.
pub(super) fn from_blocking<I: Iterator<Item = Result<RecordBatch>>>(
    schema: SchemaRef,
    batch_size: usize,
    open: impl FnOnce() -> Result<I> + Send + 'static,
) -> BoxStream<'static, Result<RecordBatch>> {
    let mut builder = RecordBatchReceiverStream::builder(schema, AHEAD);
    let sender = builder.tx();
    builder.spawn_blocking(move || {
        for batch in open().map_err(external)? {
            let batch = batch.map_err(external)?;
            for first in (0..batch.num_rows()).step_by(batch_size) {
                let rows = batch_size.min(batch.num_rows() - first);
                // Nobody reads on: the rest is not wanted.
                if sender.blocking_send(Ok(batch.slice(first, rows))).is_err() {
                    return Ok(());
                }
            }
        }
        Ok(())
    });
    builder.build().map_err(from_datafusion).boxed()
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
