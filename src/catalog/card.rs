//! All there is to say about one thing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Entry;
use crate::{
    definition::{About, OnError, SourceData, Visible},
    digest::Digest,
    name::FunctionName,
    time::Span,
    value::{DataType, Function, Scalar},
};

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// What is called so; several where things of different kinds share the name.
    Cards(Vec<Card>),
    /// Several views have a feature of that name: one of these is meant.
    Candidates(Vec<Entry>),
}

/// All there is to say about one thing.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Card {
    /// A feature view.
    FeatureView(ViewCard),
    /// An on-demand feature view.
    OnDemandFeatureView(ViewCard),
    /// A feature.
    Feature(FeatureCard),
    /// A feature service.
    FeatureService(ServiceCard),
    /// An entity.
    Entity(EntityCard),
    /// A source.
    Source(SourceCard),
    /// A function of a transform.
    Function(FunctionCard),
}

/// How a view comes by its features.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Making {
    /// The entities it is about; for an on-demand view, those of the views that it reads.
    pub entities: Vec<String>,
    /// Their join keys.
    pub join_keys: BTreeMap<String, DataType>,
    /// The columns that the request has to bring.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub request: BTreeMap<String, DataType>,
    /// The source, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How old a row may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The function that makes the features, where they are not columns of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<Used>,
    /// Whether it can be asked for online: it is materialized, or all that it reads is.
    pub online: bool,
    /// The online store that it lives in, where that is not the project's default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

/// A function, put to use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Used {
    /// The function.
    pub function: FunctionName,
    /// The digest of the transform's component.
    pub digest: Option<Digest>,
    /// What the function computes, in its author's words.
    pub documentation: String,
    /// What each input is given: a column, a feature, `request:column` or `event_time`.
    pub inputs: BTreeMap<String, String>,
    /// The constants.
    pub params: BTreeMap<String, Scalar>,
    /// What happens to a row for which the function has no value.
    pub on_error: OnError,
}

/// A feature in a list of features.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureLine {
    /// Its name; `view:feature` outside its view.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// What replaces null.
    pub default: Option<Scalar>,
    /// What it is.
    pub description: String,
    /// Its fingerprint, if it is known.
    pub fingerprint: Option<Digest>,
}

/// A view of either kind.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ViewCard {
    /// Its name.
    pub name: String,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
    /// How it comes by its features.
    #[serde(flatten)]
    pub making: Making,
    /// Its features.
    pub features: Vec<FeatureLine>,
    /// The services that have a feature of it.
    pub services: Vec<String>,
    /// The on-demand views that read a feature of it.
    pub read_by: Vec<String>,
}

/// A feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FeatureCard {
    /// Its name (`view:feature`), type, default, description and fingerprint.
    #[serde(flatten)]
    pub line: FeatureLine,
    /// The owner of its view.
    pub owner: String,
    /// The team of its view.
    pub team: String,
    /// The tags of its view.
    pub tags: Vec<String>,
    /// How its view comes by it.
    #[serde(flatten)]
    pub making: Making,
    /// The column of the source, or the output of the function, that holds it.
    pub column: String,
    /// The services that have it.
    pub services: Vec<String>,
    /// The on-demand views that read it.
    pub read_by: Vec<String>,
}

/// A feature service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServiceCard {
    /// Its name.
    pub name: String,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
    /// The join keys that a request for it brings.
    pub join_keys: BTreeMap<String, DataType>,
    /// The columns that a request for it brings besides.
    pub request: BTreeMap<String, DataType>,
    /// Its features, in its order.
    pub features: Vec<FeatureLine>,
}

/// An entity.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EntityCard {
    /// Its name.
    pub name: String,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
    /// Its join keys.
    pub join_keys: BTreeMap<String, DataType>,
    /// The feature views about it.
    pub views: Vec<String>,
}

/// A data source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceCard {
    /// Its name.
    pub name: String,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
    /// The data.
    #[serde(flatten)]
    pub data: SourceData,
    /// The column with the event time.
    pub timestamp: String,
    /// The column with the created time.
    pub created: Option<String>,
    /// From when on a row can be seen.
    pub visible: Visible,
    /// The feature views that read it.
    pub views: Vec<String>,
}

/// A function of a transform.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionCard {
    /// Its name.
    pub name: FunctionName,
    /// The digest of the transform's component.
    pub digest: Digest,
    /// Its documentation, inputs, params and outputs.
    pub signature: Function,
    /// The views that use it.
    pub views: Vec<String>,
}
