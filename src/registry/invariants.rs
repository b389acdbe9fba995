//! What has to hold of a snapshot before it is written. Pure: a function of the old and the new.

use super::Snapshot;
use crate::{
    definition::{Input, State},
    error::{Error, Result},
    name::TransformName,
};

/// Whether `next` may follow `newest`.
///
/// # Errors
/// [`crate::error::Kind::Internal`]: whoever made `next` should have seen to it.
pub(super) fn check(newest: Option<&Snapshot>, next: &Snapshot) -> Result<()> {
    let number = newest.map_or(1, |newest| newest.sequence + 1);
    if next.sequence != number {
        return broken(format!("its number is {} and should be {number}", next.sequence));
    }
    every_function_is_pinned(&next.state)?;
    every_pin_is_used(&next.state)?;
    every_name_is_declared(&next.state)
}

fn broken<T>(what: String) -> Result<T> {
    Err(Error::internal(format!("nothing applied: the snapshot does not hold together: {what}")))
}

fn every_function_is_pinned(state: &State) -> Result<()> {
    match state.definitions.functions().find(|name| state.function(name).is_none()) {
        Some(name) => broken(format!("{name} is used and not pinned")),
        None => Ok(()),
    }
}

fn every_pin_is_used(state: &State) -> Result<()> {
    let used = |name: &TransformName| {
        state.definitions.functions().any(|function| function.transform == *name)
    };
    match state.transforms.keys().find(|name| !used(name)) {
        Some(name) => broken(format!("{name} is pinned and not used")),
        None => Ok(()),
    }
}

fn every_name_is_declared(state: &State) -> Result<()> {
    let definitions = &state.definitions;
    for (name, view) in &definitions.feature_views {
        if !definitions.sources.contains_key(&view.source) {
            return broken(format!("view {name} reads source {}, which there is not", view.source));
        }
        if let Some(entity) =
            view.entities.iter().find(|entity| !definitions.entities.contains_key(*entity))
        {
            return broken(format!("view {name} is of entity {entity}, which there is not"));
        }
    }
    for (name, view) in &definitions.on_demand_feature_views {
        let mut read = view.transform.inputs.values().filter_map(|input| match input {
            Input::Feature(feature) => Some(feature),
            _ => None,
        });
        if let Some(feature) = read.find(|feature| definitions.feature(feature).is_none()) {
            return broken(format!("view {name} reads feature {feature}, which there is not"));
        }
    }
    for (name, service) in &definitions.feature_services {
        if let Some(feature) =
            service.features.iter().find(|feature| definitions.feature(feature).is_none())
        {
            return broken(format!("service {name} has feature {feature}, which there is not"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        definition::{About, FeatureService, PinnedTransform},
        digest::Digest,
        time::Timestamp,
    };

    fn snapshot(sequence: u64, state: State) -> Snapshot {
        Snapshot { format: 1, sequence, created_at: Timestamp(0), state }
    }

    #[test]
    fn numbers_follow_each_other() {
        let first = snapshot(1, State::default());
        assert!(check(None, &first).is_ok());
        assert!(check(Some(&first), &snapshot(2, State::default())).is_ok());
        for wrong in [0, 1, 3] {
            assert!(check(Some(&first), &snapshot(wrong, State::default())).is_err());
        }
    }

    #[test]
    fn what_hangs_in_the_air_is_refused() {
        let mut pinned = State::default();
        let pin = PinnedTransform { digest: Digest::of("x"), functions: Vec::new() };
        pinned.transforms.insert("a/b@1.0.0".parse().unwrap(), pin);
        let message = check(None, &snapshot(1, pinned)).unwrap_err().to_string();
        assert!(message.contains("a/b@1.0.0 is pinned and not used"), "{message}");
        let mut dangling = State::default();
        let features = vec!["view:feature".parse().unwrap()];
        let service = FeatureService { features, about: About::default() };
        dangling.definitions.feature_services.insert("s".to_owned(), service);
        let message = check(None, &snapshot(1, dangling)).unwrap_err().to_string();
        assert!(message.contains("view:feature, which there is not"), "{message}");
    }
}
