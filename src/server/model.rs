//! The bodies of requests and responses, as they are on the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    definition::retrieval::Wanted, digest::Digest, error::Result, name::FeatureRef, serve::Answer,
    time::Timestamp, value::column_to_json,
};

/// The body of `POST /get-online-features`. Keys that are not known are passed over, as Feast does.
#[derive(Debug, Deserialize)]
pub(super) struct GetOnlineFeatures {
    /// Join keys and request data, column by column.
    pub entities: BTreeMap<String, Vec<Value>>,
    /// The service; it wins over `features`.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// Features, as `view:feature`.
    #[serde(default)]
    pub features: Option<Vec<String>>,
    /// Whether features are called `view__feature` in the answer.
    #[serde(default)]
    pub full_feature_names: bool,
    /// The time of the request; now, where it is not given.
    #[serde(default)]
    pub event_time: Option<Timestamp>,
}

impl GetOnlineFeatures {
    /// What is asked for.
    pub(super) fn wanted(&self) -> Result<Wanted> {
        if let Some(service) = &self.feature_service {
            return Ok(Wanted::Service(service.clone()));
        }
        let features = self.features.iter().flatten().map(|text| text.parse::<FeatureRef>());
        Ok(Wanted::Features(features.collect::<Result<_>>()?))
    }
}

/// The body of the answer.
#[derive(Debug, Serialize)]
pub struct OnlineFeatures {
    results: Vec<Column>,
    metadata: Metadata,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    row_errors: Vec<RowError>,
}

#[derive(Debug, Serialize)]
struct Column {
    values: Vec<Value>,
    statuses: Vec<&'static str>,
    event_timestamps: Vec<String>,
    /// A default stands wherever the status is not `PRESENT`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    defaulted: bool,
    /// Rows for which the fingerprint does not hold: their view has to be materialized again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    computed_by_other_definition: Vec<u32>,
}

#[derive(Debug, Serialize)]
struct Metadata {
    feature_names: Vec<String>,
    /// The fingerprint of each feature, null for join keys.
    fingerprints: Vec<Option<Digest>>,
    /// The number of the registry snapshot that answered.
    snapshot: u64,
}

#[derive(Debug, Serialize)]
struct RowError {
    view: String,
    row: u32,
    message: String,
}

impl OnlineFeatures {
    /// The body of an answer made from this snapshot.
    pub fn new(answer: Answer, snapshot: u64) -> Self {
        let metadata = Metadata {
            feature_names: answer.columns.iter().map(|column| column.name.clone()).collect(),
            fingerprints: answer
                .columns
                .iter()
                .map(|column| column.feature.as_ref().map(|(_, fingerprint)| *fingerprint))
                .collect(),
            snapshot,
        };
        let results = answer.columns.iter().map(|column| Column {
            values: column_to_json(&column.values),
            statuses: column.statuses.iter().map(|status| status.as_str()).collect(),
            event_timestamps: column.event_timestamps.iter().map(Timestamp::to_string).collect(),
            defaulted: column.defaulted,
            computed_by_other_definition: column
                .computed_by_other_definition
                .iter()
                .copied()
                .collect(),
        });
        let row_errors = answer.errors.into_iter();
        Self {
            results: results.collect(),
            metadata,
            row_errors: row_errors
                .map(|(view, row, message)| RowError { view, row, message })
                .collect(),
        }
    }
}

/// The body of `POST /push`.
#[derive(Debug, Deserialize)]
pub(super) struct Push {
    /// A source, or a feature view.
    pub push_source_name: String,
    /// The rows, column by column.
    pub df: BTreeMap<String, Vec<Value>>,
    /// Where the rows go; only `online`.
    #[serde(default)]
    pub to: Option<String>,
}
