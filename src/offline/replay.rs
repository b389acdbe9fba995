//! Replay: a training dataset built again from its manifest, and what came out otherwise.
//!
//! What can differ is told apart: the files that were read, by path, size and hash
//! ([`changed_inputs`]); what is in force, which an audit of the manifest explains; and the rows
//! ([`replay`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use arrow::array::RecordBatch;
use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream},
};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use serde::Serialize;

use super::{
    ContentHasher, EntitiesRecord, EntityOrigin, EntityRequest, Manifest, Progress, SourceFile,
    Sources,
    changes::differing,
    errors::from_datafusion,
    parquet_file::damaged,
    partitioned::rows_in_order,
    stream::{from_blocking, stream},
    training_set::{open_entities, open_read, sources_read, training_rows},
};
use crate::{
    definition::retrieval::{Retrieval, Wanted},
    digest::Digest,
    error::{Context, Error, Result},
    evaluate::InForce,
    storage::{Location, Storage},
};

/// How many files are hashed at once.
const HASHED_AT_ONCE: usize = 4;

/// How many rows of a partitioned dataset are looked at together.
const BATCH_ROWS: usize = 8192;

/// A file that is not what it was when a dataset was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputChange {
    /// Its path, as in the manifest.
    pub path: String,
    /// What became of it.
    #[serde(flatten)]
    pub change: Change,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// It is not there any more.
    Missing,
    /// It is there now, and was not.
    Added {
        /// The file.
        is: SourceFile,
    },
    /// Its bytes are others.
    Altered {
        /// As the manifest has it.
        was: SourceFile,
        /// As it is.
        is: SourceFile,
    },
}

/// A dataset that was built again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// How many rows there are now.
    pub rows: u64,
    /// The hash of the content that comes out now.
    pub content_hash: Digest,
    /// The hash of the content that is in the file.
    pub file_hash: Digest,
    /// In how many rows a column differs from the file's, where it does in any.
    pub rows_changed: BTreeMap<String, u64>,
}

/// The files of a manifest that are not what they were, by path; paths are relative to `folder`.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] when a store does not answer or denies access.
pub async fn changed_inputs(
    manifest: &Manifest,
    storage: &Storage,
    folder: &Path,
) -> Result<Vec<InputChange>> {
    let entities = match &manifest.request.entities {
        EntitiesRecord::File(file) => Some(file),
        EntitiesRecord::Sql(_) => None,
    };
    let looks = manifest.inputs.iter().chain(entities).map(|was| look(was, storage, folder));
    let changes = stream::iter(looks).buffered(HASHED_AT_ONCE).try_collect::<Vec<_>>().await?;
    let mut changes: Vec<InputChange> = changes.into_iter().flatten().collect();
    changes.sort_by(|one, other| one.path.cmp(&other.path));
    changes.dedup();
    Ok(changes)
}

async fn look(was: &SourceFile, storage: &Storage, folder: &Path) -> Result<Option<InputChange>> {
    let changed = |change| Some(InputChange { path: was.path.clone(), change });
    let location = Location::parse(&was.path, folder)?;
    let Some(object) = storage.find(&location).await? else {
        return Ok(changed(Change::Missing));
    };
    let hash = storage.digest(&location).await?;
    let is = SourceFile { hash: Some(hash), ..SourceFile::of(&object, folder) };
    match was.hash == is.hash {
        true => Ok(None),
        false => Ok(changed(Change::Altered { was: was.clone(), is })),
    }
}

/// Builds the dataset of a manifest again and compares it with the file that carries the manifest,
/// row by row. `sources` are those at the versions of the manifest; the ones that are read are
/// opened. The second result are the
/// files that are read now and are not in the manifest.
///
/// # Errors
/// Those of a training dataset, and of reading the file.
pub async fn replay(
    file: &Path,
    manifest: &Manifest,
    in_force: &InForce,
    sources: &mut Sources,
    progress: impl FnOnce(Option<u64>) -> Progress,
) -> Result<(Rebuilt, Vec<InputChange>)> {
    let wanted = Wanted::Features(manifest.request.features.clone());
    let retrieval = Retrieval::plan(&in_force.state, &wanted, manifest.request.full_names)?;
    let entities = entities(manifest, &sources.places().folder)?;
    open_read(&retrieval, sources).await?;
    let entities = open_entities(&entities, &retrieval, sources).await?;
    let added = added(manifest, sources, &sources_read(&retrieval, Some(&entities)))?;
    let (rows, _) = training_rows(in_force, sources, &retrieval, &entities)?;
    let (now, _) = stream(rows, progress(entities.rows())).await?;
    let mut comparison = Comparison::new(&now.schema());
    let mut now = now.map_err(from_datafusion);
    let mut then = dataset_batches(file, manifest).await?;
    let (mut new, mut old) = (None, None);
    loop {
        new = next(new, &mut now).await?;
        old = next(old, &mut then).await?;
        let lengths = [&new, &old].into_iter().flatten().map(RecordBatch::num_rows);
        let Some(rows) = lengths.min() else {
            return Ok((comparison.finish(), added));
        };
        let (first, second) = (split(&mut new, rows), split(&mut old, rows));
        comparison.add(first.as_ref(), second.as_ref())?;
    }
}

/// The entity dataframe of a manifest, whose paths are relative to `folder`.
fn entities(manifest: &Manifest, folder: &Path) -> Result<EntityRequest> {
    let record = &manifest.request;
    let origin = match &record.entities {
        EntitiesRecord::Sql(sql) => EntityOrigin::Sql(sql.clone()),
        EntitiesRecord::File(file) => {
            let location = Location::parse(&file.path, folder)?;
            let path = location.local().ok_or_else(|| {
                Error::invalid(format!(
                    "the entity dataframe {location} is no file of this machine"
                ))
            })?;
            EntityOrigin::File(path.to_owned())
        }
    };
    Ok(EntityRequest {
        origin,
        names: record.names.clone(),
        time: record.timestamp_column.clone(),
        selection: record.selection,
    })
}

/// The files that are read now and are not in the manifest.
fn added(manifest: &Manifest, sources: &Sources, read: &[&str]) -> Result<Vec<InputChange>> {
    let folder = &sources.places().folder;
    let files = sources.objects(read.iter().copied())?.into_iter();
    let files = files.map(|object| SourceFile::of(object, folder));
    let unknown = files.filter(|file| !manifest.inputs.iter().any(|input| input.path == file.path));
    let added =
        |is: SourceFile| InputChange { path: is.path.clone(), change: Change::Added { is } };
    Ok(unknown.map(added).collect())
}

/// The batches of the dataset of a manifest, in the order of its rows.
async fn dataset_batches(
    path: &Path,
    manifest: &Manifest,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    if path.is_dir() {
        let (path, by) = (path.to_owned(), manifest.request.partition_by.clone());
        let schema = rows_in_order(&path, &by)?.schema();
        return Ok(from_blocking(schema, BATCH_ROWS, move || rows_in_order(&path, &by)));
    }
    let file = tokio::fs::File::open(path).await.context(|| path.display().to_string())?;
    let path = path.display().to_string();
    let reader = ParquetRecordBatchStreamBuilder::new(file).await;
    let reader =
        reader.and_then(|builder| builder.build()).map_err(|error| damaged(&path, &error))?;
    Ok(reader.map_err(move |error| damaged(&path, &error)).boxed())
}

/// What is left of a batch, or the next one with rows.
async fn next(
    left: Option<RecordBatch>,
    batches: &mut (impl futures::Stream<Item = Result<RecordBatch>> + Unpin),
) -> Result<Option<RecordBatch>> {
    let mut batch = left;
    while batch.as_ref().is_none_or(|batch| batch.num_rows() == 0) {
        match batches.next().await {
            Some(next) => batch = Some(next?),
            None => return Ok(None),
        }
    }
    Ok(batch)
}

/// Takes so many rows off a batch.
fn split(batch: &mut Option<RecordBatch>, rows: usize) -> Option<RecordBatch> {
    let held = batch.as_ref()?;
    let (first, rest) = (held.slice(0, rows), held.slice(rows, held.num_rows() - rows));
    *batch = Some(rest);
    Some(first)
}

/// Rows that come out now, beside those of the file.
struct Comparison {
    rows: u64,
    now: ContentHasher,
    then: Option<ContentHasher>,
    changed: BTreeMap<String, u64>,
}

impl Comparison {
    fn new(schema: &arrow::datatypes::Schema) -> Self {
        Self { rows: 0, now: ContentHasher::new(schema), then: None, changed: BTreeMap::new() }
    }

    /// Rows of the same places; one side may have ended.
    fn add(&mut self, now: Option<&RecordBatch>, then: Option<&RecordBatch>) -> Result<()> {
        if let Some(now) = now {
            self.rows += now.num_rows() as u64;
            self.now.update(now)?;
        }
        if let Some(then) = then {
            let hasher = self.then.get_or_insert_with(|| ContentHasher::new(then.schema_ref()));
            hasher.update(then)?;
        }
        let sides = || [now, then].into_iter().flatten();
        let rows = sides().map(|batch| batch.num_rows() as u64).max().unwrap_or(0);
        let fields = sides().flat_map(|batch| batch.schema_ref().fields());
        let names: BTreeSet<&str> = fields.map(|field| field.name().as_str()).collect();
        for name in names {
            let column = |batch: Option<&RecordBatch>| batch?.column_by_name(name).cloned();
            let count = match (column(now), column(then)) {
                (Some(now), Some(then)) if now.to_data() == then.to_data() => 0,
                (Some(now), Some(then)) => differing(&now, &then)?,
                _ => rows,
            };
            if count > 0 {
                *self.changed.entry(name.to_owned()).or_default() += count;
            }
        }
        Ok(())
    }

    fn finish(self) -> Rebuilt {
        let content_hash = self.now.finish();
        Rebuilt {
            rows: self.rows,
            content_hash,
            file_hash: self.then.map_or(content_hash, ContentHasher::finish),
            rows_changed: self.changed,
        }
    }
}
