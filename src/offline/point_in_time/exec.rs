//! The physical operator of the point-in-time join.

use std::{fmt, sync::Arc};

use datafusion::{
    common::{Result, Statistics, internal_err, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{LexOrdering, OrderingRequirements, PhysicalExpr},
    physical_plan::{
        ChildStats, ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution,
        ExecutionPlan, InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
        StatisticsArgs,
        execution_plan::CardinalityEffect,
        metrics::{ExecutionPlanMetricsSet, MetricsSet, SpillMetrics},
        spill::SpillManager,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::stream;

use super::{
    JoinSpec,
    join::{Join, JoinMetrics},
    scan::FeatureRows,
};
use crate::offline::{
    ROW_NUMBER,
    operator::{extended, ordering, widened},
};

/// A point-in-time join of entity rows, the first child, with the feature rows of views, the others.
///
/// Entity rows come out in the order of their numbers, in one partition; feature rows may come in
/// any order and any number of partitions.
#[derive(Debug)]
pub struct PointInTimeJoinExec {
    entities: Arc<dyn ExecutionPlan>,
    features: Vec<Arc<dyn ExecutionPlan>>,
    views: Vec<Arc<JoinSpec>>,
    /// The order of the entity rows.
    order: LexOrdering,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PointInTimeJoinExec {
    /// A join; all children are asked for their columns by name.
    ///
    /// # Errors
    /// When a column is missing, or there is not one child for each view.
    pub fn try_new(
        entities: Arc<dyn ExecutionPlan>,
        features: Vec<Arc<dyn ExecutionPlan>>,
        views: Vec<Arc<JoinSpec>>,
    ) -> Result<Self> {
        if features.len() != views.len() {
            return internal_err!("{} inputs for {} views", features.len(), views.len());
        }
        let outputs: Vec<_> =
            views.iter().map(|view| view.output_fields()).collect::<Result<_>>()?;
        Ok(Self {
            order: ordering(&entities.schema(), &[ROW_NUMBER.to_owned()])?,
            properties: Arc::new(extended(&entities, outputs.into_iter().flatten().collect())?),
            metrics: ExecutionPlanMetricsSet::new(),
            entities,
            features,
            views,
        })
    }
}

impl DisplayAs for PointInTimeJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PointInTimeJoinExec: ")?;
        super::write_views(&self.views, f)
    }
}

impl ExecutionPlan for PointInTimeJoinExec {
    fn name(&self) -> &str {
        "PointInTimeJoinExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        [&self.entities].into_iter().chain(&self.features).collect()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let features = self.features.iter().map(|_| Distribution::UnspecifiedDistribution);
        let all = [Distribution::SinglePartition].into_iter().chain(features);
        InputDistributionRequirements::new(all.collect())
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let features = self.features.iter().map(|_| None);
        [Some(self.order.clone().into())].into_iter().chain(features).collect()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        [false].into_iter().chain(self.features.iter().map(|_| true)).collect()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        [true].into_iter().chain(self.features.iter().map(|_| false)).collect()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if children.is_empty() {
            return internal_err!("PointInTimeJoinExec without entity rows");
        }
        let entities = children.remove(0);
        Ok(Arc::new(Self::try_new(entities, children, self.views.clone())?))
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

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let spills = SpillMetrics::new(&self.metrics, 0);
        let rows = |(view, plan): (&Arc<JoinSpec>, &Arc<dyn ExecutionPlan>)| {
            let spills = SpillManager::new(context.runtime_env(), spills.clone(), plan.schema());
            FeatureRows::new(Arc::clone(view), Arc::clone(plan), spills)
        };
        let views = self.views.iter().zip(&self.features).map(rows).collect();
        let entities = self.entities.execute(partition, Arc::clone(&context))?;
        let metrics = JoinMetrics::new(&self.metrics);
        let join = Join::new(entities, views, Arc::clone(&schema), context, metrics);
        let batches = stream::try_unfold(join, Join::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        let features = self.features.iter().map(|_| ChildStats::Skip);
        [ChildStats::At(partition)].into_iter().chain(features).collect()
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        widened(inputs, &self.schema())
    }
}
