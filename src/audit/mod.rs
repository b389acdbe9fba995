//! Audits: was it the same code, the same definitions, the same runtime?
//!
//! A training dataset carries the fingerprint of every column and the documents that the
//! fingerprints are digests of. What is in force now, in a registry or in a running server, has
//! fingerprints too. Equal fingerprints are the proof that both compute the same; where they
//! differ, the documents say in what.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::fingerprint::{Class, Difference, explain},
    digest::Digest,
    evaluate::InForce,
    name::FeatureRef,
    offline::Manifest,
};

/// What is in force somewhere, as far as an audit is concerned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Served {
    /// The number of the registry snapshot.
    pub snapshot: u64,
    /// The fingerprint of every feature.
    pub features: BTreeMap<FeatureRef, Digest>,
    /// Every document that a fingerprint is the digest of, or that such a document refers to.
    pub documents: BTreeMap<Digest, Value>,
    /// The names of transforms, by their digests.
    pub labels: BTreeMap<Digest, String>,
}

impl Served {
    /// What `in_force` serves.
    pub fn of(in_force: &InForce) -> Self {
        let fingerprints = &in_force.fingerprints;
        Self {
            snapshot: in_force.sequence,
            features: fingerprints.features().clone(),
            documents: fingerprints.documents().clone(),
            labels: fingerprints.labels().clone(),
        }
    }
}

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It would be computed in the same way now.
    Same,
    /// Another component would compute it.
    TransformDiffers,
    /// Its definition, or that of something it reads, has changed.
    DefinitionDiffers,
    /// Another runtime would run it.
    RuntimeDiffers,
    /// There is no such feature now.
    NoLongerServed,
}

impl Standing {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::TransformDiffers => "transform differs",
            Self::DefinitionDiffers => "definition differs",
            Self::RuntimeDiffers => "runtime differs",
            Self::NoLongerServed => "no longer served",
        }
    }
}

/// What an audit found of one column of a training dataset.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnAudit {
    /// The column.
    pub column: String,
    /// The feature in it.
    pub feature: FeatureRef,
    /// How it stands.
    pub standing: Standing,
    /// The fingerprint it was computed under.
    pub trained: Digest,
    /// The fingerprint it would be computed under now.
    pub now: Option<Digest>,
    /// What differs, from the feature down to what it reads.
    pub differences: Vec<Difference>,
    /// In how many rows the value would be another now, where that was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows_changed: Option<u64>,
}

/// Compares every column of a training dataset with what is in force.
pub fn audit(manifest: &Manifest, served: &Served) -> Vec<ColumnAudit> {
    let columns = manifest.columns.iter();
    columns
        .map(|(column, trained)| {
            let now = served.features.get(&trained.feature).copied();
            let differences = match now {
                Some(now) if now != trained.fingerprint => {
                    explain(&trained.fingerprint, &manifest.documents, &now, &served.documents)
                }
                _ => Vec::new(),
            };
            ColumnAudit {
                column: column.clone(),
                feature: trained.feature.clone(),
                standing: standing(&trained.fingerprint, now.as_ref(), &differences),
                trained: trained.fingerprint,
                now,
                differences,
                rows_changed: None,
            }
        })
        .collect()
}

fn standing(trained: &Digest, now: Option<&Digest>, differences: &[Difference]) -> Standing {
    let any = |class| differences.iter().any(|difference| difference.class == class);
    match now {
        None => Standing::NoLongerServed,
        Some(now) if now == trained => Standing::Same,
        Some(_) if any(Class::Transform) => Standing::TransformDiffers,
        Some(_) if any(Class::Runtime) && !any(Class::Definition) => Standing::RuntimeDiffers,
        Some(_) => Standing::DefinitionDiffers,
    }
}
