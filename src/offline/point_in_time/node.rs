//! The logical node of the point-in-time join.

use std::{cmp::Ordering, fmt, hash, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::{
    common::{DFSchema, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

use super::JoinSpec;
use crate::offline::{ROW_NUMBER, operator::indices};

/// A point-in-time join of entity rows with the feature rows of views: the columns of the entity
/// rows, then the outputs of the views in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PointInTimeJoin {
    entities: LogicalPlan,
    features: Vec<LogicalPlan>,
    views: Vec<Arc<JoinSpec>>,
    schema: DFSchemaRef,
}

impl PointInTimeJoin {
    /// A join; all inputs are asked for their columns by name.
    ///
    /// # Errors
    /// When a column is missing in one, two would have one name, or there is not one input for each
    /// view.
    pub fn try_new(
        entities: LogicalPlan,
        features: Vec<LogicalPlan>,
        views: Vec<Arc<JoinSpec>>,
    ) -> Result<Self> {
        if features.len() != views.len() {
            return internal_err!("{} inputs for {} views", features.len(), views.len());
        }
        let mut schema = entities.schema().as_ref().clone();
        for view in &views {
            schema = schema.join(&DFSchema::try_from(Schema::new(view.output_fields()?))?)?;
        }
        Ok(Self { entities, features, views, schema: Arc::new(schema) })
    }

    /// What the join does with each view.
    pub fn views(&self) -> &[Arc<JoinSpec>] {
        &self.views
    }
}

impl UserDefinedLogicalNodeCore for PointInTimeJoin {
    fn name(&self) -> &str {
        "PointInTimeJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        [&self.entities].into_iter().chain(&self.features).collect()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "PointInTimeJoin: ")?;
        super::write_views(&self.views, f)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        if inputs.is_empty() {
            return internal_err!("PointInTimeJoin without entity rows");
        }
        let entities = inputs.remove(0);
        Self::try_new(entities, inputs, self.views.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.entities.schema().fields().len();
        let row_number = ROW_NUMBER.to_owned();
        let own = self.views.iter().flat_map(|view| view.layout.keys.keys().chain([&view.time]));
        let mut entities = indices(self.entities.schema(), own.chain([&row_number]))?;
        entities.extend(output_columns.iter().filter(|column| **column < width));
        let features = self.views.iter().zip(&self.features).map(|(view, rows)| {
            indices(rows.schema(), view.layout.columns().iter().map(|column| &column.name))
        });
        [Some(entities)].into_iter().chain(features).collect()
    }
}

impl hash::Hash for PointInTimeJoin {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.entities.hash(state);
        self.features.hash(state);
        self.views.iter().for_each(|view| view.to_string().hash(state));
    }
}

/// Equal or not comparable: there is no order among joins.
impl PartialOrd for PointInTimeJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
