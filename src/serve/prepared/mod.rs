//! A retrieval plan, bound to the store and the transforms, and run.

mod stored;
mod target;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::{
    Answer, AnswerColumn, Class, Described, Provenance, Refused, Status, Values,
    cohort::regroup,
    meters::{StageMeters, StatusCounts, ViewMeters},
    request::EntityRows,
};
use crate::{
    definition::{
        Input,
        retrieval::{Retrieval, Wanted},
    },
    error::{Error, Kind, Result},
    evaluate::{Computed, InForce, OnDemand},
    name::FeatureRef,
    online::{FoundFeatures, Lookup, ReadRows, Stores},
    time::Timestamp,
    value::DataType,
};
use stored::{Found, Group, groups, working};
use target::{Planned, Target};

/// The plan of a request, ready to be answered again and again.
#[derive(Debug)]
pub struct Prepared {
    join_keys: BTreeMap<String, DataType>,
    request: BTreeMap<String, DataType>,
    /// The views that need request columns, for messages.
    request_views: BTreeSet<String>,
    /// The stored views, grouped by store and join keys: a group is one lookup.
    groups: Vec<Group>,
    on_demand: OnDemand,
    outputs: Vec<Target>,
    described: Described,
    /// The meters of the views that the outputs are of, in the order of their names.
    meters: Vec<(String, ViewMeters)>,
    stages: StageMeters,
}

/// What all columns of an answer are made from.
struct Gathered<'a> {
    entities: &'a EntityRows,
    /// For each stored view.
    found: Vec<FoundFeatures>,
    /// How values come to be where nothing else is to be said: those of each stored view, then
    /// join keys, then what is computed now, where anything is.
    provenances: Vec<Provenance>,
    /// `None` where there is nothing to compute.
    computed: Option<Computed>,
    unavailable: BTreeMap<String, String>,
}

impl Gathered<'_> {
    /// The place of how a join key comes to be.
    fn keys(&self) -> usize {
        self.found.len()
    }

    /// The place of how a computed value comes to be.
    fn computed_now(&self) -> usize {
        self.found.len() + 1
    }
}

impl Prepared {
    /// Plans `wanted` and binds the plan.
    ///
    /// # Errors
    /// [`Refused`] with a class for an unknown service, view or feature, for two equal names in
    /// the answer, and for a view that is not online.
    pub fn new(in_force: &InForce, wanted: &Wanted, full_names: bool) -> Result<Self, Refused> {
        let retrieval = Retrieval::plan(&in_force.state, wanted, full_names)
            .map_err(|error| Refused::new(classify(in_force, wanted, &error), error))?;
        if let Some(read) = retrieval.views.iter().find(|read| !read.view.online) {
            return Err(Error::invalid(format!("Feature view {} is not online", read.name))
                .with_hint("set online = true in its definition, apply, and materialize it")
                .into());
        }
        let requesting = retrieval.steps.iter().filter(|step| {
            let mut inputs = step.view.transform.inputs.values();
            inputs.any(|input| matches!(input, Input::Request(..)))
        });
        let groups = groups(&retrieval, in_force)?;
        let of_outputs = retrieval.outputs.iter().map(|output| output.reference.view.as_str());
        let views: BTreeSet<&str> = of_outputs.collect();
        let planned = Planned { reads: retrieval.reads(), groups: &groups, views: &views };
        let targets = retrieval.outputs.iter().map(|output| planned.target(output, in_force));
        let outputs: Vec<Target> = targets.collect::<Result<_>>()?;
        let described = outputs.iter().map(|target| (target.name.as_str(), &target.feature));
        Ok(Self {
            described: Described::new(described),
            outputs,
            meters: views.iter().map(|view| ((*view).to_owned(), ViewMeters::new(view))).collect(),
            stages: StageMeters::look_up(),
            request_views: requesting.map(|step| step.name.to_owned()).collect(),
            groups,
            on_demand: OnDemand::of_steps(&retrieval, &in_force.library)?,
            join_keys: retrieval.join_keys,
            request: retrieval.request,
        })
    }

    /// The join keys of the entity rows, with their types.
    pub fn join_keys(&self) -> &BTreeMap<String, DataType> {
        &self.join_keys
    }

    /// The views that the features of the answer are of.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        self.meters.iter().map(|(view, _)| view.as_str())
    }

    /// The request columns of the entity rows, with their types.
    pub fn request(&self) -> &BTreeMap<String, DataType> {
        &self.request
    }

    pub(in crate::serve) fn request_data_missing<'a>(
        &self,
        given: impl Iterator<Item = &'a String>,
    ) -> Refused {
        let given: BTreeSet<&String> = given.collect();
        let missing: Vec<&String> =
            self.request.keys().filter(|name| !given.contains(name)).collect();
        let views: Vec<&String> = self.request_views.iter().collect();
        let error = Error::invalid(format!(
            "Required request data source features {missing:?} not found in the entity rows, \
             but required by feature views {views:?}"
        ));
        Refused::new(Class::RequestDataNotFound, error)
    }

    /// Reads, computes and assembles.
    ///
    /// # Errors
    /// Those of the store and of the transforms.
    pub(in crate::serve) async fn answer(
        &self,
        stores: &Stores,
        entities: EntityRows,
        partial: bool,
    ) -> Result<Answer<'_>> {
        // A store across a network is a border by itself: the requests go on when it has answered.
        if stores.read_on_the_spot(self.groups.iter().map(|group| group.store.as_deref())) {
            regroup(entities.rows).await;
        }
        let begun = Instant::now();
        let views = self.groups.iter().map(|group| group.views.len()).sum();
        let mut found = Vec::with_capacity(views);
        let mut provenances = Vec::with_capacity(views + 2);
        let mut unavailable = BTreeMap::new();
        let has_steps = self.on_demand.has_steps();
        let mut working = has_steps.then(|| working(&entities)).transpose()?;
        let read = self.read(stores, &entities).await?;
        for (group, rows) in self.groups.iter().zip(read) {
            let rows = match rows {
                Err(error) if partial => {
                    let views = group.views.iter().map(|view| view.name.clone());
                    unavailable.extend(views.map(|view| (view, error.to_string())));
                    ReadRows::nothing(group.ids.len(), entities.rows)
                }
                rows => rows?,
            };
            let rows = Arc::new(rows);
            for (place, view) in group.views.iter().enumerate() {
                let Found { features, provenance } =
                    view.take(place, &rows, &entities, working.as_mut())?;
                found.push(features);
                provenances.push(provenance);
            }
        }
        let mut since = self.stages.store.took(begun);
        let mut computed = None;
        if let Some(working) = working {
            regroup(entities.rows).await;
            since = Instant::now();
            let lost = unavailable.keys().map(String::as_str).collect();
            computed = Some(self.on_demand.run_in_turn(working, &lost).await?);
        }
        provenances.push(Provenance::present(entities.rows, Timestamp(0)));
        if computed.is_some() {
            provenances.push(Provenance::present(entities.rows, entities.event_time));
        }
        let gathered = Gathered { entities: &entities, found, provenances, computed, unavailable };
        let answer = self.assemble(gathered);
        let time = self.stages.compute.took(since) - begun;
        self.meters.iter().for_each(|(_, meters)| meters.took(time));
        answer
    }

    /// What each group finds, all of them in one read; an error for the groups whose store fails.
    async fn read(&self, stores: &Stores, entities: &EntityRows) -> Result<Vec<Result<ReadRows>>> {
        let keys: Vec<_> =
            self.groups.iter().map(|group| group.keys(entities)).collect::<Result<_>>()?;
        let groups = || self.groups.iter().zip(&keys);
        let lookups: Vec<_> = groups()
            .filter_map(|(group, keys)| {
                let lookup = Lookup { views: &group.ids, keys: keys.as_ref()? };
                Some((group.store.as_deref(), lookup))
            })
            .collect();
        let found = stores.read(&lookups).await.into_iter();
        let mut found = found.map(|rows| rows.map_err(Error::not_the_callers));
        let rows = groups().map(|(group, keys)| match keys {
            Some(_) => found.next().unwrap_or_else(|| Err(Error::internal("a lookup is lost"))),
            // A view none of whose join keys the request brings has no rows for it, as in Feast.
            None => Ok(ReadRows::nothing(group.ids.len(), entities.rows)),
        });
        Ok(rows.collect())
    }

    fn assemble(&self, gathered: Gathered<'_>) -> Result<Answer<'_>> {
        let entities = gathered.entities;
        let mut columns = Vec::with_capacity(self.join_keys.len() + self.outputs.len());
        let keys = gathered.keys();
        let mut others = Vec::new();
        columns.extend(self.join_keys.keys().filter_map(|name| {
            Some(AnswerColumn {
                name,
                feature: None,
                values: Values::Array(Arc::clone(entities.columns.get(name)?)),
                provenance: keys,
                defaulted: false,
            })
        }));
        let mut counts = vec![StatusCounts::default(); self.meters.len()];
        for target in &self.outputs {
            let mut place = target.provenance(&gathered);
            let mut provenance = &gathered.provenances[place];
            if let Some(other) = target.other_provenance(&gathered) {
                place = gathered.provenances.len() + others.len();
                provenance = others.push_mut(other);
            }
            if let Some(counts) = counts.get_mut(target.meters) {
                counts.add(&provenance.statuses);
            }
            let is_absent = |status: &Status| *status != Status::Present;
            columns.push(AnswerColumn {
                name: &target.name,
                feature: Some(&target.feature),
                values: target.values(&gathered)?,
                defaulted: target.has_default
                    && !target.is_lost(&gathered)
                    && provenance.statuses.iter().any(is_absent),
                provenance: place,
            });
        }
        for ((_, meters), counts) in self.meters.iter().zip(&counts) {
            meters.count(counts);
        }
        let errors = gathered.computed.iter().flat_map(|computed| &computed.errors);
        let errors = errors.flat_map(|(view, errors)| {
            errors.iter().map(|error| (view.clone(), error.row, error.message.clone()))
        });
        let errors = errors.collect();
        let mut provenances = gathered.provenances;
        provenances.append(&mut others);
        Ok(Answer {
            columns,
            found: gathered.found,
            provenances,
            described: &self.described,
            errors,
            unavailable: gathered.unavailable,
        })
    }
}

fn classify(in_force: &InForce, wanted: &Wanted, error: &Error) -> Class {
    let definitions = &in_force.state.definitions;
    let unknown_view = |reference: &FeatureRef| {
        !definitions.feature_views.contains_key(&reference.view)
            && !definitions.on_demand_feature_views.contains_key(&reference.view)
    };
    match (wanted, error.kind()) {
        (Wanted::Service(_), Kind::NotFound) => Class::FeatureServiceNotFound,
        (Wanted::Features(list), Kind::NotFound) if list.iter().any(unknown_view) => {
            Class::FeatureViewNotFound
        }
        (_, Kind::NotFound) => Class::FeatureNotFound,
        (Wanted::Features(list), _) if list.is_empty() => Class::Invalid,
        _ => Class::NameCollision,
    }
}
