//! The latest row of every entity: what materializing writes to the online store.

mod exec;
mod node;
#[cfg(test)]
mod oracle;

use std::sync::Arc;

use datafusion::{
    common::ScalarValue,
    dataframe::DataFrame,
    logical_expr::{Expr, Extension, LogicalPlan, ident, lit},
};

pub(super) use exec::LatestExec;
pub(super) use node::Latest;

use super::{
    errors::from_datafusion,
    feature_rows::{EVENT, Layout},
};
use crate::{
    error::Result,
    time::Timestamp,
    value::Field,
};

/// The column with the hash of a row's content, as [`crate::value::RowEncoder::hash`]; an unsigned
/// 64-bit integer.
pub const HASH: &str = "__hash";

/// Of feature rows with the columns of `layout`, the newest of every entity, among those whose
/// event time is neither before `from` nor after `to`: the one that a point-in-time join would
/// find. The columns are those of the layout, then [`HASH`]; the rows come in no particular order.
/// Rows with a null join key are left out.
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the rows are not of the layout.
pub fn latest(
    rows: DataFrame,
    layout: Layout,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
) -> Result<DataFrame> {
    let bound = |moment: Timestamp| lit(ScalarValue::TimestampMicrosecond(Some(moment.0), Some("UTC".into())));
    let from = from.map(|from| ident(EVENT).gt_eq(bound(from)));
    let to = to.map(|to| ident(EVENT).lt_eq(bound(to)));
    let within = from.into_iter().chain(to).reduce(Expr::and);
    let rows = match within {
        Some(within) => rows.filter(within).map_err(from_datafusion)?,
        None => rows,
    };
    let (state, input) = rows.into_parts();
    let node = Arc::new(Latest::try_new(input, Arc::new(layout)).map_err(from_datafusion)?);
    Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node })))
}

/// The columns that come out.
fn output_fields(layout: &Layout) -> Vec<arrow::datatypes::Field> {
    let hash = arrow::datatypes::Field::new(HASH, arrow::datatypes::DataType::UInt64, false);
    layout.columns().iter().map(Field::to_arrow).chain([hash]).collect()
}
