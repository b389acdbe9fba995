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
    definition::fingerprint::{Class, Difference, check_documents, explain},
    digest::Digest,
    error::{Context, Result},
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
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] when a document, of either, is not what its digest says: they
/// come from files and servers, and an explanation out of changed ones would be a wrong one.
pub fn audit(manifest: &Manifest, served: &Served) -> Result<Vec<ColumnAudit>> {
    check_documents(&manifest.documents).context(|| "the training dataset's manifest")?;
    check_documents(&served.documents).context(|| "what is in force")?;
    let columns = manifest.columns.iter();
    Ok(columns
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
        .collect())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        definition::fingerprint::{Fingerprints, RuntimeRef},
        error::Kind,
        evaluate::testing::in_force,
        offline::{EntitiesRecord, ManifestColumn, RequestRecord},
        time::Timestamp,
    };

    const VIEWS: &str = r#"
[feature_view.spend]
entities = ["customer"]
source = "orders"
transform = "t/echo@1.0.0#f"
inputs = { a = "amount", b = "note" }
features = { amount = { type = "int64", column = "one" } }

[on_demand_feature_view.again]
transform = "t/echo@1.0.0#f"
inputs = { a = "spend:amount", b = "request:word" }
features = { value = { type = "int64", column = "one" } }
"#;

    /// A training dataset with both features, made of what is in force.
    fn manifest(in_force: &InForce) -> Manifest {
        let served = Served::of(in_force);
        let column = |(feature, fingerprint): (&FeatureRef, &Digest)| {
            let column = ManifestColumn { feature: feature.clone(), fingerprint: *fingerprint };
            (feature.full_name(), column)
        };
        Manifest {
            format: 2,
            project: in_force.project.clone(),
            snapshot: in_force.sequence,
            created_at: Timestamp(0),
            runtime: in_force.runtime.clone(),
            request: RequestRecord {
                entities: EntitiesRecord::Sql(String::new()),
                names: BTreeMap::new(),
                selection: crate::offline::Selection::default(),
                timestamp_column: "event_timestamp".to_owned(),
                service: None,
                features: served.features.keys().cloned().collect(),
                full_names: true,
                partition_by: Vec::new(),
            },
            inputs: Vec::new(),
            tables: BTreeMap::new(),
            rows: 0,
            statistics: Vec::new(),
            content_hash: Digest::of(""),
            columns: served.features.iter().map(column).collect(),
            documents: served.documents,
            labels: served.labels,
        }
    }

    fn on_another_runtime(mut in_force: InForce) -> InForce {
        let runtime = RuntimeRef { name: "other".to_owned(), digest: Digest::of("other") };
        in_force.fingerprints = Fingerprints::of(&in_force.state, &runtime).unwrap();
        in_force
    }

    fn edited(edits: &[(&str, &str)]) -> InForce {
        let edit = |text: String, (old, new): &(&str, &str)| {
            assert!(text.contains(old), "{old}");
            text.replacen(old, new, 1)
        };
        in_force(&edits.iter().fold(VIEWS.to_owned(), edit))
    }

    const TRANSFORM: (&str, &str) = (
        "transform = \"t/echo@1.0.0#f\"\ninputs = { a = \"amount\", b = \"note\" }",
        "transform = \"t/three@1.0.0#g\"\ninputs = { a = \"amount\" }",
    );
    const TTL: (&str, &str) = ("source = \"orders\"", "source = \"orders\"\nttl = \"1d\"");
    const NO_AGAIN: (&str, &str) = ("again]", "renamed]");

    #[test]
    fn columns_stand_as_what_decides_them() {
        use Standing::{DefinitionDiffers, NoLongerServed, RuntimeDiffers, Same, TransformDiffers};
        let trained = manifest(&in_force(VIEWS));
        let check = |now: InForce, again: Standing, spend: Standing| {
            let audited = audit(&trained, &Served::of(&now)).unwrap();
            let standings: Vec<_> = audited.iter().map(|column| column.standing).collect();
            assert_eq!(standings, [again, spend]);
            for column in audited {
                let differs = !matches!(column.standing, Same | NoLongerServed);
                assert_eq!(!column.differences.is_empty(), differs, "{column:?}");
                assert_eq!(column.now.is_none(), column.standing == NoLongerServed);
                assert_eq!(column.now == Some(column.trained), column.standing == Same);
            }
        };
        check(in_force(VIEWS), Same, Same);
        check(edited(&[TRANSFORM]), TransformDiffers, TransformDiffers);
        check(edited(&[TTL]), DefinitionDiffers, DefinitionDiffers);
        check(edited(&[NO_AGAIN]), NoLongerServed, Same);
        check(edited(&[TTL, TRANSFORM]), TransformDiffers, TransformDiffers);
        check(on_another_runtime(in_force(VIEWS)), RuntimeDiffers, RuntimeDiffers);
        check(on_another_runtime(edited(&[TTL])), DefinitionDiffers, DefinitionDiffers);
        check(on_another_runtime(edited(&[TRANSFORM])), TransformDiffers, TransformDiffers);
    }

    #[test]
    fn changed_documents_are_refused_on_either_side() {
        let trained = in_force(VIEWS);
        let spoil = |documents: &mut BTreeMap<Digest, Value>| {
            documents.values_mut().for_each(|document| document["ttl"] = json!(7));
        };
        let (mut manifest, mut served) = (manifest(&trained), Served::of(&trained));
        spoil(&mut served.documents);
        let error = audit(&manifest, &served).unwrap_err();
        assert!(error.message().starts_with("what is in force: "), "{error}");
        spoil(&mut manifest.documents);
        let error = audit(&manifest, &served).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.message().starts_with("the training dataset's manifest: "), "{error}");
    }
}
