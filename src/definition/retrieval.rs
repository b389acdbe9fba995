//! What it takes to answer a request for features: the one plan that a training dataset and an
//! online answer are both made from.
//!
//! The plan works on a *working batch*: the entity rows with one column for each thing known about
//! them. Join keys and request columns stand under their own names, the row's time under
//! [`EVENT_TIME`], every feature under `view:feature` (which no column can be called). Stored views
//! add their features first, with defaults filled in; then the on-demand steps run, each adding
//! its features; then the outputs are picked.

use std::collections::BTreeMap;

use super::{Feature, FeatureView, Input, OnDemandFeatureView, State};
use crate::{
    error::{Error, Result, did_you_mean},
    name::FeatureRef,
    value::DataType,
};

/// The name of the working batch's column with the time of each row.
pub const EVENT_TIME: &str = ":event_time";

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Wanted {
    /// The features of a service.
    Service(String),
    /// These features.
    Features(Vec<FeatureRef>),
}

/// The plan of a request.
#[derive(Debug)]
pub struct Retrieval<'a> {
    /// The join keys that the entity rows have to bring, with their types.
    pub join_keys: BTreeMap<String, DataType>,
    /// The request columns that the entity rows have to bring besides.
    pub request: BTreeMap<String, DataType>,
    /// The stored views to read, by name.
    pub views: Vec<ViewRead<'a>>,
    /// The on-demand views to compute, each after those it reads.
    pub steps: Vec<Step<'a>>,
    /// The features of the answer, in the order asked for.
    pub outputs: Vec<Output<'a>>,
}

/// A stored view to read.
#[derive(Debug)]
pub struct ViewRead<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its definition.
    pub view: &'a FeatureView,
    /// Its join keys.
    pub join_keys: BTreeMap<String, DataType>,
    /// The features wanted of it, by name.
    pub features: BTreeMap<&'a str, &'a Feature>,
}

/// An on-demand view to compute.
#[derive(Debug)]
pub struct Step<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its definition.
    pub view: &'a OnDemandFeatureView,
    /// The features wanted of it, by name.
    pub features: BTreeMap<&'a str, &'a Feature>,
}

/// A feature of the answer.
#[derive(Debug)]
pub struct Output<'a> {
    /// Which feature.
    pub reference: FeatureRef,
    /// Its definition.
    pub feature: &'a Feature,
    /// The name it has in the answer: `feature` or `view__feature`.
    pub name: String,
}

impl<'a> Retrieval<'a> {
    /// Plans a request; with `full_names`, features are called `view__feature` in the answer.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] for a service, view or feature that does not exist, with
    /// the nearest name; [`crate::error::Kind::Invalid`] when nothing is asked for, or when two
    /// columns of the answer would have one name.
    pub fn plan(state: &'a State, wanted: &Wanted, full_names: bool) -> Result<Self> {
        let references = references(state, wanted)?;
        let mut planner = Planner { state, views: BTreeMap::new(), steps: Vec::new() };
        for reference in references {
            planner.want(reference)?;
        }
        let outputs = outputs(state, references, full_names)?;
        let retrieval = planner.finish(outputs);
        retrieval.refuse_collisions()?;
        Ok(retrieval)
    }

    fn refuse_collisions(&self) -> Result<()> {
        let mut taken: BTreeMap<&str, String> = BTreeMap::new();
        let keys = self.join_keys.keys().map(|name| (name.as_str(), "a join key".to_owned()));
        let outputs = self
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), format!("feature {}", output.reference)));
        for (name, what) in keys.chain(outputs) {
            if let Some(other) = taken.insert(name, what.clone()) {
                return Err(Error::invalid(format!(
                    "two columns of the answer would be called \"{name}\": {other} and {what}"
                ))
                .with_hint("ask for full feature names (view__feature)"));
            }
        }
        Ok(())
    }
}

fn references<'a>(state: &'a State, wanted: &'a Wanted) -> Result<&'a [FeatureRef]> {
    let references = match wanted {
        Wanted::Features(features) => features,
        Wanted::Service(name) => {
            let services = &state.definitions.feature_services;
            let service = services.get(name).ok_or_else(|| {
                Error::not_found(format!("Feature service {name} does not exist"))
                    .with_hint(did_you_mean(name, services.keys().map(String::as_str)))
            })?;
            &service.features
        }
    };
    if references.is_empty() {
        return Err(Error::invalid("No features specified for retrieval")
            .with_hint("name features as view:feature, or a feature service"));
    }
    Ok(references)
}

fn outputs<'a>(
    state: &'a State,
    references: &[FeatureRef],
    full_names: bool,
) -> Result<Vec<Output<'a>>> {
    let output = |reference: &FeatureRef| {
        Ok(Output {
            feature: find(state, reference)?.feature,
            name: match full_names {
                true => reference.full_name(),
                false => reference.feature.clone(),
            },
            reference: reference.clone(),
        })
    };
    references.iter().map(output).collect()
}

/// A feature, found by its reference.
struct Found<'a> {
    view_name: &'a str,
    view: View<'a>,
    name: &'a str,
    feature: &'a Feature,
}

#[derive(Clone, Copy)]
enum View<'a> {
    Stored(&'a FeatureView),
    OnDemand(&'a OnDemandFeatureView),
}

fn find<'a>(state: &'a State, reference: &FeatureRef) -> Result<Found<'a>> {
    let stored = &state.definitions.feature_views;
    let on_demand = &state.definitions.on_demand_feature_views;
    let found = match stored.get_key_value(&reference.view) {
        Some((name, view)) => Some((name, View::Stored(view), &view.features)),
        None => on_demand
            .get_key_value(&reference.view)
            .map(|(name, view)| (name, View::OnDemand(view), &view.features)),
    };
    let Some((view_name, view, features)) = found else {
        let views = stored.keys().chain(on_demand.keys()).map(String::as_str);
        return Err(Error::not_found(format!("Feature view {} does not exist", reference.view))
            .with_hint(did_you_mean(&reference.view, views)));
    };
    let Some((name, feature)) = features.get_key_value(&reference.feature) else {
        let names = features.keys().map(String::as_str);
        let (feature, view) = (&reference.feature, &reference.view);
        return Err(Error::not_found(format!("Feature {feature} not found in view {view}"))
            .with_hint(did_you_mean(feature, names)));
    };
    Ok(Found { view_name, view, name, feature })
}

/// Collects what is wanted of each view, following what on-demand views read.
struct Planner<'a> {
    state: &'a State,
    views: BTreeMap<&'a str, ViewRead<'a>>,
    /// On-demand views, each after those it reads.
    steps: Vec<Step<'a>>,
}

impl<'a> Planner<'a> {
    fn want(&mut self, reference: &FeatureRef) -> Result<()> {
        let found = find(self.state, reference)?;
        match found.view {
            View::Stored(view) => self.want_stored(&found, view),
            View::OnDemand(view) => self.want_computed(&found, view)?,
        }
        Ok(())
    }

    fn want_stored(&mut self, found: &Found<'a>, view: &'a FeatureView) {
        let join_keys = || self.state.definitions.join_keys(view);
        let read = self.views.entry(found.view_name).or_insert_with(|| ViewRead {
            name: found.view_name,
            view,
            join_keys: join_keys(),
            features: BTreeMap::new(),
        });
        read.features.insert(found.name, found.feature);
    }

    fn want_computed(&mut self, found: &Found<'a>, view: &'a OnDemandFeatureView) -> Result<()> {
        let known = self.steps.iter_mut().find(|step| step.name == found.view_name);
        if let Some(step) = known {
            step.features.insert(found.name, found.feature);
            return Ok(());
        }
        // The check of the definitions refuses cycles, so this ends.
        for input in view.transform.inputs.values() {
            if let Input::Feature(read) = input {
                self.want(read)?;
            }
        }
        self.steps.push(Step {
            name: found.view_name,
            view,
            features: BTreeMap::from([(found.name, found.feature)]),
        });
        Ok(())
    }

    fn finish(self, outputs: Vec<Output<'a>>) -> Retrieval<'a> {
        let inputs = self.steps.iter().flat_map(|step| step.view.transform.inputs.values());
        let request = inputs.filter_map(|input| match input {
            Input::Request(column, data_type) => Some((column.clone(), *data_type)),
            _ => None,
        });
        let keys = self.views.values().flat_map(|read| read.join_keys.clone());
        Retrieval {
            join_keys: keys.collect(),
            request: request.collect(),
            views: self.views.into_values().collect(),
            steps: self.steps,
            outputs,
        }
    }
}

/// The column of the working batch that an input of an on-demand view is given.
pub fn working_column(input: &Input) -> String {
    match input {
        Input::Feature(reference) => reference.to_string(),
        Input::Request(column, _) => column.clone(),
        Input::EventTime => EVENT_TIME.to_owned(),
    }
}
