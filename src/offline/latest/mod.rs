//! The latest row of every entity: what materializing writes to the online store.

mod exec;
mod node;
#[cfg(test)]
mod oracle;

use std::sync::Arc;

use arrow::datatypes::{DataType as ArrowType, Field as ArrowField};
use datafusion::{
    dataframe::DataFrame,
    logical_expr::{Extension, LogicalPlan},
};

pub(super) use exec::LatestExec;
pub(super) use node::Latest;

use super::{errors::from_datafusion, feature_rows::Layout, period::Period};
use crate::{error::Result, value::Field};

/// The column with the hash of a row's content, as [`crate::value::RowEncoder::hash`]; an unsigned
/// 64-bit integer.
pub const HASH: &str = "__hash";

/// Of feature rows with the columns of `layout`, the newest of every entity among those whose
/// event time is in `period`: the one that a point-in-time join would find. The columns are those
/// of the layout, then [`HASH`]; the rows come in no particular order. Rows with a null join key
/// are left out.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the rows are not of the layout.
pub fn latest(rows: DataFrame, layout: Layout, period: Period) -> Result<DataFrame> {
    let rows = match period.contains_event() {
        Some(contained) => rows.filter(contained).map_err(from_datafusion)?,
        None => rows,
    };
    let (state, input) = rows.into_parts();
    let node = Arc::new(Latest::try_new(input, Arc::new(layout)).map_err(from_datafusion)?);
    Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node })))
}

/// The columns that come out.
fn output_fields(layout: &Layout) -> Vec<ArrowField> {
    let hash = ArrowField::new(HASH, ArrowType::UInt64, false);
    layout.columns().iter().map(Field::to_arrow).chain([hash]).collect()
}
