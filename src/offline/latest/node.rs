//! The logical node of the latest rows.

use std::{cmp::Ordering, fmt, hash, sync::Arc};

use arrow::datatypes::Schema;
use datafusion::{
    common::{DFSchema, DFSchemaRef, Result, internal_err},
    logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore},
};

use super::output_fields;
use crate::offline::{feature_rows::Layout, operator::indices};

/// The latest row of every entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    input: LogicalPlan,
    layout: Arc<Layout>,
    schema: DFSchemaRef,
}

impl Latest {
    /// The latest of the rows of `input`, which is asked for its columns by name.
    ///
    /// # Errors
    /// When a column is missing.
    pub fn try_new(input: LogicalPlan, layout: Arc<Layout>) -> Result<Self> {
        if indices(input.schema(), layout.columns().iter().map(|column| &column.name)).is_none() {
            return internal_err!("the latest of rows that are not of their layout");
        }
        let schema = DFSchema::try_from(Schema::new(output_fields(&layout)))?;
        Ok(Self { input, layout, schema: Arc::new(schema) })
    }

    /// The columns of the input.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }
}

impl UserDefinedLogicalNodeCore for Latest {
    fn name(&self) -> &str {
        "Latest"
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
        write!(f, "Latest: {}", self.layout)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        match <[LogicalPlan; 1]>::try_from(inputs) {
            Ok([input]) => Self::try_new(input, Arc::clone(&self.layout)),
            Err(inputs) => internal_err!("Latest has one input, not {}", inputs.len()),
        }
    }

    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        let columns = self.layout.columns();
        Some(vec![indices(self.input.schema(), columns.iter().map(|column| &column.name))?])
    }
}

impl hash::Hash for Latest {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.input.hash(state);
        self.layout.to_string().hash(state);
    }
}

/// Equal or not comparable: there is no order among plans.
impl PartialOrd for Latest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}
