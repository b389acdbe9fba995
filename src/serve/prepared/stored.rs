//! Stored views, in groups that are looked up together.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::array::TimestampMicrosecondArray;

use crate::{
    definition::{
        FeatureView, Visible,
        retrieval::{EVENT_TIME, Retrieval, ViewRead},
    },
    error::{Error, Result},
    evaluate::{InForce, Working},
    name::FeatureRef,
    online::{
        EntityKeys, FingerprintPrefix, FoundFeatures, JoinKeys, ReadRows, RowVersion,
        StoredColumns, ValueSchema, ViewId, value_fingerprint,
    },
    serve::{Provenance, Status, request::EntityRows},
    time::{Span, Timestamp},
    value::{DataType, Field},
};

#[derive(Debug)]
pub(super) struct Group {
    /// The name of the store that the views live in.
    pub(super) store: Option<String>,
    pub(super) keys: JoinKeys,
    pub(super) ids: Vec<ViewId>,
    pub(super) views: Vec<StoredView>,
}

#[derive(Debug)]
pub(super) struct StoredView {
    pub(super) name: String,
    /// The features that are read of it.
    names: Vec<String>,
    ttl: Option<Span>,
    visible: Visible,
    /// What decides what is stored for the view now: rows under another definition are told of.
    definition: FingerprintPrefix,
    stored: StoredColumns,
    schema: ValueSchema,
    /// Those of the features that on-demand steps read; `None` where they read none.
    inputs: Option<Inputs>,
}

/// Features that on-demand steps read: these are decoded.
#[derive(Debug)]
struct Inputs {
    /// Their working columns, `view:feature`.
    names: Vec<Arc<str>>,
    stored: StoredColumns,
    schema: ValueSchema,
}

impl Inputs {
    fn new(read: &ViewRead<'_>, wanted: &BTreeSet<&FeatureRef>) -> Result<Option<Self>> {
        let features = read.features.iter().filter_map(|(name, feature)| {
            let reference = FeatureRef { view: read.name.to_owned(), feature: (*name).to_owned() };
            wanted.contains(&reference).then_some((reference, feature))
        });
        let features: Vec<_> = features.collect();
        if features.is_empty() {
            return Ok(None);
        }
        let columns = features.iter().map(|(_, read)| (read.column.as_str(), read.data_type));
        let stored = StoredColumns::new(columns);
        let names = features.iter().map(|(reference, _)| reference.to_string().into());
        let schema = ValueSchema::new(stored.fields())?;
        Ok(Some(Self { names: names.collect(), stored, schema }))
    }
}

/// What the store had for a view.
pub(super) struct Found {
    pub(super) provenance: Provenance,
    pub(super) features: FoundFeatures,
}

fn field(name: &str, data_type: DataType) -> Field {
    Field { name: name.to_owned(), data_type, nullable: true, documentation: String::new() }
}

pub(super) fn groups(retrieval: &Retrieval<'_>, in_force: &InForce) -> Result<Vec<Group>> {
    type Shared = (Option<String>, Vec<(String, DataType)>);
    let mut groups: BTreeMap<Shared, Vec<&ViewRead<'_>>> = BTreeMap::new();
    let inputs = retrieval.read_by_steps();
    for read in &retrieval.views {
        let keys = read.join_keys.iter().map(|(name, data_type)| (name.clone(), *data_type));
        groups.entry((read.view.store.clone(), keys.collect())).or_default().push(read);
    }
    let group = |((store, keys), reads): (Shared, Vec<&ViewRead<'_>>)| {
        Ok(Group {
            store,
            keys: JoinKeys::new(
                keys.iter().map(|(name, data_type)| field(name, *data_type)).collect(),
            )?,
            ids: reads.iter().map(|read| ViewId::of(&in_force.project, read.name)).collect(),
            views: reads
                .iter()
                .map(|read| StoredView::new(read, &inputs, in_force))
                .collect::<Result<_>>()?,
        })
    };
    groups.into_iter().map(group).collect()
}

impl Group {
    /// The keys of the entities; `None` where the request brings none of the join keys.
    pub(super) fn keys(&self, entities: &EntityRows) -> Result<Option<EntityKeys>> {
        let keys = self.keys.fields().iter().map(|key| entities.columns.get(&key.name).cloned());
        match keys.collect::<Option<Vec<_>>>() {
            Some(columns) => self.keys.keys(&columns).map(Some),
            None => self.refuse_half_a_key(entities).map(|()| None),
        }
    }

    /// An error where some of the join keys are there and others are not: a misspelt key must not
    /// look like an entity that is not known.
    fn refuse_half_a_key(&self, entities: &EntityRows) -> Result<()> {
        let has = |key: &&Field| entities.columns.contains_key(&key.name);
        let missing = self.keys.fields().iter().find(|key| !has(key));
        match (missing, self.keys.fields().iter().any(|key| has(&key))) {
            (Some(missing), true) => {
                let views: Vec<&str> = self.views.iter().map(|view| view.name.as_str()).collect();
                Err(Error::invalid(format!(
                    "Join key {} is missing in the entities: {} needs all of its join keys",
                    missing.name,
                    views.join(", ")
                )))
            }
            _ => Ok(()),
        }
    }
}

impl StoredView {
    fn new(
        read: &ViewRead<'_>,
        inputs: &BTreeSet<&FeatureRef>,
        in_force: &InForce,
    ) -> Result<Self> {
        let rows = in_force
            .fingerprints
            .rows(read.name)
            .ok_or_else(|| Error::internal(format!("view {} has no fingerprint", read.name)))?;
        let features = read.features.values();
        let all = read.view.features.values();
        let all = all.map(|feature| (feature.column.as_str(), feature.data_type));
        let stored = StoredColumns::new(
            features.map(|feature| (feature.column.as_str(), feature.data_type)),
        );
        Ok(Self {
            name: read.name.to_owned(),
            ttl: read.view.ttl,
            visible: visibility(read.view, in_force),
            definition: FingerprintPrefix::from(&StoredColumns::new(all).definition(&rows)?),
            names: read.features.keys().map(|name| (*name).to_owned()).collect(),
            inputs: Inputs::new(read, inputs)?,
            schema: ValueSchema::new(stored.fields())?,
            stored,
        })
    }

    /// The column of its rows that a feature is in.
    pub(super) fn column(&self, feature: &FeatureRef) -> Result<usize> {
        let place = self.names.iter().position(|name| *name == feature.feature);
        let column = place.and_then(|place| self.stored.places().get(place).copied());
        column.ok_or_else(|| Error::internal(format!("feature {feature} is not read")))
    }

    /// Finds the features in the view's rows, null where they cannot be seen at the request's time,
    /// and decodes into working columns what on-demand steps read.
    pub(super) fn take(
        &self,
        place: usize,
        read: &Arc<ReadRows>,
        entities: &EntityRows,
        working: Option<&mut Working>,
    ) -> Result<Found> {
        let mut provenance = Provenance {
            statuses: Vec::with_capacity(entities.rows),
            event_timestamps: Vec::with_capacity(entities.rows),
            computed_by_other_definition: BTreeSet::new(),
        };
        for (row, stored) in read.view(place).enumerate() {
            let status = match &stored {
                Some(stored) => self.status(stored.version, entities.event_time),
                None => Status::NotFound,
            };
            if let Some(stored) = &stored
                && status == Status::Present
                && value_fingerprint(stored.value)? != self.definition
            {
                provenance.computed_by_other_definition.insert(row as u32);
            }
            let shown = stored.filter(|_| status != Status::NotFound);
            let event_time = shown.map_or(Timestamp(0), |stored| stored.version.event);
            provenance.event_timestamps.push(event_time);
            provenance.statuses.push(status);
        }
        let seen = || provenance.statuses.iter().map(|status| *status == Status::Present);
        if let (Some(working), Some(inputs)) = (working, &self.inputs) {
            let values = read.view(place).zip(seen());
            let values = values.map(|(stored, seen)| Some(stored.filter(|_| seen)?.value));
            let columns = inputs.schema.decode(values)?;
            for (name, column) in inputs.names.iter().zip(inputs.stored.spread(&columns)) {
                working.put(Arc::clone(name), column)?;
            }
        }
        let rows = read.places(place).zip(seen()).map(|(place, seen)| place.filter(|_| seen));
        let features = FoundFeatures::find(&self.schema, Arc::clone(read), rows)?;
        Ok(Found { provenance, features })
    }

    /// Rules 1, 2 and 4 of the contract on values, for the newest row.
    fn status(&self, version: RowVersion, now: Timestamp) -> Status {
        let written_later = self.visible == Visible::Created
            && version.created.is_some_and(|created| created > now);
        let too_old = self.ttl.is_some_and(|ttl| version.event < now.saturating_sub(ttl));
        match (version.event > now || written_later, too_old) {
            (true, _) => Status::NotFound,
            (false, true) => Status::OutsideMaxAge,
            (false, false) => Status::Present,
        }
    }
}

fn visibility(view: &FeatureView, in_force: &InForce) -> Visible {
    let source = in_force.state.definitions.sources.get(&view.source);
    source.map(|source| source.visible).unwrap_or_default()
}

/// What on-demand steps are given besides stored features.
pub(super) fn working(entities: &EntityRows) -> Result<Working> {
    let mut working = Working::new(entities.rows);
    for (name, column) in &entities.columns {
        working.put(name.as_str().into(), Arc::clone(column))?;
    }
    let times = TimestampMicrosecondArray::from_value(entities.event_time.0, entities.rows);
    let times = times.with_data_type(DataType::Timestamp.to_arrow());
    working.put(EVENT_TIME.into(), Arc::new(times))?;
    Ok(working)
}
