//! Training datasets: the entity dataframe, with every feature as it was at each row's time.
//!
//! ```text
//! entity rows ─► point-in-time join with every view's source rows ─► features ─► order ─► Parquet
//! ```
//! The features are made by the very functions that serving and materialization call
//! ([`crate::evaluate`]); what is joined here are the source rows that they are made from.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::{
    array::{Array, ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::{Field as ArrowField, Schema},
};
use datafusion::{dataframe::DataFrame, logical_expr::ident};
use serde::{Deserialize, Serialize};

use super::{
    BatchFunction, Content, EntityDataframe, EntityRequest, JoinSpec, Layout, MANIFEST_KEY,
    Manifest, Operator, Progress, Sources, ViewJoin,
    errors::from_datafusion,
    in_order,
    inputs::{Inputs, find_entities},
    join_views,
    partitioned::write_partitioned,
    record::{Made, manifest},
    statistics::watch,
    stream::stream,
    transform, write_parquet,
};
use crate::{
    definition::{
        Source,
        retrieval::{EVENT_TIME, Retrieval, ViewRead, Wanted},
    },
    error::{Error, Result},
    evaluate::{InForce, OnDemand, StoredFeatures, Working},
    name::FeatureRef,
    time::Timestamp,
    value::Field,
    wasm::RowError,
};

/// What a training dataset is made of.
#[derive(Debug, Clone)]
pub struct TrainingRequest {
    /// The entity dataframe.
    pub entities: EntityRequest,
    /// Which features.
    pub wanted: Wanted,
    /// Whether the columns are called `view__feature`.
    pub full_names: bool,
    /// The columns that the dataset is partitioned by, which makes it a folder; by none, it is a file.
    pub partition_by: Vec<String>,
}

/// A training dataset that was written.
#[derive(Debug)]
pub struct TrainingSetWritten {
    /// What the file says of itself.
    pub manifest: Manifest,
    /// Rows for which a view's function had no value, by view.
    pub row_errors: BTreeMap<String, RowErrors>,
    /// What the operators of the plan did.
    pub plan: Operator,
}

/// Rows for which a function had no value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowErrors {
    /// How many.
    pub count: u64,
    /// The message of one of them.
    pub example: String,
}

impl RowErrors {
    /// Adds the errors of a batch. The example is the least of the messages, so that it does not
    /// depend on which batch came first.
    pub fn add(&mut self, errors: &[RowError]) {
        self.count += errors.len() as u64;
        if let Some(least) = errors.iter().map(|error| &error.message).min()
            && (self.example.is_empty() || *least < self.example)
        {
            self.example.clone_from(least);
        }
    }

    /// Adds what was counted elsewhere.
    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        let least = self.example.is_empty() || other.example < self.example;
        if other.count > 0 && least {
            self.example.clone_from(&other.example);
        }
    }
}

/// Builds a training dataset and writes it to `output`, which is there only when it is complete. Of
/// the sources, those that it is made of are opened.
/// `progress` is told how many rows there will be, as far as that is known, and what it gives is told
/// of rows as they are written.
///
/// # Errors
/// Those of [`Retrieval::plan`], of the entity dataframe, of the sources, of a view's function
/// where its definition says so, and of writing; [`crate::error::Kind::Conflict`] when a file that
/// is read changes meanwhile, or would be replaced by the output.
pub async fn write_training_set(
    in_force: &InForce,
    sources: &mut Sources,
    request: &TrainingRequest,
    output: &Path,
    now: Timestamp,
    progress: impl FnOnce(Option<u64>) -> Progress,
) -> Result<TrainingSetWritten> {
    let retrieval = Retrieval::plan(&in_force.state, &request.wanted, request.full_names)?;
    let file = find_entities(&request.entities.origin, &sources.places().storage).await?;
    open_read(&retrieval, sources).await?;
    let entities = open_entities(&request.entities, &retrieval, sources).await;
    let read = sources_read(&retrieval, entities.as_ref().ok());
    let inputs = Inputs::new(sources, &read, file)?;
    inputs.refuse_output(output)?;
    let entities = inputs.settle(entities.clone()).await?;
    let rows = training_rows(in_force, sources, &retrieval, &entities);
    let (rows, row_errors) = inputs.settle(rows).await?;
    let (rows, plan) = stream(rows, progress(entities.rows())).await?;
    let (rows, watching) = watch(rows);
    let hashing = inputs.start_hashing();
    let mut said = None;
    let tell = async |content: &Content| {
        let hashed = hashing.finish().await?;
        // Only now: what changed while it was hashed has the hash of what was not read.
        inputs.refuse_changed().await?;
        let made = Made {
            read: &read,
            inputs: hashed,
            statistics: watching.finish().await?,
            content: *content,
            now,
        };
        let manifest = manifest(in_force, sources, &retrieval, request, made)?;
        let text = manifest.to_text()?;
        said = Some(manifest);
        Ok(text)
    };
    let written = match request.partition_by.as_slice() {
        [] => {
            let metadata =
                async |content: &Content| Ok(vec![(MANIFEST_KEY.to_owned(), tell(content).await?)]);
            write_parquet(rows, output, metadata).await
        }
        by => write_partitioned(rows, output, by, tell).await,
    };
    inputs.settle(written).await?;
    let plan = Operator::of(plan.as_ref());
    let manifest = said.ok_or_else(|| Error::internal("a training dataset has no manifest"))?;
    Ok(TrainingSetWritten { manifest, row_errors: row_errors.take(), plan })
}

/// Opens the sources that a retrieval reads: what is wrong with another is no concern of its.
pub(super) async fn open_read(retrieval: &Retrieval<'_>, sources: &mut Sources) -> Result<()> {
    sources.open(retrieval.views.iter().map(|read| read.view.source.as_str())).await
}

/// The entity dataframe of a request, with what a retrieval wants of it.
pub(super) async fn open_entities(
    request: &EntityRequest,
    retrieval: &Retrieval<'_>,
    sources: &mut Sources,
) -> Result<EntityDataframe> {
    let brought = retrieval.join_keys.iter().chain(&retrieval.request);
    let brought = brought.map(|(name, data_type)| (name.clone(), *data_type)).collect();
    EntityDataframe::open(request, &brought, sources).await
}

/// The sources that a retrieval reads, and those that the entity dataframe does.
pub(super) fn sources_read<'a>(
    retrieval: &Retrieval<'a>,
    entities: Option<&'a EntityDataframe>,
) -> Vec<&'a str> {
    let views = retrieval.views.iter().map(|read| read.view.source.as_str());
    let entities = entities.into_iter().flat_map(EntityDataframe::sources);
    views.chain(entities.map(String::as_str)).collect()
}

/// The rows of a training dataset, in order, and where the errors of its rows are collected.
pub(super) fn training_rows(
    in_force: &InForce,
    sources: &Sources,
    retrieval: &Retrieval<'_>,
    entities: &EntityDataframe,
) -> Result<(DataFrame, Collected)> {
    let rows = entities.read(sources.context())?;
    assemble(in_force, sources, retrieval, rows, entities)
}

/// The rows of a training dataset, in the order of the entity rows, and the place where the errors
/// of its rows are collected while it is read.
pub(super) fn assemble(
    in_force: &InForce,
    sources: &Sources,
    retrieval: &Retrieval<'_>,
    rows: DataFrame,
    entities: &EntityDataframe,
) -> Result<(DataFrame, Collected)> {
    refuse_taken(&rows, retrieval)?;
    let carried =
        rows.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    let outputs = retrieval.outputs.iter().map(|output| output.name.clone());
    let columns: Vec<String> = carried.into_iter().chain(outputs).collect();
    let joins = retrieval.views.iter().map(|read| join(in_force, sources, read, entities));
    let joined = join_views(rows, joins.collect::<Result<Vec<_>>>()?)?;
    let function = TrainingRow::new(in_force, retrieval, entities.time())?;
    let collected = function.errors.clone();
    let computed = transform(joined, Arc::new(function))?;
    let picked = computed.select(columns.iter().map(ident)).map_err(from_datafusion)?;
    Ok((in_order(picked)?, collected))
}

fn refuse_taken(rows: &DataFrame, retrieval: &Retrieval<'_>) -> Result<()> {
    let taken = |name: &str| rows.schema().has_column_with_unqualified_name(name);
    match retrieval.outputs.iter().find(|output| taken(&output.name)) {
        Some(output) => Err(Error::invalid(format!(
            "no training dataset: the entity dataframe has a column \"{}\" already, as feature {} is called",
            output.name, output.reference
        ))
        .with_hint("take the column out of the entity dataframe, or ask for full feature names")),
        None => Ok(()),
    }
}

/// The name of a column of a source row, once it is joined: no other column can have it.
fn joined_column(view: &str, column: &str) -> String {
    format!("{view}/{column}")
}

/// The name of the column with the event time of the source row that was joined.
fn matched_column(view: &str) -> String {
    format!("{view}/")
}

fn join(
    in_force: &InForce,
    sources: &Sources,
    read: &ViewRead<'_>,
    entities: &EntityDataframe,
) -> Result<ViewJoin> {
    let content = in_force.state.content(read.view);
    let outputs =
        content.iter().map(|field| (field.name.clone(), joined_column(read.name, &field.name)));
    let layout = Arc::new(Layout { keys: read.join_keys.clone(), content: content.clone() });
    let source = source(in_force, read)?;
    let spec = JoinSpec {
        layout: Arc::clone(&layout),
        time: entities.time().to_owned(),
        ttl: read.view.ttl,
        visible: source.visible,
        outputs: outputs.collect(),
        matched_event: Some(matched_column(read.name)),
    };
    let period = entities.period().seen_with(read.view.ttl);
    let rows = sources.rows(&read.view.source, &layout, period)?;
    Ok(ViewJoin { rows, spec })
}

fn source<'a>(in_force: &'a InForce, read: &ViewRead<'_>) -> Result<&'a Source> {
    let source = in_force.state.definitions.sources.get(&read.view.source);
    source.ok_or_else(|| Error::internal(format!("view {} has no source", read.name)))
}

/// Errors of rows, by view, collected while partitions are computed side by side.
#[derive(Debug, Clone, Default)]
pub(super) struct Collected(Arc<Mutex<BTreeMap<String, RowErrors>>>);

impl Collected {
    pub(super) fn add(&self, view: &str, errors: &[RowError]) {
        if !errors.is_empty() {
            let mut collected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            collected.entry(view.to_owned()).or_default().add(errors);
        }
    }

    pub(super) fn take(&self) -> BTreeMap<String, RowErrors> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Joined rows → features: what serving does with rows of the online store.
#[derive(Debug)]
struct TrainingRow {
    views: Vec<JoinedView>,
    on_demand: OnDemand,
    /// Columns of the entity dataframe that the on-demand views read.
    request: Vec<String>,
    time: String,
    /// Every column of the joined rows that is read.
    inputs: Vec<String>,
    /// The working columns that are the outputs.
    picked: Vec<String>,
    outputs: Vec<Field>,
    errors: Collected,
}

/// A stored view, as the join gives it.
#[derive(Debug)]
struct JoinedView {
    name: String,
    content: Vec<Field>,
    features: StoredFeatures,
    /// `view:feature`, for each of the features.
    columns: Vec<Arc<str>>,
}

impl TrainingRow {
    fn new(in_force: &InForce, retrieval: &Retrieval<'_>, time: &str) -> Result<Self> {
        let output = |output: &crate::definition::retrieval::Output<'_>| Field {
            name: output.name.clone(),
            data_type: output.feature.data_type,
            nullable: true,
            documentation: output.feature.description.clone(),
        };
        let views = retrieval.views.iter().map(|read| JoinedView::new(in_force, read));
        let views: Vec<JoinedView> = views.collect::<Result<_>>()?;
        let brought = retrieval.request.keys().cloned().chain([time.to_owned()]);
        Ok(Self {
            inputs: brought.chain(views.iter().flat_map(JoinedView::inputs)).collect(),
            views,
            on_demand: OnDemand::new(retrieval, &in_force.library)?,
            request: retrieval.request.keys().cloned().collect(),
            time: time.to_owned(),
            picked: retrieval.outputs.iter().map(|output| output.reference.to_string()).collect(),
            outputs: retrieval.outputs.iter().map(output).collect(),
            errors: Collected::default(),
        })
    }

    fn working(&self, joined: &RecordBatch) -> Result<Working> {
        let mut working = Working::new(joined.num_rows());
        working.put(EVENT_TIME.into(), column(joined, &self.time)?)?;
        for name in &self.request {
            working.put(name.as_str().into(), column(joined, name)?)?;
        }
        for view in &self.views {
            for (name, column) in view.columns.iter().zip(view.take(joined, &self.errors)?) {
                working.put(Arc::clone(name), column)?;
            }
        }
        Ok(working)
    }
}

impl BatchFunction for TrainingRow {
    fn name(&self) -> &str {
        "features"
    }

    fn inputs(&self) -> &[String] {
        &self.inputs
    }

    fn outputs(&self) -> &[Field] {
        &self.outputs
    }

    fn run(&self, joined: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let computed = self.on_demand.run(self.working(joined)?)?;
        for (view, errors) in &computed.errors {
            self.errors.add(view, errors);
        }
        self.picked.iter().map(|name| computed.columns.column(name).cloned()).collect()
    }
}

impl JoinedView {
    fn new(in_force: &InForce, read: &ViewRead<'_>) -> Result<Self> {
        let names = || read.features.keys().copied();
        let reference =
            |feature: &str| FeatureRef { view: read.name.to_owned(), feature: feature.to_owned() };
        Ok(Self {
            name: read.name.to_owned(),
            content: in_force.state.content(read.view),
            features: StoredFeatures::new(read.view, names(), &in_force.library)?,
            columns: names().map(|feature| reference(feature).to_string().into()).collect(),
        })
    }

    /// The columns of the joined rows that it reads.
    fn inputs(&self) -> impl Iterator<Item = String> {
        let content = self.content.iter().map(|field| joined_column(&self.name, &field.name));
        content.chain([matched_column(&self.name)])
    }

    fn take(&self, joined: &RecordBatch, errors: &Collected) -> Result<Vec<ArrayRef>> {
        let columns = self
            .content
            .iter()
            .map(|field| column(joined, &joined_column(&self.name, &field.name)));
        let content = batch(&self.content, columns.collect::<Result<_>>()?, joined.num_rows())?;
        let matched = column(joined, &matched_column(&self.name))?;
        let evaluated = match matched.nulls() {
            Some(matched) => self.features.run_matched(&content, matched)?,
            None => self.features.run(&content)?,
        };
        errors.add(&self.name, &evaluated.errors);
        Ok(evaluated.columns)
    }
}

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let column = batch.column_by_name(name).cloned();
    column.ok_or_else(|| Error::internal(format!("the joined rows lack column \"{name}\"")))
}

fn batch(fields: &[Field], columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields = fields
        .iter()
        .zip(&columns)
        .map(|(field, column)| ArrowField::new(&field.name, column.data_type().clone(), true));
    let schema = Schema::new(fields.collect::<Vec<_>>());
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema.into(), columns, &options)
        .map_err(|error| Error::internal(format!("the joined rows are uneven: {error}")))
}
