//! The physical operator of the latest rows.

use std::{fmt, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, UInt64Array},
    datatypes::{Schema, SchemaRef},
};
use datafusion::{
    common::{Result, internal_err, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{
        EquivalenceProperties, LexOrdering, OrderingRequirements, Partitioning, PhysicalExpr,
    },
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, Distribution, ExecutionPlan,
        ExecutionPlanProperties, InputDistributionRequirements, PlanProperties,
        ReplaceChildrenOptions, apply_expression_roots,
        execution_plan::{CardinalityEffect, EmissionType},
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, stream};

use super::output_fields;
use crate::offline::{
    feature_rows::{FeatureBatch, Held, KeyConverter, Layout, Position, is_newer},
    operator::physical_columns,
};

/// The latest row of every entity, of rows partitioned by key and sorted by key and time.
#[derive(Debug)]
pub struct LatestExec {
    input: Arc<dyn ExecutionPlan>,
    layout: Arc<Layout>,
    keys: Vec<Arc<dyn PhysicalExpr>>,
    ordering: LexOrdering,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl LatestExec {
    /// The latest of the rows of `input`, which is asked for its columns by name.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn try_new(input: Arc<dyn ExecutionPlan>, layout: Arc<Layout>) -> Result<Self> {
        let schema = Arc::new(Schema::new(output_fields(&layout)));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            input.boundedness(),
        );
        Ok(Self {
            keys: physical_columns(&input.schema(), &layout.key_columns())?,
            ordering: layout.ordering(&input.schema())?,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
            input,
            layout,
        })
    }
}

impl DisplayAs for LatestExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "LatestExec: {}", self.layout)
    }
}

impl ExecutionPlan for LatestExec {
    fn name(&self) -> &str {
        "LatestExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        InputDistributionRequirements::new(vec![Distribution::KeyPartitioned(self.keys.clone())])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![Some(self.ordering.clone().into())]
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        apply_expression_roots(&self.keys, visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::try_new(input, Arc::clone(&self.layout))?)),
            Err(children) => internal_err!("LatestExec has one child, not {}", children.len()),
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
        let consumer = MemoryConsumer::new(format!("LatestExec[{partition}]"));
        let scan = Scan {
            groups: Groups::new(Arc::clone(&self.layout), Arc::clone(&schema))?,
            reservation: consumer.register(context.memory_pool()),
            metrics: BaselineMetrics::new(&self.metrics, partition),
            input: self.input.execute(partition, context)?,
            ended: false,
        };
        let batches = stream::try_unfold(scan, Scan::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::LowerEqual
    }
}

/// One partition at work.
struct Scan {
    groups: Groups,
    input: SendableRecordBatchStream,
    ended: bool,
    reservation: MemoryReservation,
    metrics: BaselineMetrics,
}

impl Scan {
    /// The next batch, and the scan that goes on after it.
    async fn next(mut self) -> Result<Option<(RecordBatch, Self)>> {
        while !self.ended {
            let batch = self.input.next().await.transpose()?;
            let timer = self.metrics.elapsed_compute().timer();
            let latest = match batch {
                Some(batch) => self.groups.push(&batch)?,
                None => {
                    self.ended = true;
                    self.groups.finish()?
                }
            };
            self.reservation.try_resize(self.groups.held.bytes())?;
            timer.done();
            if latest.num_rows() > 0 {
                return Ok(Some((latest.record_output(&self.metrics), self)));
            }
        }
        Ok(None)
    }
}

/// Groups of rows with one key each, one after the other.
struct Groups {
    layout: Arc<Layout>,
    schema: SchemaRef,
    converter: KeyConverter,
    held: Held,
    key: Vec<u8>,
    /// The newest row of the group that goes on.
    newest: Option<Position>,
}

impl Groups {
    fn new(layout: Arc<Layout>, schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            converter: layout.key_converter()?,
            held: Held::new(Arc::clone(&layout)),
            key: Vec::new(),
            newest: None,
            layout,
            schema,
        })
    }

    /// Takes rows; gives the latest of the groups that ended.
    fn push(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let slot = self.held.insert(FeatureBatch::new(batch, &self.layout, &self.converter)?);
        let mut ended = Vec::new();
        if let Some(batch) = self.held.get(slot) {
            for row in (0..batch.len()).filter(|row| !batch.keys.is_null(*row)) {
                let key = batch.keys.get(row);
                if self.key != key {
                    ended.extend(self.newest.take());
                    self.key.clear();
                    self.key.extend_from_slice(key);
                }
                let at = Position { slot, row };
                if self.newest.map_or(Ok(true), |newest| self.is_newer(at, newest))? {
                    self.newest = Some(at);
                }
            }
        }
        self.give(&ended)
    }

    fn is_newer(&self, one: Position, other: Position) -> Result<bool> {
        let (Some(batch), Some(others)) = (self.held.get(one.slot), self.held.get(other.slot))
        else {
            return internal_err!("a row of a batch that was let go");
        };
        is_newer(
            (batch.event(one.row), || batch.created(one.row)),
            (others.event(other.row), || others.created(other.row)),
            || {
                let mut hashes = self.held.hashes();
                Ok((hashes.of(one)?, hashes.of(other)?))
            },
        )
    }

    /// Gives the latest of the last group.
    fn finish(&mut self) -> Result<RecordBatch> {
        let last = self.newest.take();
        self.give(last.as_slice())
    }

    /// The rows at `positions`; lets go of all batches but that of the group that goes on.
    fn give(&mut self, positions: &[Position]) -> Result<RecordBatch> {
        let mut columns = self.held.gather(positions)?;
        let mut hashes = self.held.hashes();
        let hashes = positions.iter().map(|at| hashes.of(*at)).collect::<Result<Vec<_>>>()?;
        columns.push(Arc::new(UInt64Array::from(hashes)) as ArrayRef);
        let needed = self.newest.map(|newest| newest.slot);
        self.held.release(|slot| Some(slot) == needed);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
