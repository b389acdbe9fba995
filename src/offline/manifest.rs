//! What a training dataset says of itself, in its Parquet metadata.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    digest::Digest,
    error::{Context, Error, Result},
    name::FeatureRef,
    time::Timestamp,
};

/// The key of the manifest in a file's metadata.
pub const MANIFEST_KEY: &str = "unskew.manifest";

/// How a training dataset came to be: which code, which definitions, which runtime, which inputs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this format: 1.
    pub format: u32,
    /// The project.
    pub project: String,
    /// The number of the registry snapshot that was in force.
    pub snapshot: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// The request that made it.
    pub request: RequestRecord,
    /// The files that were read, as they were.
    pub inputs: Vec<SourceFile>,
    /// How many rows it has.
    pub rows: u64,
    /// The hash of its content, independent of how the file is laid out.
    pub content_hash: Digest,
    /// The features, by the names of their columns.
    pub columns: BTreeMap<String, ManifestColumn>,
    /// Every document that a fingerprint is the digest of, or that such a document refers to.
    pub documents: BTreeMap<Digest, Value>,
    /// The names of the transforms, by their digests.
    pub labels: BTreeMap<Digest, String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// The entity dataframe's file.
    pub entities: SourceFile,
    /// Its column with the time of each row.
    pub timestamp_column: String,
    /// The service that was asked for, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The features, in the order of the columns.
    pub features: Vec<FeatureRef>,
    /// Whether the columns are called `view__feature`.
    pub full_names: bool,
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
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written to the last time; to the microsecond.
    pub modified: Timestamp,
}

impl SourceFile {
    /// The file at a path, as it is now.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] when there is none.
    pub fn of(path: &Path) -> Result<Self> {
        let outcome = || path.display().to_string();
        let metadata = fs::metadata(path).context(outcome)?;
        let modified = metadata.modified().context(outcome)?;
        let since =
            modified.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros());
        let modified = Timestamp(i64::try_from(since).unwrap_or(i64::MAX));
        Ok(Self { path: path.to_owned(), size: metadata.len(), modified })
    }

    /// The files as they are now, in the order of their paths.
    ///
    /// # Errors
    /// Those of [`SourceFile::of`].
    pub fn all<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Vec<Self>> {
        let mut files = paths.into_iter().map(|path| Self::of(path)).collect::<Result<Vec<_>>>()?;
        files.sort();
        files.dedup();
        Ok(files)
    }
}

impl Manifest {
    /// The manifest of a file.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] without the file, [`crate::error::Kind::Invalid`] when it
    /// is no Parquet file or carries no manifest that can be read.
    pub fn read(file: &Path) -> Result<Self> {
        let outcome = || format!("no manifest in {}", file.display());
        let metadata = super::read_metadata(file).context(outcome)?;
        let text = metadata.get(MANIFEST_KEY).ok_or_else(|| {
            Error::invalid(outcome())
                .with_hint("only files that unskew training-set wrote carry one")
        })?;
        let manifest: Self = serde_json::from_str(text)
            .map_err(|error| Error::invalid(error.to_string()).context(outcome()))?;
        match manifest.format {
            1 => Ok(manifest),
            format => Err(Error::invalid(format!(
                "{}: it has format {format}, and this unskew reads format 1",
                outcome()
            ))),
        }
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
            let file = fs::File::create(&path).unwrap();
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
        let digest = Digest::of("x");
        let entities = r#"{"path": "e", "size": 1, "modified": "1998-01-01"}"#;
        let later = format!(
            r#"{{"format": 2, "project": "p", "snapshot": 1, "created_at": "1998-01-01", "request":
            {{"entities": {entities}, "timestamp_column": "t", "features": [], "full_names": false}},
            "inputs": [], "rows": 1, "content_hash": "{digest}", "columns": {{}}, "documents": {{}},
            "labels": {{}}}}"#
        );
        check(Some(&later), "it has format 2, and this unskew reads format 1");
    }
}
