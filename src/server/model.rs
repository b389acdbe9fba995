//! The bodies of requests and responses, as they are on the wire.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;
use utoipa::ToSchema;

use super::body::Columns;
use crate::{
    error::{Error, Result},
    name::FeatureRef,
    serve::FeatureTexts,
    time::Timestamp,
};

/// A request for features of some entities. Keys that are not known are passed over, as Feast does.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct GetOnlineFeatures {
    /// Join keys and request data, column by column.
    #[schema(value_type = BTreeMap<String, Vec<Value>>, example = json!({"customer_id": [164, 3]}))]
    pub entities: Columns,
    /// The service; it wins over `features`.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// Features, as `view:feature`; a version, as in `view@v2:feature`, is passed over.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub features: Option<FeatureTexts>,
    /// Whether features are called `view__feature` in the answer.
    #[serde(default)]
    pub full_feature_names: bool,
    /// Whether the answer names the views that it was made from.
    #[serde(default)]
    pub include_feature_view_version_metadata: bool,
    /// Whether the answer may lack the views whose store fails: they are null, `INVALID`, and named
    /// under `unavailable`. Without it, such a request fails as a whole.
    #[serde(default)]
    pub allow_partial: bool,
    /// The time of the request; now, where it is not given.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub event_time: Option<Timestamp>,
}

/// The features that a list names, and what of it was passed over.
pub(super) fn features(list: &FeatureTexts) -> Result<(Vec<FeatureRef>, Vec<String>)> {
    let list = list.read().map_err(|error| {
        Error::invalid(format!("features is no list of texts: {error}"))
            .with_hint("GET /openapi.json says what it takes")
    })?;
    let mut warnings = Vec::new();
    let mut feature = |text: &str| match unversioned(text) {
        Some(plain) => {
            warnings.push(format!(
                "the version in {text:?} is passed over: {plain} is served as it is in force"
            ));
            plain.parse::<FeatureRef>()
        }
        None => text.parse(),
    };
    let features = list.iter().map(|text| feature(text)).collect::<Result<_>>()?;
    Ok((features, warnings))
}

/// `view:feature` of `view@v2:feature`; `None` where there is no version.
fn unversioned(text: &str) -> Option<String> {
    let (view, feature) = text.split_once(':')?;
    let (view, version) = view.split_once("@v")?;
    let is_version = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
    is_version.then(|| format!("{view}:{feature}"))
}

/// The answer to a request for features: one result for each of the feature names.
#[derive(Debug, Deserialize, ToSchema)]
pub struct OnlineFeatures {
    /// The columns.
    pub results: Vec<Column>,
    /// What they are.
    pub metadata: Metadata,
    /// Rows that a function refused.
    #[serde(default)]
    pub row_errors: Vec<RowError>,
    /// Views whose store failed.
    #[serde(default)]
    pub unavailable: Vec<Unavailable>,
}

/// A view that an answer lacks.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Unavailable {
    /// The view.
    pub view: String,
    /// What its store said.
    pub message: String,
}

/// One column of an answer: a value, a status and a time for every entity row.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Column {
    /// Its values.
    pub values: Vec<Value>,
    /// `PRESENT`, `NULL_VALUE`, `NOT_FOUND`, `OUTSIDE_MAX_AGE` or `INVALID`.
    pub statuses: Vec<String>,
    /// The event time of the row that each value comes from.
    pub event_timestamps: Vec<String>,
    /// A default stands wherever the status is not `PRESENT`.
    #[serde(default)]
    pub defaulted: bool,
    /// Rows for which the fingerprint does not hold: their view, or one that they are computed
    /// from, has to be materialized again.
    #[serde(default)]
    pub computed_by_other_definition: Vec<u32>,
}

/// What the columns of an answer are.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Metadata {
    /// Join keys first, then the features in the order asked for.
    pub feature_names: Vec<String>,
    /// The fingerprint of each feature, null for join keys.
    pub fingerprints: Vec<Option<String>>,
    /// The number of the registry snapshot that answered.
    pub snapshot: u64,
    /// The views, where the request asked for them.
    #[serde(default)]
    pub feature_view_metadata: Option<Vec<ViewMetadata>>,
    /// What of the request was passed over.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// A view that an answer was made from.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ViewMetadata {
    /// Its name.
    pub name: String,
    /// Always 0: the fingerprints say which definition it is.
    pub version: u32,
}

/// A row that the function of a view refused.
#[derive(Debug, Deserialize, ToSchema)]
pub struct RowError {
    /// The view.
    pub view: String,
    /// Which row, from 0.
    pub row: u32,
    /// What the function said.
    pub message: String,
}

/// Rows of a source, for every online view that reads it.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Push {
    /// A source, or a feature view.
    pub push_source_name: String,
    /// The rows, column by column.
    #[schema(value_type = BTreeMap<String, Vec<Value>>)]
    pub df: Columns,
    /// Where the rows go: `online`.
    #[serde(default)]
    pub to: Option<String>,
}

/// Rows of a feature view.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct WriteToOnlineStore {
    /// The feature view.
    pub feature_view_name: String,
    /// The rows, column by column: join keys, features or what they are computed from, and times.
    #[schema(value_type = BTreeMap<String, Vec<Value>>)]
    pub df: Columns,
}

/// Which rows of the sources to write to the online store.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Materialize {
    /// Event times from here on; required unless `disable_event_timestamp` is true.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub start_ts: Option<Timestamp>,
    /// Event times up to here; required unless `disable_event_timestamp` is true.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub end_ts: Option<Timestamp>,
    /// The views; all that are online, where none is named.
    #[serde(default)]
    pub feature_views: Option<Vec<String>>,
    /// Every row up to now, whatever the two times say.
    #[serde(default)]
    pub disable_event_timestamp: bool,
    /// Versions of views are not kept: only null.
    #[serde(default)]
    pub version: Option<String>,
}

/// Up to when to go on with what earlier runs wrote.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct MaterializeIncremental {
    /// Event times up to here.
    #[schema(value_type = String, format = DateTime)]
    pub end_ts: Timestamp,
    /// The views; all that are online, where none is named.
    #[serde(default)]
    pub feature_views: Option<Vec<String>>,
    /// Versions of views are not kept: only null.
    #[serde(default)]
    pub version: Option<String>,
}

/// How a run is asked for. Feast's `force` is passed over: no run leaves anything behind that would
/// have to be forced.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct RunQuery {
    /// Answer at once, and run meanwhile.
    #[serde(default, rename = "async", deserialize_with = "yes_or_no")]
    #[param(required = false)]
    pub is_async: bool,
}

/// A boolean of a query, in all the spellings that Feast's server takes: Python writes `True`.
fn yes_or_no<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let text = String::deserialize(deserializer)?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "t" | "on" | "y" | "yes" => Ok(true),
        "false" | "0" | "f" | "off" | "n" | "no" => Ok(false),
        _ => Err(D::Error::custom(format!("{text:?} is neither true nor false"))),
    }
}

/// A run that goes on after the answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Accepted {
    /// `accepted`.
    pub status: &'static str,
    /// The views.
    pub feature_views: Vec<String>,
}

/// Whether requests can be answered.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Readiness {
    /// Whether they can.
    pub ready: bool,
    /// The number of the registry snapshot in force.
    pub snapshot: u64,
    /// What fails: all that does, though the rest can be answered.
    pub reasons: Vec<String>,
}

/// A version of a view, which is not kept.
pub(super) fn refuse_version(version: Option<&String>) -> Result<()> {
    match version {
        Some(version) => Err(Error::invalid(format!(
            "nothing materialized: there is no version {version:?} of a view"
        ))
        .with_hint("the definition in force is materialized; leave the version out")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_taken_off() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(unversioned(text).as_deref(), expected, "{text}");
        };
        check("orders@v2:amount", Some("orders:amount"));
        check("orders:amount", None);
        check("orders@v:amount", None);
        check("orders@latest:amount", None);
        check("orders", None);
    }
}
