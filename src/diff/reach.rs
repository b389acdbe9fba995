//! Whom a change of a function reaches: the definitions in force that use it.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    definition::{Input, State},
    digest::Digest,
    name::FunctionName,
};

/// The definitions that a function reaches.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Feature views and on-demand feature views that use it, or a feature of one that does.
    pub views: BTreeSet<String>,
    /// Feature services, which are the feature sets of models, with a feature of one of these.
    pub services: BTreeSet<String>,
}

/// What a state has that uses these functions of the components of these digests.
pub fn reach(state: &State, digests: &[Digest], functions: &BTreeSet<String>) -> Reach {
    let uses = |name: &FunctionName| {
        let pinned = state.transforms.get(&name.transform);
        functions.contains(&name.function)
            && pinned.is_some_and(|pinned| digests.contains(&pinned.digest))
    };
    let definitions = &state.definitions;
    let mut views = BTreeSet::new();
    for (name, view) in &definitions.feature_views {
        if view.transform.as_ref().is_some_and(|used| uses(&used.function)) {
            views.insert(name.clone());
        }
    }
    // On-demand views may read each other: on until none is added.
    loop {
        let reached = views.len();
        for (name, view) in &definitions.on_demand_feature_views {
            let reads = |input: &Input| match input {
                Input::Feature(feature) => views.contains(&feature.view),
                Input::Request(..) | Input::EventTime => false,
            };
            if uses(&view.transform.function) || view.transform.inputs.values().any(reads) {
                views.insert(name.clone());
            }
        }
        if views.len() == reached {
            break;
        }
    }
    let services = definitions.feature_services.iter();
    let services = services
        .filter(|(_, service)| service.features.iter().any(|feature| views.contains(&feature.view)))
        .map(|(name, _)| name.clone())
        .collect();
    Reach { views, services }
}
