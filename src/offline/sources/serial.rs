//! Queries, computed in one piece.
//!
//! A sum of floats, the greatest of `0.0` and `-0.0`, the first of some rows: what SQL leaves open
//! depends on the order in which rows meet. So a query of a source always meets them in one and
//! the same order, whatever the session around it may use: one partition, batches of one size,
//! files in the order of their paths.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableType},
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        ReplaceChildrenOptions, metrics::MetricsSet, stream::RecordBatchStreamAdapter,
    },
    prelude::SessionContext,
};
use futures::{TryStreamExt as _, stream};

/// How many rows a batch has within a query.
const BATCH_ROWS: usize = 8192;

/// A query as a table.
#[derive(Debug)]
pub(super) struct SerialQuery {
    plan: LogicalPlan,
    schema: SchemaRef,
    session: Serial,
}

/// A session of one partition, with the memory and the tables of another.
#[derive(Clone)]
struct Serial(SessionContext);

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Serial")
    }
}

impl SerialQuery {
    /// The query of a plan that was made in `context`.
    pub(super) fn new(plan: LogicalPlan, context: &SessionContext) -> Self {
        let config = context.copied_config().with_target_partitions(1).with_batch_size(BATCH_ROWS);
        let session = SessionContext::new_with_config_rt(config, context.runtime_env());
        let schema = Arc::clone(plan.schema().inner());
        Self { plan, schema, session: Serial(session) }
    }
}

#[async_trait]
impl TableProvider for SerialQuery {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut plan = self.plan.clone();
        if let Some(projection) = projection {
            let columns = plan.schema().columns();
            let picked = projection.iter().filter_map(|place| columns.get(*place).cloned());
            plan = LogicalPlanBuilder::from(plan).project(picked.map(Expr::Column))?.build()?;
        }
        let first = self.session.0.state().create_physical_plan(&plan).await?;
        Ok(Arc::new(SerialExec {
            query: plan,
            properties: Arc::clone(first.properties()),
            run: Arc::new(Mutex::new(Run { plan: first, is_begun: false })),
            session: self.session.clone(),
        }))
    }
}

/// The operator: a leaf for the plan around it, which would otherwise spread what is in it over
/// partitions.
///
/// It can be executed again and again: a join whose memory is short reads its inputs once more. What
/// operators know from one execution (which rows a join has matched, the last of the best rows) would
/// be wrong in the next, and not all of it can be reset: so each has a plan of its own.
#[derive(Debug)]
struct SerialExec {
    query: LogicalPlan,
    properties: Arc<PlanProperties>,
    run: Arc<Mutex<Run>>,
    session: Serial,
}

/// The last execution, or the first one that is to come.
#[derive(Debug)]
struct Run {
    plan: Arc<dyn ExecutionPlan>,
    is_begun: bool,
}

fn locked(run: &Mutex<Run>) -> MutexGuard<'_, Run> {
    run.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Plans the query once more, and executes that.
async fn again(
    query: LogicalPlan,
    Serial(session): Serial,
    run: Arc<Mutex<Run>>,
    partition: usize,
) -> Result<SendableRecordBatchStream> {
    let plan = session.state().create_physical_plan(&query).await?;
    let rows = plan.execute(partition, session.task_ctx())?;
    locked(&run).plan = plan;
    Ok(rows)
}

impl DisplayAs for SerialExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SerialExec: {}", locked(&self.run).plan.name())
    }
}

impl ExecutionPlan for SerialExec {
    fn name(&self) -> &str {
        "SerialExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.len() {
            0 => Ok(self),
            count => internal_err!("SerialExec has no children, not {count}"),
        }
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
        )
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let mut run = locked(&self.run);
        if !mem::replace(&mut run.is_begun, true) {
            return run.plan.execute(partition, self.session.0.task_ctx());
        }
        let again =
            again(self.query.clone(), self.session.clone(), Arc::clone(&self.run), partition);
        let rows = stream::once(again).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        locked(&self.run).plan.metrics()
    }
}

#[cfg(test)]
mod tests {
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::physical_plan::common;

    use super::*;

    /// What a query gives, each time that its one plan is executed.
    async fn check(text: &str, expected: &[&str]) {
        let context = SessionContext::new();
        let tables = [
            "CREATE TABLE customers AS VALUES (1), (2), (3), (4)",
            "CREATE TABLE orders AS VALUES (2, 20), (2, 21), (4, 40)",
        ];
        for table in tables {
            context.sql(table).await.unwrap().collect().await.unwrap();
        }
        let plan = context.sql(text).await.unwrap().into_optimized_plan().unwrap();
        let query = SerialQuery::new(plan, &context);
        let plan = query.scan(&context.state(), None, &[], None).await.unwrap();
        for time in 1..=3 {
            let rows = plan.execute(0, context.task_ctx()).unwrap();
            let rows = common::collect(rows).await.unwrap();
            let options = FormatOptions::new().with_null("null");
            let mut lines: Vec<String> = Vec::new();
            for batch in &rows {
                let columns = batch.columns().iter();
                let columns: Vec<_> = columns
                    .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
                    .collect();
                let line =
                    |row| columns.iter().map(|c| c.value(row).to_string()).collect::<Vec<_>>();
                lines.extend((0..batch.num_rows()).map(|row| line(row).join(" ")));
            }
            lines.sort_unstable();
            assert_eq!(lines, expected, "time {time} of {text}");
        }
    }

    #[tokio::test]
    async fn a_query_gives_the_same_rows_each_time() {
        let joined = "SELECT c.column1, o.column2 FROM customers c \
                      LEFT JOIN orders o ON c.column1 = o.column1";
        check(joined, &["1 null", "2 20", "2 21", "3 null", "4 40"]).await;
        let best = "SELECT column1, column2 FROM orders ORDER BY column2 LIMIT 2";
        check(best, &["2 20", "2 21"]).await;
    }
}
