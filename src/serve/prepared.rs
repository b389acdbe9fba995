//! A retrieval plan, bound to the store and the transforms, and run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use arrow::{
    array::{
        Array, ArrayRef, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, new_null_array,
    },
    buffer::NullBuffer,
    datatypes::{Field as ArrowField, Schema},
};

use super::{
    Answer, AnswerColumn, AnswerFeature, Class, Refused, Status,
    meters::{ViewMeters, stage},
    request::EntityRows,
};
use crate::{
    definition::{
        FeatureView, Input, Visible,
        retrieval::{EVENT_TIME, Output, Retrieval, ViewRead, Wanted},
    },
    error::{Error, Kind, Result},
    evaluate::{Computed, InForce, OnDemand},
    name::FeatureRef,
    online::{
        EntityKeys, FingerprintPrefix, Lookup, ReadRows, RowVersion, StoredColumns, Stores,
        ValueSchema, ViewId, value_fingerprint,
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
    /// The meters of the views that the outputs are of.
    meters: BTreeMap<String, ViewMeters>,
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
    ttl: Option<Span>,
    visible: Visible,
    /// What decides what is stored for the view now: rows under another definition are told of.
    definition: FingerprintPrefix,
    stored: StoredColumns,
    schema: ValueSchema,
    /// The column of the working batch for each of the features: `view:feature`.
    features: Vec<Arc<ArrowField>>,
}

/// A feature of the answer.
#[derive(Debug)]
struct Target {
    feature: Arc<AnswerFeature>,
    /// The stored views that its values come from.
    reads: BTreeSet<String>,
    column: String,
    name: Arc<str>,
    has_default: bool,
}

/// What the store had for a view.
struct Found {
    statuses: Arc<Vec<Status>>,
    event_timestamps: Arc<Vec<Timestamp>>,
    other_definition: Arc<BTreeSet<u32>>,
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
        let reads = reads(&retrieval);
        let targets = retrieval.outputs.iter().map(|output| Target::new(output, &reads, in_force));
        let requesting = retrieval.steps.iter().filter(|step| {
            let mut inputs = step.view.transform.inputs.values();
            inputs.any(|input| matches!(input, Input::Request(..)))
        });
        let outputs: Vec<Target> = targets.collect::<Result<_>>()?;
        let views = outputs.iter().map(|target| target.feature.reference.view.as_str());
        Ok(Self {
            meters: views.map(|view| (view.to_owned(), ViewMeters::new(view))).collect(),
            request_views: requesting.map(|step| step.name.to_owned()).collect(),
            groups: groups(&retrieval.views, in_force)?,
            on_demand: OnDemand::new(&retrieval, &in_force.library)?,
            outputs,
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
        self.meters.keys().map(String::as_str)
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
        let (mut found, mut unavailable) = (BTreeMap::new(), BTreeMap::new());
        let mut working = Working::new(&entities);
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
            for (place, view) in group.views.iter().enumerate() {
                found.insert(view.name.as_str(), view.take(place, &rows, &entities, &mut working)?);
            }
        }
        stage("store", begun);
        let since = Instant::now();
        let computed = self.on_demand.run_in_turn(working.batch()?).await?;
        let answer = self.assemble(&entities, &found, &computed, unavailable);
        stage("compute", since);
        self.meters.values().for_each(|meters| meters.took(begun));
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

    fn assemble(
        &self,
        entities: &EntityRows,
        found: &BTreeMap<&str, Found>,
        computed: &Computed,
        unavailable: BTreeMap<String, String>,
    ) -> Result<Answer> {
        let none = Arc::new(BTreeSet::new());
        let epoch = Arc::new(vec![Timestamp(0); entities.rows]);
        let now = Arc::new(vec![entities.event_time; entities.rows]);
        let present = Arc::new(vec![Status::Present; entities.rows]);
        let schema = computed.batch.schema_ref();
        let mut next = 0;
        let keys =
            self.join_keys.keys().filter_map(|name| Some((name, entities.columns.get(name)?)));
        let mut columns: Vec<AnswerColumn> = keys
            .map(|(name, values)| AnswerColumn {
                name: name.as_str().into(),
                feature: None,
                values: Arc::clone(values),
                statuses: Arc::clone(&present),
                event_timestamps: Arc::clone(&epoch),
                defaulted: false,
                computed_by_other_definition: Arc::clone(&none),
            })
            .collect();
        for target in &self.outputs {
            let view = target.feature.reference.view.as_str();
            let stored = found.get(view);
            let mut statuses =
                target.statuses(stored.map_or(&present, |found| &found.statuses), computed);
            let lost = target.reads.iter().any(|view| unavailable.contains_key(view));
            if lost {
                statuses = Arc::new(vec![Status::Invalid; entities.rows]);
            }
            // Features of a view are mostly asked for side by side.
            let mut places = (next..schema.fields().len()).chain(0..next);
            let place = places.find(|place| *schema.field(*place).name() == target.column);
            let place = place.ok_or_else(|| {
                Error::internal(format!("the working batch lacks \"{}\"", target.column))
            })?;
            next = place + 1;
            if let Some(meters) = self.meters.get(view) {
                meters.count(&statuses);
            }
            columns.push(AnswerColumn {
                name: Arc::clone(&target.name),
                feature: Some(Arc::clone(&target.feature)),
                values: match lost {
                    // No default stands for what may well be there.
                    true => new_null_array(schema.field(place).data_type(), entities.rows),
                    false => Arc::clone(computed.batch.column(place)),
                },
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
        let errors = computed.errors.iter().flat_map(|(view, errors)| {
            errors.iter().map(|error| (view.clone(), error.row, error.message.clone()))
        });
        Ok(Answer { columns, errors: errors.collect(), unavailable })
    }
}

impl Target {
    fn new(
        output: &Output<'_>,
        reads: &BTreeMap<&str, BTreeSet<String>>,
        in_force: &InForce,
    ) -> Result<Self> {
        let fingerprint = in_force.fingerprints.feature(&output.reference).ok_or_else(|| {
            Error::internal(format!("feature {} has no fingerprint", output.reference))
        })?;
        Ok(Self {
            column: output.reference.to_string(),
            reads: reads.get(output.reference.view.as_str()).cloned().unwrap_or_default(),
            feature: Arc::new(AnswerFeature {
                reference: output.reference.clone(),
                fingerprint: fingerprint.to_string(),
            }),
            name: output.name.as_str().into(),
            has_default: output.feature.default.is_some(),
        })
    }

    /// What became of each row, from how its view's row was found; the same list where nothing
    /// more is to be said.
    fn statuses(&self, found: &Arc<Vec<Status>>, computed: &Computed) -> Arc<Vec<Status>> {
        let mut statuses = Arc::clone(found);
        if let Some(missing) = computed.missing.get(&self.column) {
            let is_news = |(row, status): (usize, &Status)| {
                *status == Status::Present && missing.is_null(row)
            };
            if statuses.iter().enumerate().any(is_news) {
                let statuses: &mut Vec<Status> = Arc::make_mut(&mut statuses);
                mark_null(statuses, missing);
            }
        }
        for error in computed.errors.get(&self.feature.reference.view).into_iter().flatten() {
            if let Some(status) = Arc::make_mut(&mut statuses).get_mut(error.row as usize) {
                *status = Status::Invalid;
            }
        }
        statuses
    }
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

fn mark_null(statuses: &mut [Status], missing: &NullBuffer) {
    for (row, status) in statuses.iter_mut().enumerate() {
        if *status == Status::Present && missing.is_null(row) {
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

fn groups(reads: &[ViewRead<'_>], in_force: &InForce) -> Result<Vec<Group>> {
    type Shared = (Option<String>, Vec<(String, DataType)>);
    let mut groups: BTreeMap<Shared, Vec<&ViewRead<'_>>> = BTreeMap::new();
    for read in reads {
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
                .map(|read| StoredView::new(read, in_force))
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
    fn new(read: &ViewRead<'_>, in_force: &InForce) -> Result<Self> {
        let rows = in_force
            .fingerprints
            .rows(read.name)
            .ok_or_else(|| Error::internal(format!("view {} has no fingerprint", read.name)))?;
        let features = read.features.values();
        let all = read.view.features.values();
        let all = all.map(|feature| (feature.column.as_str(), feature.data_type));
        let column = |name: &str| format!("{}:{name}", read.name);
        let stored = StoredColumns::new(
            features.map(|feature| (feature.column.as_str(), feature.data_type)),
        );
        Ok(Self {
            name: read.name.to_owned(),
            ttl: read.view.ttl,
            visible: visibility(read.view, in_force),
            definition: FingerprintPrefix::from(&StoredColumns::new(all).definition(&rows)?),
            features: read
                .features
                .iter()
                .map(|(name, feature)| {
                    Arc::new(ArrowField::new(column(name), feature.data_type.to_arrow(), true))
                })
                .collect(),
            schema: ValueSchema::new(stored.fields())?,
            stored,
        })
    }

    /// Decodes the view's rows into the working batch, null where they cannot be seen at the
    /// request's time.
    fn take(
        &self,
        place: usize,
        read: &ReadRows,
        entities: &EntityRows,
        working: &mut Working,
    ) -> Result<Found> {
        let mut statuses = Vec::with_capacity(entities.rows);
        let mut event_timestamps = Vec::with_capacity(entities.rows);
        let mut other_definition = BTreeSet::new();
        let mut values = Vec::with_capacity(entities.rows);
        for (row, stored) in read.view(place).enumerate() {
            let status = match &stored {
                Some(stored) => self.status(stored.version, entities.event_time),
                None => Status::NotFound,
            };
            let seen = stored.filter(|_| status == Status::Present);
            if let Some(stored) = &seen
                && value_fingerprint(stored.value)? != self.definition
            {
                other_definition.insert(row as u32);
            }
            let shown = stored.filter(|_| status != Status::NotFound);
            event_timestamps.push(shown.map_or(Timestamp(0), |stored| stored.version.event));
            values.push(seen.map(|stored| stored.value));
            statuses.push(status);
        }
        let columns = self.schema.decode(values.into_iter())?;
        for (name, column) in self.features.iter().zip(self.stored.spread(&columns)) {
            working.put(Arc::clone(name), column);
        }
        Ok(Found {
            statuses: Arc::new(statuses),
            event_timestamps: Arc::new(event_timestamps),
            other_definition: Arc::new(other_definition),
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
