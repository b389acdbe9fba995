//! What a training dataset says of itself, in its Parquet metadata.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SourceFile;
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
            Error::invalid(outcome()).with_hint("only files that unskew training-set wrote carry one")
        })?;
        serde_json::from_str(text).map_err(|error| Error::invalid(error.to_string()).context(outcome()))
    }
}
