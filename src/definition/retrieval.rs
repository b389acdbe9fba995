//! What it takes to answer a request for features: the one plan that a training dataset and an
//! online answer are both made from.
//!
//! The plan works on *working columns*: the entity rows with one column for each thing known about
//! them. Join keys and request columns stand under their own names, the row's time under
//! [`EVENT_TIME`], every feature under `view:feature` (which no column can be called). Stored views
//! add their features first, with defaults filled in; then the on-demand steps run, each adding
//! its features; then the outputs are picked.

use std::collections::{BTreeMap, BTreeSet};

use super::{Feature, FeatureView, Input, OnDemandFeatureView, State};
use crate::{
    error::{Error, Result, did_you_mean},
    name::FeatureRef,
    value::DataType,
};

/// The name of the working column with the time of each row.
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
        retrieval.refuse_collisions(full_names)?;
        Ok(retrieval)
    }

    /// The features that the on-demand steps read, of stored views or of each other.
    pub fn read_by_steps(&self) -> BTreeSet<&'a FeatureRef> {
        let inputs = self.steps.iter().flat_map(|step| step.view.transform.inputs.values());
        let features = inputs.filter_map(|input| match input {
            Input::Feature(reference) => Some(reference),
            _ => None,
        });
        features.collect()
    }

    /// The stored views that the features of each view come from, itself or by way of others.
    pub fn reads(&self) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
        let stored = self.views.iter().map(|read| (read.name, [read.name].into()));
        let mut reads: BTreeMap<&str, BTreeSet<&str>> = stored.collect();
        // Each step comes after those it reads.
        for step in &self.steps {
            let inputs = step.view.transform.inputs.values();
            let views = inputs.filter_map(|input| match input {
                Input::Feature(reference) => reads.get(reference.view.as_str()),
                _ => None,
            });
            let all = views.flatten().copied().collect();
            reads.insert(step.name, all);
        }
        reads
    }

    fn refuse_collisions(&self, full_names: bool) -> Result<()> {
        let mut taken: BTreeMap<&str, String> = BTreeMap::new();
        let keys = self.join_keys.keys().map(|name| (name.as_str(), "a join key".to_owned()));
        let outputs = self
            .outputs
            .iter()
            .map(|output| (output.name.as_str(), format!("feature {}", output.reference)));
        for (name, what) in keys.chain(outputs) {
            if let Some(other) = taken.insert(name, what.clone()) {
                let hint = match full_names || other == what {
                    true => "ask for one of them alone, and once",
                    false => "ask for full feature names (view__feature)",
                };
                return Err(Error::invalid(format!(
                    "two columns of the answer would be called \"{name}\": {other} and {what}"
                ))
                .with_hint(hint));
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

/// The working column that an input of an on-demand view is given.
pub fn working_column(input: &Input) -> String {
    match input {
        Input::Feature(reference) => reference.to_string(),
        Input::Request(column, _) => column.clone(),
        Input::EventTime => EVENT_TIME.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::definition::testing::state;

    /// A second on-demand view that reads `user_age`, and a third that reads both: a diamond.
    const DIAMOND: (&str, &str) = (
        "[feature_service.churn]",
        r#"[on_demand_feature_view.a_top]
transform = "commerce/user_age@1.0.0#risk"
inputs = { age = "risk:score", amount = "z_side:score" }
features = { score = "float64" }

[on_demand_feature_view.z_side]
transform = "commerce/user_age@1.0.0#risk"
inputs = { age = "user_age:age", amount = "request:weight" }
features = { score = "float64" }

[feature_service.churn]"#,
    );

    fn features(names: &[&str]) -> Wanted {
        Wanted::Features(names.iter().map(|name| name.parse().unwrap()).collect())
    }

    fn names<'a>(names: impl IntoIterator<Item = &'a String>) -> Vec<&'a str> {
        names.into_iter().map(String::as_str).collect()
    }

    /// The plan in a line each: what to bring, what to read, what to compute, what comes out.
    fn told(plan: &Retrieval<'_>) -> [String; 4] {
        let read = |read: &ViewRead<'_>| {
            let features: Vec<&str> = read.features.keys().copied().collect();
            format!("{}({})", read.name, features.join(" "))
        };
        let step = |step: &Step<'_>| {
            let features: Vec<&str> = step.features.keys().copied().collect();
            format!("{}({})", step.name, features.join(" "))
        };
        [
            names(plan.join_keys.keys().chain(plan.request.keys())).join(" "),
            plan.views.iter().map(read).collect::<Vec<_>>().join(" "),
            plan.steps.iter().map(step).collect::<Vec<_>>().join(" "),
            names(plan.outputs.iter().map(|output| &output.name)).join(" "),
        ]
    }

    #[test]
    fn plans_have_all_that_it_takes_and_no_more() {
        let state = state(&[DIAMOND]);
        let check = |wanted: &Wanted, full_names, expected: [&str; 4]| {
            assert_eq!(told(&Retrieval::plan(&state, wanted, full_names).unwrap()), expected);
        };
        check(
            &features(&["purchases:spend_30d"]),
            false,
            ["customer_id", "purchases(spend_30d)", "", "spend_30d"],
        );
        check(
            &features(&["purchases:spend_30d", "basket:unit_price", "purchases:purchases_30d"]),
            true,
            [
                "customer_id",
                "basket(unit_price) purchases(purchases_30d spend_30d)",
                "",
                "purchases__spend_30d basket__unit_price purchases__purchases_30d",
            ],
        );
        // What is read on the way is read, and is not in the answer.
        check(
            &features(&["risk:score"]),
            false,
            [
                "customer_id amount",
                "purchases(first_purchase_at)",
                "user_age(age) risk(score)",
                "score",
            ],
        );
        check(
            &Wanted::Service("churn".to_owned()),
            false,
            [
                "customer_id amount",
                "basket(unit_price) purchases(first_purchase_at spend_30d)",
                "user_age(age) risk(score)",
                "spend_30d unit_price score",
            ],
        );
        // Every view once, after those that it reads, whatever the names and the order.
        let diamond = [
            "customer_id amount weight",
            "purchases(first_purchase_at)",
            "user_age(age) risk(score) z_side(score) a_top(score)",
        ];
        let [brought, read, steps] = diamond;
        check(&features(&["a_top:score"]), false, [brought, read, steps, "score"]);
        check(
            &features(&["a_top:score", "user_age:age"]),
            false,
            [brought, read, steps, "score age"],
        );
        check(
            &features(&["user_age:age", "z_side:score", "a_top:score"]),
            true,
            [
                brought,
                read,
                "user_age(age) z_side(score) risk(score) a_top(score)",
                "user_age__age z_side__score a_top__score",
            ],
        );
    }

    #[test]
    fn refusals_say_what_there_is() {
        let state = state(&[DIAMOND]);
        let check = |wanted: &Wanted, full_names, expected: &str| {
            let error = Retrieval::plan(&state, wanted, full_names).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check(
            &Wanted::Service("chrun".to_owned()),
            false,
            "Feature service chrun does not exist\nhint: did you mean \"churn\"?",
        );
        check(
            &features(&["purchase:spend_30d"]),
            false,
            "Feature view purchase does not exist\nhint: did you mean \"purchases\"?",
        );
        check(
            &features(&["risk:scores"]),
            false,
            "Feature scores not found in view risk\nhint: did you mean \"score\"?",
        );
        check(
            &features(&[]),
            false,
            "No features specified for retrieval\n\
             hint: name features as view:feature, or a feature service",
        );
        check(
            &features(&["risk:score", "z_side:score"]),
            false,
            "two columns of the answer would be called \"score\": feature risk:score and feature \
             z_side:score\nhint: ask for full feature names (view__feature)",
        );
        for full_names in [false, true] {
            let name = if full_names { "risk__score" } else { "score" };
            check(
                &features(&["risk:score", "risk:score"]),
                full_names,
                &format!(
                    "two columns of the answer would be called \"{name}\": feature risk:score and \
                     feature risk:score\nhint: ask for one of them alone, and once"
                ),
            );
        }
    }

    #[test]
    fn a_feature_cannot_be_called_like_a_join_key_of_the_answer() {
        let state = state(&[
            ("features = { age = {", "features = { customer_id = {"),
            ("\"user_age:age\"", "\"user_age:customer_id\""),
        ]);
        let wanted = features(&["user_age:customer_id", "purchases:spend_30d"]);
        let error = Retrieval::plan(&state, &wanted, false).unwrap_err();
        assert_eq!(
            error.message(),
            "two columns of the answer would be called \"customer_id\": a join key and feature \
             user_age:customer_id"
        );
        Retrieval::plan(&state, &wanted, true).unwrap();
    }

    #[test]
    fn a_feature_may_be_called_like_a_request_column() {
        // Request columns are not in the answer, and no feature has its short name among the working
        // columns.
        let state = state(&[
            (
                "score = { type = \"float64\", default = 0.5 }",
                "amount = { type = \"float64\", column = \"score\" }",
            ),
            ("\"risk:score\"", "\"risk:amount\""),
        ]);
        let wanted = features(&["risk:amount"]);
        let plan = Retrieval::plan(&state, &wanted, false).unwrap();
        assert_eq!(plan.outputs[0].name, "amount");
        let inputs = plan.steps.iter().flat_map(|step| step.view.transform.inputs.values());
        let columns: Vec<String> = inputs.map(working_column).collect();
        assert_eq!(columns, [EVENT_TIME, "purchases:first_purchase_at", "user_age:age", "amount"]);
    }
}
