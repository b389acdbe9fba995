//! Queries, computed in one piece.
//!
//! A sum of floats, the greatest of `0.0` and `-0.0`, the first of some rows: what SQL leaves open
//! depends on the order in which rows meet. So a query of a source always meets them in one and
//! the same order, whatever the session around it may use: one partition, batches of one size,
//! files in the order of their paths.

use std::{fmt, sync::Arc};

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
        ReplaceChildrenOptions, metrics::MetricsSet,
    },
    prelude::SessionContext,
};

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
        let plan = self.session.0.state().create_physical_plan(&plan).await?;
        Ok(Arc::new(SerialExec { plan, session: self.session.clone() }))
    }
}

/// The operator: a leaf for the plan around it, which would otherwise spread what is in it over
/// partitions.
#[derive(Debug)]
struct SerialExec {
    plan: Arc<dyn ExecutionPlan>,
    session: Serial,
}

impl DisplayAs for SerialExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "SerialExec: {}", self.plan.name())
    }
}

impl ExecutionPlan for SerialExec {
    fn name(&self) -> &str {
        "SerialExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
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
        self.plan.execute(partition, self.session.0.task_ctx())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.plan.metrics()
    }
}
