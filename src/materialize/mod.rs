//! Rows into the online store: the newest of every entity out of a source, or rows that a caller
//! pushes. Both are made features by the same function and written by the same writer.
//!
//! A run is a [`Plan`] (which files, and why), carried out group by group by a [`Materializer`]; a
//! [`Ledger`] says what was read, so that a run can be cut off anywhere and the next one goes on.

mod ledger;
mod plan;
#[cfg(test)]
mod plan_tests;
mod prune;
mod push;
mod run;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

pub use ledger::{Ledger, Ledgers, ReadFile};
pub use plan::{Plan, PlannedFile, Why};
pub use prune::{Gone, Leftover, delete_leftover, leftovers};
pub use push::{Pushed, Target, push};
pub use run::{CHECKPOINT, Materializer, Progress, Report};
pub use writer::{EncodedRows, ViewWriter, Written};

use crate::{
    definition::FeatureView,
    error::{Error, Result, did_you_mean},
    evaluate::InForce,
    time::Timestamp,
};

/// The name of the online store in which views live that name none.
pub const DEFAULT_STORE: &str = "default";

/// The event times to read, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// From a moment (or from the beginning) to another, whatever was read before.
    Between(Option<Timestamp>, Timestamp),
    /// Up to a moment, what was not read before: files that are new or changed, whole, so that rows
    /// that come late, or are corrected, are not lost; of the others, later rows.
    Incremental(Timestamp),
}

impl Window {
    fn is_incremental(self) -> bool {
        matches!(self, Self::Incremental(_))
    }

    fn to(self) -> Timestamp {
        match self {
            Self::Between(_, to) | Self::Incremental(to) => to,
        }
    }

    /// Refuses windows that no run reads.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] for one that ends after `now` or before it starts.
    pub fn check(self, now: Timestamp) -> Result<()> {
        let to = self.to();
        if to > now {
            return Err(Error::invalid(format!(
                "nothing materialized: the end {to} is after now, {now}"
            ))
            .with_hint("an end in the future would hide the rows that come until then"));
        }
        match self {
            Self::Between(Some(from), _) if from > to => Err(Error::invalid(format!(
                "nothing materialized: the start {from} is after the end {to}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The views that can be materialized: those named, or every one that is online.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for a name that is no feature view,
/// [`crate::error::Kind::Invalid`] for one that is not online, or is computed on demand.
pub fn views<'a>(
    in_force: &'a InForce,
    named: &[String],
) -> Result<BTreeMap<&'a str, &'a FeatureView>> {
    let all = &in_force.state.definitions.feature_views;
    if named.is_empty() {
        let online = all.iter().filter(|(_, view)| view.online);
        return Ok(online.map(|(name, view)| (name.as_str(), view)).collect());
    }
    let find = |name: &String| match all.get_key_value(name) {
        Some((name, view)) if view.online => Ok((name.as_str(), view)),
        Some(_) => Err(Error::invalid(format!("Feature view {name} is not online"))
            .with_hint("set online = true in its definition and apply")),
        None if in_force.state.definitions.on_demand_feature_views.contains_key(name) => {
            Err(Error::invalid(format!("On-demand feature view {name} is never materialized"))
                .with_hint("it is computed when its features are asked for"))
        }
        None => Err(Error::not_found(format!("Feature view {name} does not exist"))
            .with_hint(did_you_mean(name, all.keys().map(String::as_str)))),
    };
    named.iter().map(find).collect()
}
