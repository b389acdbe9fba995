//! The physical operator of the point-in-time join.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;
use datafusion::{
    common::{Result, Statistics, internal_err, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{LexOrdering, OrderingRequirements, PhysicalExpr},
    physical_plan::{
        ChildStats, ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution,
        ExecutionPlan, InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
        StatisticsArgs, apply_expression_roots,
        execution_plan::CardinalityEffect,
        metrics::{
            BaselineMetrics, Count, ExecutionPlanMetricsSet, Gauge, MetricBuilder, MetricsSet,
            RecordOutput,
        },
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, stream};

use super::{
    JoinSpec,
    merge::{Merge, Step},
};
use crate::offline::operator::{extended, ordering, physical_columns, widened};

/// A point-in-time join of two sides that are partitioned by key and sorted by key and time.
///
/// The first child gives entity rows, the second feature rows. Entity rows keep their order and
/// their partition.
#[derive(Debug)]
pub struct PointInTimeJoinExec {
    entities: Arc<dyn ExecutionPlan>,
    features: Arc<dyn ExecutionPlan>,
    spec: Arc<JoinSpec>,
    /// The keys of either side.
    keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// The order either side has to come in.
    orderings: [LexOrdering; 2],
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PointInTimeJoinExec {
    /// A join; both children are asked for their columns by name.
    ///
    /// # Errors
    /// When a column is missing in either child.
    pub fn try_new(
        entities: Arc<dyn ExecutionPlan>,
        features: Arc<dyn ExecutionPlan>,
        spec: Arc<JoinSpec>,
    ) -> Result<Self> {
        let keys: Vec<String> = spec.layout.keys.keys().cloned().collect();
        let by_time: Vec<String> = keys.iter().chain([&spec.time]).cloned().collect();
        Ok(Self {
            keys: [
                physical_columns(&entities.schema(), &keys)?,
                physical_columns(&features.schema(), &spec.layout.key_columns())?,
            ],
            orderings: [
                ordering(&entities.schema(), &by_time)?,
                spec.layout.ordering(&features.schema())?,
            ],
            properties: Arc::new(extended(&entities, spec.output_fields()?)?),
            metrics: ExecutionPlanMetricsSet::new(),
            entities,
            features,
            spec,
        })
    }
}

impl DisplayAs for PointInTimeJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PointInTimeJoinExec: {}", self.spec)
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
        vec![&self.entities, &self.features]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let by_key = self.keys.iter().cloned().map(Distribution::KeyPartitioned);
        InputDistributionRequirements::co_partitioned(by_key.collect())
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.orderings.iter().cloned().map(|ordering| Some(ordering.into())).collect()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true, false]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(self.keys.iter().flatten(), visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 2]>::try_from(children) {
            Ok([entities, features]) => {
                Ok(Arc::new(Self::try_new(entities, features, Arc::clone(&self.spec))?))
            }
            Err(children) => {
                internal_err!("PointInTimeJoinExec has two children, not {}", children.len())
            }
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

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let consumer = MemoryConsumer::new(format!("PointInTimeJoinExec[{partition}]"));
        let join = Join {
            merge: Merge::new(Arc::clone(&self.spec), Arc::clone(&schema))?,
            reservation: consumer.register(context.memory_pool()),
            metrics: JoinMetrics::new(&self.metrics, partition),
            entities: self.entities.execute(partition, Arc::clone(&context))?,
            features: self.features.execute(partition, context)?,
        };
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
        vec![ChildStats::At(partition), ChildStats::Skip]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        widened(inputs, &self.schema())
    }
}

/// The join of one partition at work.
struct Join {
    merge: Merge,
    entities: SendableRecordBatchStream,
    features: SendableRecordBatchStream,
    reservation: MemoryReservation,
    metrics: JoinMetrics,
}

struct JoinMetrics {
    baseline: BaselineMetrics,
    matched: Count,
    expired: Count,
    held: Gauge,
}

impl JoinMetrics {
    fn new(metrics: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let counter = |name: &'static str| MetricBuilder::new(metrics).counter(name, partition);
        Self {
            baseline: BaselineMetrics::new(metrics, partition),
            matched: counter("matched_rows"),
            expired: counter("expired_rows"),
            held: MetricBuilder::new(metrics).gauge("peak_held_bytes", partition),
        }
    }
}

impl Join {
    /// The next batch, and the join that goes on after it.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        loop {
            let timer = self.metrics.baseline.elapsed_compute().timer();
            let step = self.merge.step()?;
            timer.done();
            match step {
                Step::Entities => {
                    let batch = self.entities.next().await.transpose()?;
                    self.merge.push_entities(batch)?;
                }
                Step::Features => {
                    let batch = self.features.next().await.transpose()?;
                    self.merge.push_features(batch)?;
                    self.reservation.try_resize(self.merge.held_bytes())?;
                    self.metrics.held.set_max(self.merge.held_bytes());
                }
                Step::Output(batch) => {
                    return Ok(Some((batch.record_output(&self.metrics.baseline), self)));
                }
                Step::Done => {
                    self.metrics.matched.add(self.merge.counts().matched);
                    self.metrics.expired.add(self.merge.counts().expired);
                    return Ok(None);
                }
            }
        }
    }
}
