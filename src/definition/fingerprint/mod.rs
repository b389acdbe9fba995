//! Fingerprints: one digest for all that decides what a feature is.
//!
//! The fingerprint of a feature is the digest of a document, in canonical JSON, with what defines
//! the feature and the digests of the documents that it builds on:
//! ```text
//! feature            rows, column, type, default, ttl
//! on_demand_feature  transform, params, inputs, on_error, runtime, output, type, default
//! rows               join keys, source; with a transform: as above, short of the output
//! source             data, timestamp, created, visible; for a query, the data of the sources
//!                    whose names occur in it, and in the queries of those
//! ```
//! A transform counts by its digest and the name of the function, the runtime by its digest. What
//! things are called and what is said about them does not count: entities, views and features may
//! be renamed, transforms published again under another version.

mod build;
mod explain;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::build::Builder;
pub(super) use self::build::mentioned;
pub use self::explain::{Class, Difference, explain};
use super::State;
use crate::{
    digest::Digest,
    error::{Error, Result},
    name::FeatureRef,
};

/// The runtime that computes values: everything besides a transform's bytes that could change what
/// it gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeRef {
    /// What people call it.
    pub name: String,
    /// The digest of its description.
    pub digest: Digest,
}

/// Documents by their digests.
pub type Documents = BTreeMap<Digest, Value>;

/// The fingerprints of all features of a [`State`], and the documents they are the digests of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fingerprints {
    features: BTreeMap<FeatureRef, Digest>,
    rows: BTreeMap<String, Digest>,
    documents: Documents,
    labels: BTreeMap<Digest, String>,
}

impl Fingerprints {
    /// The fingerprints of everything in `state`, computed by `runtime`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when the state is not one that passed the check: when a
    /// name in it stands for nothing, or on-demand feature views read each other in a circle.
    pub fn of(state: &State, runtime: &RuntimeRef) -> Result<Self> {
        Builder::new(state, runtime).build()
    }

    /// The fingerprints of all features.
    pub fn features(&self) -> &BTreeMap<FeatureRef, Digest> {
        &self.features
    }

    /// The fingerprint of a feature of a view of either kind.
    pub fn feature(&self, feature: &FeatureRef) -> Option<Digest> {
        self.features.get(feature).copied()
    }

    /// The fingerprint of the rows that the features of a feature view are taken from: their keys,
    /// their source and, with a transform, what computes them. Which columns of them are features,
    /// and of which type, is not part of it: that is in the fingerprints of the features.
    pub fn rows(&self, view: &str) -> Option<Digest> {
        self.rows.get(view).copied()
    }

    /// Every document.
    pub fn documents(&self) -> &Documents {
        &self.documents
    }

    /// What people call things whose digests stand in documents and that have no document of their
    /// own: transforms (`team/name@version`; more than one where versions are equal byte for
    /// byte) and the runtime.
    pub fn labels(&self) -> &BTreeMap<Digest, String> {
        &self.labels
    }

    /// The documents of these digests, with all that they build on.
    pub fn closure(&self, digests: &[Digest]) -> Documents {
        let mut closure = Documents::new();
        let mut wanted = digests.to_vec();
        while let Some(digest) = wanted.pop() {
            if let (Some(document), false) =
                (self.documents.get(&digest), closure.contains_key(&digest))
            {
                digests_in(document, &mut wanted);
                closure.insert(digest, document.clone());
            }
        }
        closure
    }
}

/// Checks documents that come from outside: each has to be what its digest says.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`], naming the first that is not.
pub fn check_documents(documents: &Documents) -> Result<()> {
    for (digest, document) in documents {
        let found = Digest::of_canonical_json(document)?;
        if found != *digest {
            return Err(Error::corrupt(format!(
                "a document was changed: it is stored as {digest} and is {found}"
            )));
        }
    }
    Ok(())
}

/// Collects the strings in a document that are digests.
fn digests_in(value: &Value, found: &mut Vec<Digest>) {
    match value {
        Value::String(text) => found.extend(text.parse::<Digest>()),
        Value::Array(items) => items.iter().for_each(|item| digests_in(item, found)),
        Value::Object(entries) => entries.values().for_each(|item| digests_in(item, found)),
        _ => {}
    }
}

#[cfg(test)]
pub(super) mod tests;
