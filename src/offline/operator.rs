//! What our operators have in common.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::SortOptions,
    datatypes::{Field, Schema},
};
use datafusion::{
    common::{ColumnStatistics, DFSchema, Result, Statistics, internal_err, stats::Precision},
    error::DataFusionError,
    physical_expr::{
        EquivalenceProperties, LexOrdering, PhysicalExpr, PhysicalSortExpr, expressions::Column,
    },
    physical_plan::{
        ExecutionPlan, ExecutionPlanProperties, PlanProperties, execution_plan::EmissionType,
    },
};

/// Keys and times sort ascending, nulls in front, on both sides of a join.
pub(super) const ASCENDING: SortOptions = SortOptions { descending: false, nulls_first: true };

/// The columns of these names, as physical expressions.
pub(super) fn physical_columns(
    schema: &Schema,
    names: &[String],
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let column = |name: &String| {
        let column = Column::new_with_schema(name, schema)?;
        Ok(Arc::new(column) as Arc<dyn PhysicalExpr>)
    };
    names.iter().map(column).collect()
}

/// The indices of the columns of these names; `None` where one is missing.
pub(super) fn indices<'a>(
    schema: &DFSchema,
    names: impl IntoIterator<Item = &'a String>,
) -> Option<Vec<usize>> {
    names.into_iter().map(|name| schema.index_of_column_by_name(None, name)).collect()
}

/// The ascending order by the columns of these names.
pub(super) fn ordering(schema: &Schema, names: &[String]) -> Result<LexOrdering> {
    let columns = physical_columns(schema, names)?.into_iter();
    let ordering = LexOrdering::new(columns.map(|column| PhysicalSortExpr::new(column, ASCENDING)));
    ordering.ok_or_else(|| DataFusionError::Internal("an order by nothing".into()))
}

/// The columns of these names.
pub(super) fn take_columns<'a>(
    batch: &RecordBatch,
    names: impl IntoIterator<Item = &'a String>,
) -> Result<Vec<ArrayRef>> {
    let column = |name: &String| match batch.column_by_name(name) {
        Some(column) => Ok(Arc::clone(column)),
        None => internal_err!("no column {name}"),
    };
    names.into_iter().map(column).collect()
}

/// The properties of an operator that adds columns to the rows of its input: order, partitions and
/// all that is known of the other columns stay.
pub(super) fn extended(
    input: &Arc<dyn ExecutionPlan>,
    added: Vec<Field>,
) -> Result<PlanProperties> {
    let held = input.schema();
    let fields: Vec<_> =
        held.fields().iter().cloned().chain(added.into_iter().map(Arc::new)).collect();
    let schema = Schema::new_with_metadata(fields, held.metadata().clone());
    let known = input.equivalence_properties();
    let mut equivalences = EquivalenceProperties::new(Arc::new(schema));
    equivalences.add_equivalence_group(known.eq_group().clone())?;
    equivalences.add_orderings(known.oeq_class().clone());
    Ok(PlanProperties::new(
        equivalences,
        input.output_partitioning().clone(),
        EmissionType::Incremental,
        input.boundedness(),
    ))
}

/// The statistics of an operator that adds columns to the rows of its first input: as many rows,
/// nothing known of the added columns.
pub(super) fn widened(inputs: &[Arc<Statistics>], schema: &Schema) -> Result<Arc<Statistics>> {
    let Some(input) = inputs.first() else {
        return internal_err!("no statistics of the input");
    };
    let mut statistics = input.as_ref().clone();
    statistics.total_byte_size = Precision::Absent;
    statistics.column_statistics.resize_with(schema.fields().len(), ColumnStatistics::new_unknown);
    Ok(Arc::new(statistics))
}
