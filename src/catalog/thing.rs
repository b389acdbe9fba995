//! Everything that can be found, with the texts to find it by.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Kind};
use crate::{
    definition::{About, Feature, State},
    name::FunctionName,
    value::Function,
};

/// Something that can be found.
pub(super) struct Thing<'a> {
    pub(super) kind: Kind,
    /// The name it is shown by, in full.
    pub(super) name: String,
    /// Parts of the name that people call it by as well.
    pub(super) short_names: Vec<&'a str>,
    pub(super) description: &'a str,
    pub(super) owner: &'a str,
    pub(super) team: &'a str,
    pub(super) tags: &'a [String],
}

impl<'a> Thing<'a> {
    fn definition(kind: Kind, name: &'a str, about: &'a About) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            short_names: Vec::new(),
            description: &about.description,
            owner: &about.owner,
            team: &about.team,
            tags: &about.tags,
        }
    }

    /// A feature; it is found by the words of its view as well.
    fn feature(view: &str, about: &'a About, name: &'a str, description: &'a str) -> Self {
        Self {
            name: format!("{view}:{name}"),
            short_names: vec![name],
            description,
            ..Self::definition(Kind::Feature, name, about)
        }
    }

    fn function(name: &'a FunctionName, function: Option<&'a Function>) -> Self {
        Self {
            kind: Kind::Function,
            name: name.to_string(),
            short_names: vec![&name.function, &name.transform.name],
            description: function.map_or("", |function| &function.documentation),
            owner: "",
            team: &name.transform.team,
            tags: &[],
        }
    }

    pub(super) fn entry(&self) -> Entry {
        Entry {
            kind: self.kind,
            name: self.name.clone(),
            team: self.team.to_owned(),
            owner: self.owner.to_owned(),
            description: self.description.to_owned(),
        }
    }
}

/// Everything that can be found in a state.
pub(super) fn things(state: &State) -> Vec<Thing<'_>> {
    let definitions = &state.definitions;
    let mut things = Vec::new();
    for (name, view) in &definitions.feature_views {
        things.push(Thing::definition(Kind::FeatureView, name, &view.about));
        let function = view.transform.as_ref().and_then(|used| state.function(&used.function));
        features(name, &view.about, &view.features, function, &mut things);
    }
    for (name, view) in &definitions.on_demand_feature_views {
        things.push(Thing::definition(Kind::OnDemandFeatureView, name, &view.about));
        let function = state.function(&view.transform.function);
        features(name, &view.about, &view.features, function, &mut things);
    }
    for (name, service) in &definitions.feature_services {
        things.push(Thing::definition(Kind::FeatureService, name, &service.about));
    }
    for (name, entity) in &definitions.entities {
        things.push(Thing::definition(Kind::Entity, name, &entity.about));
    }
    for (name, source) in &definitions.sources {
        things.push(Thing::definition(Kind::Source, name, &source.about));
    }
    let functions: BTreeSet<&FunctionName> = definitions.functions().collect();
    things.extend(functions.into_iter().map(|name| Thing::function(name, state.function(name))));
    things
}

fn features<'a>(
    view: &str,
    about: &'a About,
    features: &'a BTreeMap<String, Feature>,
    function: Option<&'a Function>,
    things: &mut Vec<Thing<'a>>,
) {
    for (name, feature) in features {
        things.push(Thing::feature(view, about, name, description(feature, function)));
    }
}

/// What a feature's definition says that it is, or else what the function says of its output.
pub(super) fn description<'a>(feature: &'a Feature, function: Option<&'a Function>) -> &'a str {
    if !feature.description.is_empty() {
        return &feature.description;
    }
    let mut outputs = function.iter().flat_map(|function| &function.outputs);
    let output = outputs.find(|output| output.name == feature.column);
    output.map_or("", |output| &output.documentation)
}
