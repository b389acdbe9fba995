//! The logical node of the point-in-time join.

use std::{cmp::Ordering, fmt, hash, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::{
    common::{DFSchema, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

use super::JoinSpec;
use crate::offline::operator::indices;

/// A point-in-time join of entity rows and feature rows: the columns of the entity rows, then the
/// outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointInTimeJoin {
    entities: LogicalPlan,
    features: LogicalPlan,
    spec: Arc<JoinSpec>,
    schema: DFSchemaRef,
}

impl PointInTimeJoin {
    /// A join; both sides are asked for their columns by name.
    ///
    /// # Errors
    /// When a column is missing on either side, or two would have one name.
    pub fn try_new(
        entities: LogicalPlan,
        features: LogicalPlan,
        spec: Arc<JoinSpec>,
    ) -> Result<Self> {
        let outputs = spec.output_fields()?;
        let outputs = DFSchema::try_from(Schema::new(outputs))?;
        let schema = Arc::new(entities.schema().join(&outputs)?);
        Ok(Self { entities, features, spec, schema })
    }

    /// What the join does.
    pub fn spec(&self) -> &Arc<JoinSpec> {
        &self.spec
    }
}

impl UserDefinedLogicalNodeCore for PointInTimeJoin {
    fn name(&self) -> &str {
        "PointInTimeJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.entities, &self.features]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PointInTimeJoin: {}", self.spec)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 2]>::try_from(inputs) {
            Ok([entities, features]) => Self::try_new(entities, features, Arc::clone(&self.spec)),
            Err(inputs) => internal_err!("PointInTimeJoin has two inputs, not {}", inputs.len()),
        }
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.entities.schema().fields().len();
        let own = [&self.spec.time].into_iter().chain(self.spec.layout.keys.keys());
        let mut entities = indices(self.entities.schema(), own)?;
        entities.extend(output_columns.iter().filter(|column| **column < width));
        let columns = self.spec.layout.columns();
        let features = indices(self.features.schema(), columns.iter().map(|column| &column.name))?;
        Some(vec![entities, features])
    }
}

impl hash::Hash for PointInTimeJoin {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.entities.hash(state);
        self.features.hash(state);
        self.spec.to_string().hash(state);
    }
}

/// Equal or not comparable: there is no order among joins.
impl PartialOrd for PointInTimeJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
