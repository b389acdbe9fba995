//! What a training dataset says of itself, in its Parquet metadata.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ColumnStatistics, Selection, partitioned};
use crate::{
    definition::fingerprint::RuntimeRef,
    digest::Digest,
    error::{Context, Error, Result},
    name::FeatureRef,
    storage::{Location, Object},
    time::Timestamp,
};

/// The key of the manifest in a file's metadata.
pub const MANIFEST_KEY: &str = "unskew.manifest";

/// The format of manifests that is written and read.
pub(super) const FORMAT: u32 = 2;

/// How a training dataset came to be: which code, which definitions, which runtime, which inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format: 2.
    pub format: u32,
    /// The project.
    pub project: String,
    /// The number of the registry snapshot that was in force.
    pub snapshot: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The runtime that ran the transforms.
    pub runtime: RuntimeRef,
    /// The request that made it.
    pub request: RequestRecord,
    /// The files that were read for the features, as they were.
    pub inputs: Vec<SourceFile>,
    /// The versions that were read of Delta tables, by source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, TableVersion>,
    /// How many rows it has.
    pub rows: u64,
    /// The hash of its content, independent of how the file is laid out.
    pub content_hash: Digest,
    /// The features, by the names of their columns.
    pub columns: BTreeMap<String, ManifestColumn>,
    /// What the values are like, column by column in their order; a dataset that was made before there
    /// were statistics has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statistics: Vec<ColumnStatistics>,
    /// Every document that a fingerprint is the digest of, or that such a document refers to.
    pub documents: BTreeMap<Digest, Value>,
    /// The names of the transforms, by their digests.
    pub labels: BTreeMap<Digest, String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The entity dataframe.
    pub entities: EntitiesRecord,
    /// What its columns are called here, and there, for those whose names differ.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, String>,
    /// Its column with the time of each row, as it is called here.
    pub timestamp_column: String,
    /// Which of its rows were taken.
    #[serde(flatten)]
    pub selection: Selection,
    /// The service that was asked for, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The features, in the order of the columns.
    pub features: Vec<FeatureRef>,
    /// Whether the columns are called `view__feature`.
    pub full_names: bool,
    /// The columns that the dataset is partitioned by; a dataset in one file is by none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<String>,
}

/// Where the entity rows were from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntitiesRecord {
    /// A file, as it was.
    File(SourceFile),
    /// A query over the sources.
    Sql(String),
}

/// The version that was read of a Delta table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableVersion {
    /// Where the table is, as [`SourceFile::path`].
    pub path: String,
    /// The version.
    pub version: u64,
}

/// A feature's column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestColumn {
    /// The feature.
    pub feature: FeatureRef,
    /// The fingerprint it was computed under.
    pub fingerprint: Digest,
}

/// A file that was read, as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path, relative to the project's folder where it is in there, or its URL.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written to the last time; to the microsecond.
    pub modified: Timestamp,
    /// What its store calls this state of it; files on this machine have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The SHA-256 of its bytes, where it was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Digest>,
}

impl SourceFile {
    /// A file as it was found; paths are written relative to `folder`. The bytes are not read.
    pub fn of(object: &Object, folder: &Path) -> Self {
        let remote = matches!(object.location, Location::Remote { .. });
        Self {
            path: object.location.relative_to(folder),
            size: object.meta.size,
            modified: Timestamp(object.meta.last_modified.timestamp_micros()),
            etag: object.meta.e_tag.clone().filter(|_| remote),
            hash: None,
        }
    }
}

impl Manifest {
    /// The manifest of a dataset: a file, or a folder where it is partitioned.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] without the file, [`crate::error::Kind::Invalid`] when it
    /// is no Parquet file or carries no manifest that can be read.
    pub fn read(file: &Path) -> Result<Self> {
        let outcome = || format!("no manifest in {}", file.display());
        if file.is_dir() {
            let path = file.join(partitioned::MANIFEST);
            let text = std::fs::read_to_string(&path)
                .context(|| path.display().to_string())
                .context(outcome)?;
            return Self::parse(&text).context(outcome);
        }
        let metadata = super::read_metadata(file).context(outcome)?;
        let text = metadata.get(MANIFEST_KEY).ok_or_else(|| {
            Error::invalid(outcome())
                .with_hint("only files that unskew training-set wrote carry one")
        })?;
        Self::parse(text).context(outcome)
    }

    fn parse(text: &str) -> Result<Self> {
        /// The one key that every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| Error::invalid(error.to_string());
        let Format { format } = serde_json::from_str(text).map_err(unreadable)?;
        if format != FORMAT {
            let remedy = match format < FORMAT {
                true => "build the dataset again, or read it with the unskew that wrote it",
                false => "read it with the unskew that wrote it",
            };
            return Err(Error::invalid(format!(
                "it has format {format}, and this unskew reads format {FORMAT}"
            ))
            .with_hint(remedy));
        }
        serde_json::from_str(text).map_err(unreadable)
    }

    /// The text that is kept in a file.
    pub(super) fn to_text(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("a manifest has no JSON form: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, Int64Array, RecordBatch},
        datatypes::Schema,
    };
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn only_manifests_of_this_format_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.parquet");
        let check = |manifest: Option<&str>, expect: &str| {
            let column: ArrayRef = std::sync::Arc::new(Int64Array::from(vec![1]));
            let batch = RecordBatch::try_from_iter([("a", column)]).unwrap();
            let metadata = manifest.map(|text| (MANIFEST_KEY.to_owned(), text.to_owned()));
            let fields = batch.schema().fields().clone();
            let schema = Schema::new_with_metadata(fields, metadata.into_iter().collect());
            let batch = batch.with_schema(schema.into()).unwrap();
            let file = std::fs::File::create(&path).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            for (key, value) in batch.schema().metadata() {
                let entry = parquet::file::metadata::KeyValue::new(key.clone(), value.clone());
                writer.append_key_value_metadata(entry);
            }
            writer.write(&batch).unwrap();
            writer.close().unwrap();
            let error = Manifest::read(&path).unwrap_err().to_string();
            assert!(error.contains("no manifest in") && error.contains(expect), "{error}");
        };
        check(None, "only files that unskew training-set wrote carry one");
        check(Some("{}"), "missing field");
        check(Some(r#"{"format": 2}"#), "missing field");
        check(Some(r#"{"format": 1}"#), "it has format 1, and this unskew reads format 2");
        check(Some(r#"{"format": 1}"#), "hint: build the dataset again");
        check(Some(r#"{"format": 3}"#), "it has format 3, and this unskew reads format 2");
    }
}
