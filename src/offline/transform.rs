//! Transforms in a plan: batches go through a function, which adds its outputs.

use std::{cmp::Ordering, fmt, hash, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{Field as ArrowField, Schema, SchemaRef},
};
use datafusion::{
    common::{
        DFSchema, DFSchemaRef, Result, Statistics, internal_err, plan_err, runtime::SpawnedTask,
        tree_node::TreeNodeRecursion,
    },
    dataframe::DataFrame,
    error::DataFusionError,
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore},
    physical_expr::PhysicalExpr,
    physical_plan::{
        ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        ReplaceChildrenOptions, StatisticsArgs,
        execution_plan::CardinalityEffect,
        metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, RecordOutput},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::StreamExt;

use super::{
    errors::{external, from_datafusion},
    operator::{extended, indices, take_columns, widened},
};
use crate::{
    error::{Error, Result as OurResult},
    value::Field,
};

/// A function over batches: what [`crate::evaluate`] puts into a plan.
pub trait BatchFunction: fmt::Debug + Send + Sync {
    /// What plans call it.
    fn name(&self) -> &str;

    /// The columns it reads, by name, in the order in which it wants them.
    fn inputs(&self) -> &[String];

    /// The columns it adds.
    fn outputs(&self) -> &[Field];

    /// The outputs for a batch of the inputs: as many columns as [`BatchFunction::outputs`], of
    /// their types, and as many rows as the batch. It may take its time: it runs where DataFusion
    /// computes.
    ///
    /// # Errors
    /// Whatever keeps it from giving a value; the plan fails with the same error.
    fn run(&self, batch: &RecordBatch) -> OurResult<Vec<ArrayRef>>;
}

/// The rows with the outputs of the function added; order and number of rows stay. The function
/// sees one batch at a time and is called once for each.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when a column it reads is missing, or one it adds is there
/// already.
pub fn transform(rows: DataFrame, function: Arc<dyn BatchFunction>) -> OurResult<DataFrame> {
    let name = function.name().to_owned();
    let (state, input) = rows.into_parts();
    let node = Transform::try_new(input, function);
    let node =
        node.map_err(|error| from_datafusion(error).context(format!("{name} cannot be applied")))?;
    Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

/// The logical node.
#[derive(Debug, Clone)]
pub(super) struct Transform {
    input: LogicalPlan,
    function: Arc<dyn BatchFunction>,
    schema: DFSchemaRef,
}

impl Transform {
    fn try_new(input: LogicalPlan, function: Arc<dyn BatchFunction>) -> Result<Self> {
        for name in function.inputs() {
            if !input.schema().has_column_with_unqualified_name(name) {
                return plan_err!("no column {name}");
            }
        }
        let outputs =
            Schema::new(function.outputs().iter().map(Field::to_arrow).collect::<Vec<_>>());
        let schema = Arc::new(input.schema().join(&DFSchema::try_from(outputs)?)?);
        Ok(Self { input, function, schema })
    }

    pub(super) fn function(&self) -> &Arc<dyn BatchFunction> {
        &self.function
    }

    fn parts(&self) -> (&LogicalPlan, *const ()) {
        (&self.input, Arc::as_ptr(&self.function).cast())
    }
}

impl UserDefinedLogicalNodeCore for Transform {
    fn name(&self) -> &str {
        "Transform"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Transform: ")?;
        describe(self.function.as_ref(), f)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Self::try_new(input, Arc::clone(&self.function)),
            Err(inputs) => internal_err!("Transform has one input, not {}", inputs.len()),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.input.schema().fields().len();
        let mut columns = indices(self.input.schema(), self.function.inputs())?;
        columns.extend(output_columns.iter().filter(|column| **column < width));
        Some(vec![columns])
    }
}

/// `name(inputs) -> (outputs)`
fn describe(function: &dyn BatchFunction, f: &mut fmt::Formatter) -> fmt::Result {
    let outputs: Vec<&str> = function.outputs().iter().map(|field| field.name.as_str()).collect();
    write!(f, "{}({}) -> ({})", function.name(), function.inputs().join(", "), outputs.join(", "))
}

/// Equal where the function is the same one, not one that is like it.
impl PartialEq for Transform {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Transform {}

impl hash::Hash for Transform {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

/// Equal or not comparable: there is no order among transforms.
impl PartialOrd for Transform {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

/// The physical operator: one call of the function for every batch.
#[derive(Debug)]
pub struct TransformExec {
    input: Arc<dyn ExecutionPlan>,
    function: Arc<dyn BatchFunction>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TransformExec {
    pub(super) fn try_new(
        input: Arc<dyn ExecutionPlan>,
        function: Arc<dyn BatchFunction>,
    ) -> Result<Self> {
        let outputs = function.outputs().iter().map(Field::to_arrow).collect();
        Ok(Self {
            properties: Arc::new(extended(&input, outputs)?),
            metrics: ExecutionPlanMetricsSet::new(),
            input,
            function,
        })
    }
}

impl DisplayAs for TransformExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "TransformExec: ")?;
        describe(self.function.as_ref(), f)
    }
}

impl ExecutionPlan for TransformExec {
    fn name(&self) -> &str {
        "TransformExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// The batches of one partition are computed side by side already, and stay in order.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
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
        match <[_; 1]>::try_from(children) {
            Ok([input]) => Ok(Arc::new(Self::try_new(input, Arc::clone(&self.function))?)),
            Err(children) => internal_err!("TransformExec has one child, not {}", children.len()),
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
        let metrics = BaselineMetrics::new(&self.metrics, partition);
        let (function, output) = (Arc::clone(&self.function), Arc::clone(&schema));
        let at_once = context.session_config().target_partitions();
        let tasks = self.input.execute(partition, context)?.map(move |batch| {
            let (function, output) = (Arc::clone(&function), Arc::clone(&output));
            let metrics = metrics.clone();
            let task = SpawnedTask::spawn(async move {
                let _timer = metrics.elapsed_compute().timer();
                let batch = apply(function.as_ref(), &batch?, &output)?;
                Ok(batch.record_output(&metrics))
            });
            task.join()
        });
        let batches = tasks
            .buffered(at_once)
            .map(|batch| batch.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        CardinalityEffect::Equal
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        widened(inputs, &self.schema())
    }
}

/// The batch with the outputs of the function.
fn apply(
    function: &dyn BatchFunction,
    batch: &RecordBatch,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let inputs = take_columns(batch, function.inputs())?;
    let field = |(name, column): (&String, &ArrayRef)| {
        ArrowField::new(name, column.data_type().clone(), true)
    };
    let fields: Vec<_> = function.inputs().iter().zip(&inputs).map(field).collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let inputs = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), inputs, &rows)?;
    let outputs = function.run(&inputs).map_err(external)?;
    check(function, &outputs, batch.num_rows()).map_err(external)?;
    let columns = batch.columns().iter().cloned().chain(outputs).collect();
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn check(function: &dyn BatchFunction, outputs: &[ArrayRef], rows: usize) -> OurResult<()> {
    let declared = function.outputs();
    let fits = |(field, column): (&Field, &ArrayRef)| {
        *column.data_type() == field.data_type.to_arrow() && column.len() == rows
    };
    match declared.len() == outputs.len() && declared.iter().zip(outputs).all(fits) {
        true => Ok(()),
        false => {
            Err(Error::internal(format!("{} gave other columns than it declares", function.name())))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use arrow::{
        array::{AsArray, Float64Array, Int64Array, UInt64Array},
        datatypes::{Int64Type, UInt64Type},
    };
    use datafusion::logical_expr::ident;

    use super::*;
    use crate::{
        error::Kind,
        offline::{
            ROW_NUMBER, Resources, in_order,
            testing::{collect, table},
        },
        value::DataType,
    };

    /// `scaled = factor * x`, or an error where `x` is 13.
    #[derive(Debug)]
    struct Scale {
        factor: i64,
        inputs: Vec<String>,
        outputs: Vec<Field>,
        calls: AtomicUsize,
    }

    impl Scale {
        fn new(factor: i64, output: &str, data_type: DataType) -> Self {
            let output = Field {
                name: output.into(),
                data_type,
                nullable: true,
                documentation: String::new(),
            };
            Self {
                factor,
                inputs: vec!["x".into()],
                outputs: vec![output],
                calls: AtomicUsize::new(0),
            }
        }
    }

    impl BatchFunction for Scale {
        fn name(&self) -> &str {
            "scale"
        }

        fn inputs(&self) -> &[String] {
            &self.inputs
        }

        fn outputs(&self) -> &[Field] {
            &self.outputs
        }

        fn run(&self, batch: &RecordBatch) -> OurResult<Vec<ArrayRef>> {
            self.calls.fetch_add(1, Relaxed);
            assert_eq!(batch.num_columns(), 1);
            let x = batch.column(0).as_primitive::<Int64Type>();
            if x.iter().any(|x| x == Some(13)) {
                return Err(Error::transform("trap"));
            }
            Ok(vec![Arc::new(x.unary::<_, Int64Type>(|x| x * self.factor))])
        }
    }

    fn numbers(rows: i64) -> RecordBatch {
        let columns: [(&str, ArrayRef); 3] = [
            ("unused", Arc::new((0..rows).map(|x| Some(x as f64)).collect::<Float64Array>())),
            ("x", Arc::new((0..rows).map(|x| Some(x + 100)).collect::<Int64Array>())),
            (ROW_NUMBER, Arc::new((0..rows as u64).collect::<UInt64Array>())),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
            .unwrap()
    }

    fn resources() -> Resources {
        Resources { partitions: 3, batch_size: 10, ..Resources::default() }
    }

    #[test]
    fn outputs_are_added_batch_by_batch() {
        let function = Arc::new(Scale::new(2, "scaled", DataType::Int64));
        let added = transform(table(&numbers(95), &resources()), function.clone()).unwrap();
        let again = transform(added, Arc::new(Scale::new(3, "again", DataType::Int64))).unwrap();
        let rows = collect(in_order(again).unwrap());
        assert_eq!(function.calls.load(Relaxed), 10, "one call per batch");
        let names: Vec<_> =
            rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["unused", "x", "scaled", "again"]);
        for (column, factor) in [(1, 1), (2, 2), (3, 3)] {
            let values = rows.column(column).as_primitive::<Int64Type>();
            assert!((0..95).all(|row| values.value(row) == (row as i64 + 100) * factor));
        }
    }

    #[test]
    fn columns_nobody_wants_are_not_carried_along() {
        let added = transform(
            table(&numbers(9), &resources()),
            Arc::new(Scale::new(2, "scaled", DataType::Int64)),
        );
        let rows =
            collect(added.unwrap().select(vec![ident(ROW_NUMBER), ident("scaled")]).unwrap());
        let (row, scaled) = (
            rows.column(0).as_primitive::<UInt64Type>(),
            rows.column(1).as_primitive::<Int64Type>(),
        );
        assert!((0..9).all(|i| scaled.value(i) == (row.value(i) as i64 + 100) * 2));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let apply = |factor, output, data_type| {
            transform(
                table(&numbers(9), &resources()),
                Arc::new(Scale::new(factor, output, data_type)),
            )
        };
        let taken = apply(2, "unused", DataType::Int64).unwrap_err();
        assert!(taken.message().starts_with("scale cannot be applied"), "{taken}");
        let run = |frame: DataFrame| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            from_datafusion(runtime.block_on(frame.collect()).unwrap_err())
        };
        let other = run(apply(2, "scaled", DataType::Utf8).unwrap());
        assert_eq!(other, Error::internal("scale gave other columns than it declares"));
        let trap = table(&numbers(9), &resources())
            .select(vec![(ident("x") - datafusion::logical_expr::lit(90_i64)).alias("x")]);
        let trap =
            transform(trap.unwrap(), Arc::new(Scale::new(2, "scaled", DataType::Int64))).unwrap();
        assert_eq!(run(trap).kind(), Kind::Transform);
    }
}
