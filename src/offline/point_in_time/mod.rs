//! The point-in-time join: to every entity row, what was known of the entity at the row's time.
//!
//! The entity rows are indexed by key and time ([`index`]). Feature rows come in any order, from as
//! many partitions as their source has, and each finds the entity row that sees it first
//! ([`scan`]), where the newest wins ([`winners`]). Entity rows never move: they come out as they
//! came in. Where they and what they match do not fit into memory, [`join`] takes them part by
//! part, and the feature rows wait on the disk.

mod exec;
mod index;
mod join;
mod keys;
mod node;
#[cfg(test)]
mod oracle;
mod scan;
mod winners;

use std::{collections::BTreeSet, fmt, sync::Arc};

use arrow::datatypes::Field as ArrowField;
use datafusion::{
    common::{DataFusionError, internal_err},
    dataframe::DataFrame,
    logical_expr::{Extension, LogicalPlan, SortExpr, ident},
};

pub(super) use exec::PointInTimeJoinExec;
pub(super) use node::PointInTimeJoin;

use super::{
    ROW_NUMBER,
    errors::from_datafusion,
    feature_rows::{EVENT, Layout},
};
use crate::{
    definition::Visible,
    error::{Error, Result},
    time::{Span, Timestamp},
};

/// What a point-in-time join is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinSpec {
    /// The columns of the feature rows; the entity rows have columns of the join keys' names and
    /// types.
    pub layout: Arc<Layout>,
    /// The column with the time of an entity row.
    pub time: String,
    /// How old a feature row may be at that time, its bounds included; without it, any age.
    pub ttl: Option<Span>,
    /// From when on a feature row can be seen.
    pub visible: Visible,
    /// The columns of the content that come out, in order, each with the name it gets.
    pub outputs: Vec<(String, String)>,
    /// The name of a further column with the event time of the matched row, if it is wanted.
    pub matched_event: Option<String>,
}

/// One view of a join: its rows, and what is done with them.
#[derive(Debug, Clone)]
pub struct ViewJoin {
    /// The feature rows, with the columns of the layout.
    pub rows: DataFrame,
    /// What the join does.
    pub spec: JoinSpec,
}

impl JoinSpec {
    /// The least event time of a row that is not too old at `moment`.
    fn oldest(&self, moment: i64) -> i64 {
        self.ttl.map_or(i64::MIN, |ttl| Timestamp(moment).saturating_sub(ttl).0)
    }

    /// What comes out of a feature row: the column and the name it gets.
    fn outputs(&self) -> impl Iterator<Item = (&str, &str)> {
        let features = self.outputs.iter().map(|(column, name)| (column.as_str(), name.as_str()));
        features.chain(self.matched_event.iter().map(|name| (EVENT, name.as_str())))
    }

    /// What comes out of a feature row, as indices of the layout's columns.
    fn output_columns(&self) -> Result<Vec<usize>, DataFusionError> {
        let columns = self.layout.columns();
        let index = |(output, _): (&str, &str)| match columns
            .iter()
            .position(|column| column.name == output)
        {
            Some(index) => Ok(index),
            None => internal_err!("{output} is not among the content of the feature rows"),
        };
        self.outputs().map(index).collect()
    }

    /// What comes out of a feature row, as Arrow fields.
    fn output_fields(&self) -> Result<Vec<ArrowField>, DataFusionError> {
        let columns = self.layout.columns();
        let indices = self.output_columns()?.into_iter();
        let named = indices
            .zip(self.outputs())
            .map(|(index, (_, name))| columns[index].to_arrow().with_name(name));
        Ok(named.collect())
    }
}

/// For people, in plans: `keys=[user_id] content=[amount] time=at ttl=30d visible=event
/// outputs=[amount]`.
impl fmt::Display for JoinSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} time={}", self.layout, self.time)?;
        if let Some(ttl) = self.ttl {
            write!(f, " ttl={ttl}")?;
        }
        let visible = match self.visible {
            Visible::Event => "event",
            Visible::Created => "created",
        };
        let outputs: Vec<&str> = self.outputs().map(|(_, name)| name).collect();
        write!(f, " visible={visible} outputs=[{}]", outputs.join(", "))
    }
}

/// What a join does with each of its views, in plans.
fn write_views(views: &[Arc<JoinSpec>], f: &mut fmt::Formatter) -> fmt::Result {
    let views: Vec<String> = views.iter().map(ToString::to_string).collect();
    write!(f, "{}", views.join("; "))
}

/// The entity rows with the features that each of the views gives them: all columns of the entity
/// rows, then the outputs of the views in their order. Every row comes out once; [`in_order`] says
/// that they come in the order of the entity dataframe.
///
/// A view's features are null in a row whose entity has no feature row that can be seen at the
/// row's time, or none young enough, and in a row with a null join key.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when an output has the name of another column.
pub fn join_views(
    entities: DataFrame,
    views: impl IntoIterator<Item = ViewJoin>,
) -> Result<DataFrame> {
    let (mut features, mut specs) = (Vec::new(), Vec::new());
    let fields = entities.schema().fields().iter();
    let mut taken: BTreeSet<String> = fields.map(|field| field.name().clone()).collect();
    for ViewJoin { rows, spec } in views {
        if let Some((_, name)) = spec.outputs().find(|(_, name)| !taken.insert((*name).to_owned()))
        {
            return Err(Error::invalid(format!(
                "two columns of the result have the name \"{name}\""
            ))
            .with_hint(
                "take the column out of the entity dataframe, or ask for full feature names",
            ));
        }
        features.push(rows.into_parts().1);
        specs.push(Arc::new(spec));
    }
    if specs.is_empty() {
        return Ok(entities);
    }
    let (state, entities) = entities.into_parts();
    let node = PointInTimeJoin::try_new(entities, features, specs).map_err(from_datafusion)?;
    Ok(DataFrame::new(state, LogicalPlan::Extension(Extension { node: Arc::new(node) })))
}

/// The rows in the order of the entity dataframe, without their numbers. Nothing is sorted where
/// they are in order already, as behind [`join_views`].
///
/// # Errors
/// [`crate::error::Kind::Internal`] when the rows are not numbered.
pub fn in_order(rows: DataFrame) -> Result<DataFrame> {
    let by_number = SortExpr::new(ident(ROW_NUMBER), true, true);
    let sorted = rows.sort(vec![by_number]).map_err(from_datafusion)?;
    sorted.drop_columns(&[ROW_NUMBER]).map_err(from_datafusion)
}
