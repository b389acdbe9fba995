//! What there is, who answers for it, and what it is made of: [`list`], [`search`] and [`show`].
//!
//! Read-only and without I/O: everything follows from the [`State`] of one registry snapshot.

mod card;
mod search;
mod show;
mod text;
mod thing;

use serde::Serialize;

pub use card::{
    Card, EntityCard, FeatureCard, FeatureLine, FunctionCard, Making, ServiceCard, Shown,
    SourceCard, Used, ViewCard,
};
pub use search::{Hit, Strength, search};
pub use show::show;

use crate::definition::State;

/// What an entry of the catalog is. The order is that in which entries are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A feature view.
    FeatureView,
    /// An on-demand feature view.
    OnDemandFeatureView,
    /// A feature of a view of either kind.
    Feature,
    /// A feature service.
    FeatureService,
    /// An entity.
    Entity,
    /// A data source.
    Source,
    /// A function of a transform that a view uses.
    Function,
}

impl Kind {
    /// The kind in words: `feature view`.
    pub fn words(self) -> &'static str {
        match self {
            Self::FeatureView => "feature view",
            Self::OnDemandFeatureView => "on-demand feature view",
            Self::Feature => "feature",
            Self::FeatureService => "feature service",
            Self::Entity => "entity",
            Self::Source => "source",
            Self::Function => "function",
        }
    }
}

/// A line of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The name under which [`show`] finds it: `view:feature` for a feature,
    /// `team/name@version#function` for a function.
    pub name: String,
    /// The team; a feature is its view's team's. May be empty.
    pub team: String,
    /// The owner; a feature's is its view's. May be empty.
    pub owner: String,
    /// What it is, in its author's words; may be empty.
    pub description: String,
}

/// Everything but the features, which [`show`] lists view by view; by kind and name.
pub fn list(state: &State) -> Vec<Entry> {
    let mut entries: Vec<Entry> = thing::things(state)
        .iter()
        .filter(|thing| thing.kind != Kind::Feature)
        .map(thing::Thing::entry)
        .collect();
    entries.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    entries
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_everything_but_features_in_order() {
        let listed: Vec<_> =
            list(&testing::state()).into_iter().map(|entry| (entry.kind, entry.name)).collect();
        let expected = [
            (Kind::FeatureView, "basket"),
            (Kind::FeatureView, "purchases"),
            (Kind::OnDemandFeatureView, "user_age"),
            (Kind::FeatureService, "churn"),
            (Kind::Entity, "customer"),
            (Kind::Source, "orders"),
            (Kind::Function, "commerce/basket@1.0.0#basket"),
            (Kind::Function, "commerce/user_age@1.0.0#years_since_registration"),
        ];
        assert_eq!(listed, expected.map(|(kind, name)| (kind, name.to_owned())));
    }

    #[test]
    fn an_empty_state_has_an_empty_catalog() {
        let state = State::default();
        assert_eq!(list(&state), []);
        assert_eq!(search(&state, "age"), []);
        assert!(show(&state, "age", |_| None).is_err());
    }
}
