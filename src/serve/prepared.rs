//! A retrieval plan, bound to the store and the transforms, and run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, new_null_array},
    buffer::NullBuffer,
    datatypes::{Field as ArrowField, Schema},
};

use super::{
    Answer, AnswerColumn, AnswerFeature, Class, Refused, Status, Values,
    meters::{StageMeters, ViewMeters},
    request::EntityRows,
};
use crate::{
    definition::{
        Feature, FeatureView, Input, Visible,
        retrieval::{EVENT_TIME, Output, Retrieval, ViewRead, Wanted},
    },
    error::{Error, Kind, Result},
    evaluate::{Computed, InForce, OnDemand},
    name::FeatureRef,
    online::{
        EntityKeys, FingerprintPrefix, Lookup, ReadRows, RowVersion, StoredColumns, StoredFeatures,
        Stores, ValueSchema, ViewId, value_fingerprint,
    },
    time::{Span, Timestamp},
    value::{DataType, Field},
};

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
    /// The meters of the views that the outputs are of, in the order of their names.
    meters: Vec<(String, ViewMeters)>,
    stages: StageMeters,
}

#[derive(Debug)]
struct Group {
    /// The name of the store that the views live in.
    store: Option<String>,
    keys: Vec<Field>,
    ids: Vec<ViewId>,
    views: Vec<StoredView>,
}

#[derive(Debug)]
struct StoredView {
    name: String,
    /// The features that are read of it.
    names: Vec<String>,
    ttl: Option<Span>,
    visible: Visible,
    /// What decides what is stored for the view now: rows under another definition are told of.
    definition: FingerprintPrefix,
    stored: StoredColumns,
    schema: ValueSchema,
    /// Those of the features that on-demand steps read: which, and their columns of the working
    /// batch, `view:feature`.
    inputs: Vec<(usize, Arc<ArrowField>)>,
}

/// A feature of the answer.
#[derive(Debug)]
struct Target {
    feature: Arc<AnswerFeature>,
    /// The stored views that its values come from.
    reads: BTreeSet<String>,
    origin: Origin,
    name: Arc<str>,
    data_type: DataType,
    has_default: bool,
    /// What stands where there is no value, as JSON: the default, or null.
    missing: Arc<[u8]>,
    /// The place of the meters of its view.
    meters: usize,
}

/// Where the values of a feature come from.
#[derive(Debug)]
enum Origin {
    /// A stored view, by its place among all of them, and a column of its rows.
    Stored { view: usize, column: usize },
    /// An on-demand step, under this name in the working batch.
    Computed(String),
}

/// What the store had for a view.
struct Found {
    statuses: Arc<Vec<Status>>,
    event_timestamps: Arc<Vec<Timestamp>>,
    other_definition: Arc<BTreeSet<u32>>,
    features: Arc<StoredFeatures>,
}

/// What all columns of an answer are made from.
struct Gathered<'a> {
    entities: &'a EntityRows,
    /// For each stored view.
    found: Vec<Found>,
    /// `None` where there is nothing to compute.
    computed: Option<Computed>,
    unavailable: BTreeMap<String, String>,
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
        let planned = Planned { reads: reads(&retrieval), groups: &groups, views: &views };
        let targets = retrieval.outputs.iter().map(|output| planned.target(output, in_force));
        Ok(Self {
            outputs: targets.collect::<Result<_>>()?,
            meters: views.iter().map(|view| ((*view).to_owned(), ViewMeters::new(view))).collect(),
            stages: StageMeters::new(),
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

    pub(super) fn request_data_missing<'a>(
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
    pub(super) async fn answer(
        &self,
        stores: &Stores,
        entities: EntityRows,
        partial: bool,
    ) -> Result<Answer> {
        let begun = Instant::now();
        let (mut found, mut unavailable) = (Vec::new(), BTreeMap::new());
        let mut working = self.on_demand.has_steps().then(|| Working::new(&entities));
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
                found.push(view.take(place, &rows, &entities, working.as_mut())?);
            }
        }
        self.stages.store.took(begun);
        let since = Instant::now();
        let computed = match working {
            Some(working) => Some(self.on_demand.run_in_turn(working.batch()?).await?),
            None => None,
        };
        let gathered = Gathered { entities: &entities, found, computed, unavailable };
        let answer = self.assemble(gathered);
        self.stages.compute.took(since);
        self.meters.iter().for_each(|(_, meters)| meters.took(begun));
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
        let mut found = stores.read(&lookups).await.into_iter();
        let rows = groups().map(|(group, keys)| match keys {
            Some(_) => found.next().unwrap_or_else(|| Err(Error::internal("a lookup is lost"))),
            // A view none of whose join keys the request brings has no rows for it, as in Feast.
            None => Ok(ReadRows::nothing(group.ids.len(), entities.rows)),
        });
        Ok(rows.collect())
    }

    fn assemble(&self, gathered: Gathered<'_>) -> Result<Answer> {
        let entities = gathered.entities;
        let none = Arc::new(BTreeSet::new());
        let epoch = Arc::new(vec![Timestamp(0); entities.rows]);
        let now = Arc::new(vec![entities.event_time; entities.rows]);
        let present = Arc::new(vec![Status::Present; entities.rows]);
        let keys =
            self.join_keys.keys().filter_map(|name| Some((name, entities.columns.get(name)?)));
        let mut columns: Vec<AnswerColumn> =
            Vec::with_capacity(keys.size_hint().1.unwrap_or(0) + self.outputs.len());
        columns.extend(keys.map(|(name, values)| AnswerColumn {
            name: name.as_str().into(),
            feature: None,
            values: Values::Array(Arc::clone(values)),
            statuses: Arc::clone(&present),
            event_timestamps: Arc::clone(&epoch),
            defaulted: false,
            computed_by_other_definition: Arc::clone(&none),
        }));
        for target in &self.outputs {
            let stored = target.stored(&gathered.found);
            let mut statuses = target.statuses(&gathered, &present);
            let lost = target.reads.iter().any(|view| gathered.unavailable.contains_key(view));
            if lost {
                statuses = Arc::new(vec![Status::Invalid; entities.rows]);
            }
            if let Some((_, meters)) = self.meters.get(target.meters) {
                meters.count(&statuses);
            }
            columns.push(AnswerColumn {
                name: Arc::clone(&target.name),
                feature: Some(Arc::clone(&target.feature)),
                values: target.values(&gathered, lost)?,
                defaulted: !lost
                    && target.has_default
                    && statuses.iter().any(|status| *status != Status::Present),
                statuses,
                event_timestamps: Arc::clone(stored.map_or(&now, |found| &found.event_timestamps)),
                computed_by_other_definition: Arc::clone(
                    stored.map_or(&none, |found| &found.other_definition),
                ),
            });
        }
        let errors = gathered.computed.iter().flat_map(|computed| &computed.errors);
        let errors = errors.flat_map(|(view, errors)| {
            errors.iter().map(|error| (view.clone(), error.row, error.message.clone()))
        });
        Ok(Answer { columns, errors: errors.collect(), unavailable: gathered.unavailable })
    }
}

/// A plan in the making: what targets are bound to.
struct Planned<'a> {
    /// The stored views that the features of each view come from.
    reads: BTreeMap<&'a str, BTreeSet<String>>,
    groups: &'a [Group],
    /// The views of the outputs.
    views: &'a BTreeSet<&'a str>,
}

impl Planned<'_> {
    fn target(&self, output: &Output<'_>, in_force: &InForce) -> Result<Target> {
        let reference = &output.reference;
        let fingerprint = in_force
            .fingerprints
            .feature(reference)
            .ok_or_else(|| Error::internal(format!("feature {reference} has no fingerprint")))?;
        let mut stored = self.groups.iter().flat_map(|group| &group.views).enumerate();
        let origin = match stored.find(|(_, view)| view.name == reference.view) {
            Some((place, view)) => Origin::Stored { view: place, column: view.column(reference)? },
            None => Origin::Computed(reference.to_string()),
        };
        let default = output.feature.default.as_ref();
        let meters = self.views.iter().position(|view| *view == reference.view);
        Ok(Target {
            origin,
            reads: self.reads.get(reference.view.as_str()).cloned().unwrap_or_default(),
            feature: Arc::new(AnswerFeature {
                reference: reference.clone(),
                fingerprint: fingerprint.to_string(),
            }),
            name: output.name.as_str().into(),
            data_type: output.feature.data_type,
            has_default: default.is_some(),
            missing: default
                .map_or(NULL.into(), |value| value.json().to_string().into_bytes().into()),
            meters: meters.unwrap_or_default(),
        })
    }
}

/// What stands for null where no default is declared.
const NULL: &[u8] = b"null";

impl Target {
    /// What was found of the view, where it is a stored one.
    fn stored<'a>(&self, found: &'a [Found]) -> Option<&'a Found> {
        match self.origin {
            Origin::Stored { view, .. } => found.get(view),
            Origin::Computed(_) => None,
        }
    }

    fn values(&self, gathered: &Gathered<'_>, lost: bool) -> Result<Values> {
        if lost {
            // No default stands for what may well be there.
            let (data_type, rows) = (self.data_type.to_arrow(), gathered.entities.rows);
            return Ok(Values::Array(new_null_array(&data_type, rows)));
        }
        let lacking = || Error::internal(format!("there is no {}", self.feature.reference));
        match &self.origin {
            Origin::Stored { view, column } => {
                let found = gathered.found.get(*view).ok_or_else(lacking)?;
                Ok(Values::Stored {
                    features: Arc::clone(&found.features),
                    column: *column,
                    missing: Arc::clone(&self.missing),
                })
            }
            Origin::Computed(name) => {
                let computed = gathered.computed.as_ref();
                let column = computed.and_then(|computed| computed.batch.column_by_name(name));
                Ok(Values::Array(Arc::clone(column.ok_or_else(lacking)?)))
            }
        }
    }

    /// What became of each row, from how its view's row was found; the same list where nothing
    /// more is to be said.
    fn statuses(&self, gathered: &Gathered<'_>, present: &Arc<Vec<Status>>) -> Arc<Vec<Status>> {
        match (&self.origin, &gathered.computed) {
            (Origin::Stored { view, column }, _) => {
                let Some(found) = gathered.found.get(*view) else { return Arc::clone(present) };
                let mut statuses = Arc::clone(&found.statuses);
                if let Some(nulls) = found.features.nulls(*column) {
                    mark_null(&mut statuses, nulls);
                }
                statuses
            }
            (Origin::Computed(name), Some(computed)) => {
                let mut statuses = Arc::clone(present);
                if let Some(missing) = computed.missing.get(name) {
                    mark_null(&mut statuses, nulls(missing));
                }
                for error in computed.errors.get(&self.feature.reference.view).into_iter().flatten()
                {
                    if let Some(status) = Arc::make_mut(&mut statuses).get_mut(error.row as usize) {
                        *status = Status::Invalid;
                    }
                }
                statuses
            }
            (Origin::Computed(_), None) => Arc::clone(present),
        }
    }
}

fn nulls(values: &NullBuffer) -> impl Iterator<Item = bool> {
    values.iter().map(|there| !there)
}

/// The stored views that the features of each view come from, itself or by way of others.
fn reads<'a>(retrieval: &Retrieval<'a>) -> BTreeMap<&'a str, BTreeSet<String>> {
    let stored = retrieval.views.iter().map(|read| (read.name, [read.name.to_owned()].into()));
    let mut reads: BTreeMap<&str, BTreeSet<String>> = stored.collect();
    // Each step comes after those it reads.
    for step in &retrieval.steps {
        let inputs = step.view.transform.inputs.values();
        let views = inputs.filter_map(|input| match input {
            Input::Feature(reference) => reads.get(reference.view.as_str()),
            _ => None,
        });
        let all: BTreeSet<String> = views.flatten().cloned().collect();
        reads.insert(step.name, all);
    }
    reads
}

fn mark_null(statuses: &mut Arc<Vec<Status>>, nulls: impl Iterator<Item = bool>) {
    let statuses: &mut Vec<Status> = Arc::make_mut(statuses);
    for (status, null) in statuses.iter_mut().zip(nulls) {
        if *status == Status::Present && null {
            *status = Status::NullValue;
        }
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

fn field(name: &str, data_type: DataType) -> Field {
    Field { name: name.to_owned(), data_type, nullable: true, documentation: String::new() }
}

fn groups(retrieval: &Retrieval<'_>, in_force: &InForce) -> Result<Vec<Group>> {
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
            keys: keys.iter().map(|(name, data_type)| field(name, *data_type)).collect(),
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
    fn keys(&self, entities: &EntityRows) -> Result<Option<EntityKeys>> {
        let keys = self.keys.iter().map(|key| entities.columns.get(&key.name).cloned());
        match keys.collect::<Option<Vec<_>>>() {
            Some(columns) => EntityKeys::encode(&self.keys, &columns).map(Some),
            None => self.refuse_half_a_key(entities).map(|()| None),
        }
    }

    /// An error where some of the join keys are there and others are not: a misspelt key must not
    /// look like an entity that is not known.
    fn refuse_half_a_key(&self, entities: &EntityRows) -> Result<()> {
        let has = |key: &&Field| entities.columns.contains_key(&key.name);
        let missing = self.keys.iter().find(|key| !has(key));
        match (missing, self.keys.iter().any(|key| has(&key))) {
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
        let input = |(place, (name, feature)): (usize, (&&str, &&Feature))| {
            let reference = FeatureRef { view: read.name.to_owned(), feature: (*name).to_owned() };
            let data_type = feature.data_type.to_arrow();
            let field = ArrowField::new(reference.to_string(), data_type, true);
            inputs.contains(&reference).then(|| (place, Arc::new(field)))
        };
        let stored = StoredColumns::new(
            features.map(|feature| (feature.column.as_str(), feature.data_type)),
        );
        Ok(Self {
            name: read.name.to_owned(),
            ttl: read.view.ttl,
            visible: visibility(read.view, in_force),
            definition: FingerprintPrefix::from(&StoredColumns::new(all).definition(&rows)?),
            names: read.features.keys().map(|name| (*name).to_owned()).collect(),
            inputs: read.features.iter().enumerate().filter_map(input).collect(),
            schema: ValueSchema::new(stored.fields())?,
            stored,
        })
    }

    /// The column of its rows that a feature is in.
    fn column(&self, feature: &FeatureRef) -> Result<usize> {
        let place = self.names.iter().position(|name| *name == feature.feature);
        let column = place.and_then(|place| self.stored.places().get(place).copied());
        column.ok_or_else(|| Error::internal(format!("feature {feature} is not read")))
    }

    /// Finds the features in the view's rows, null where they cannot be seen at the request's time,
    /// and decodes into the working batch what on-demand steps read.
    fn take(
        &self,
        place: usize,
        read: &Arc<ReadRows>,
        entities: &EntityRows,
        working: Option<&mut Working>,
    ) -> Result<Found> {
        let mut statuses = Vec::with_capacity(entities.rows);
        let mut event_timestamps = Vec::with_capacity(entities.rows);
        let mut other_definition = BTreeSet::new();
        let mut seen = Vec::with_capacity(entities.rows);
        for (row, stored) in read.view(place).enumerate() {
            let status = match &stored {
                Some(stored) => self.status(stored.version, entities.event_time),
                None => Status::NotFound,
            };
            if let Some(stored) = &stored
                && status == Status::Present
                && value_fingerprint(stored.value)? != self.definition
            {
                other_definition.insert(row as u32);
            }
            let shown = stored.filter(|_| status != Status::NotFound);
            event_timestamps.push(shown.map_or(Timestamp(0), |stored| stored.version.event));
            seen.push(status == Status::Present);
            statuses.push(status);
        }
        if let Some(working) = working
            && !self.inputs.is_empty()
        {
            let values = read.view(place).zip(&seen);
            let values = values.map(|(stored, seen)| Some(stored.filter(|_| *seen)?.value));
            let columns: Vec<_> = self.stored.spread(&self.schema.decode(values)?).collect();
            for (place, field) in &self.inputs {
                working.put(Arc::clone(field), Arc::clone(&columns[*place]));
            }
        }
        let rows = read.places(place).zip(&seen).map(|(place, seen)| place.filter(|_| *seen));
        let features = StoredFeatures::find(&self.schema, Arc::clone(read), rows)?;
        Ok(Found {
            statuses: Arc::new(statuses),
            event_timestamps: Arc::new(event_timestamps),
            other_definition: Arc::new(other_definition),
            features: Arc::new(features),
        })
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

/// The working batch in the making.
struct Working {
    rows: usize,
    fields: Vec<Arc<ArrowField>>,
    columns: Vec<ArrayRef>,
}

impl Working {
    fn new(entities: &EntityRows) -> Self {
        let mut working = Self { rows: entities.rows, fields: Vec::new(), columns: Vec::new() };
        for (name, column) in &entities.columns {
            let field = ArrowField::new(name, column.data_type().clone(), true);
            working.put(Arc::new(field), Arc::clone(column));
        }
        let times = TimestampMicrosecondArray::from_value(entities.event_time.0, entities.rows);
        let field = ArrowField::new(EVENT_TIME, DataType::Timestamp.to_arrow(), true);
        working.put(Arc::new(field), Arc::new(times.with_timezone("UTC")));
        working
    }

    fn put(&mut self, field: Arc<ArrowField>, column: ArrayRef) {
        self.fields.push(field);
        self.columns.push(column);
    }

    fn batch(self) -> Result<RecordBatch> {
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(
            Arc::new(Schema::new(self.fields)),
            self.columns,
            &options,
        )
        .map_err(|error| Error::internal(format!("the working batch is uneven: {error}")))
    }
}
