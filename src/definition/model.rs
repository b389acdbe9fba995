//! Definitions: what a team declares, after it was read and checked.
//!
//! Everything here is plain data with a stable JSON form: a registry snapshot is made of it, and
//! every path that computes a value works from it. Whoever holds [`Definitions`] may rely on what
//! the check established: every name that is mentioned exists, every type fits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::limits::CallLimits;
use crate::{
    digest::Digest,
    name::{FeatureRef, FunctionName, TransformName},
    time::Span,
    value::{DataType, Field, Function, Scalar},
};

/// All that decides what a feature is, short of the runtime and the data: the definitions in force
/// and the transforms that they use, pinned. A registry snapshot is one of these with a number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The definitions.
    pub definitions: Definitions,
    /// Every transform that a definition uses, and no other.
    pub transforms: BTreeMap<TransformName, PinnedTransform>,
}

/// What the name of a transform stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedTransform {
    /// The digest of the component's bytes.
    pub digest: Digest,
    /// Its functions, as the component described them when it was published.
    pub functions: Vec<Function>,
}

impl State {
    /// The signature of a function that a definition uses.
    pub fn function(&self, name: &FunctionName) -> Option<&Function> {
        let functions = &self.transforms.get(&name.transform)?.functions;
        functions.iter().find(|function| function.name == name.function)
    }

    /// [`FeatureView::content`] with the types of the view's function.
    pub fn content(&self, view: &FeatureView) -> Vec<Field> {
        let function = view.transform.as_ref().and_then(|used| self.function(&used.function));
        view.content(|input| {
            let inputs = &function?.inputs;
            Some(inputs.iter().find(|field| field.name == input)?.data_type)
        })
    }
}

/// Every definition in force, by kind and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definitions {
    /// What features are about.
    pub entities: BTreeMap<String, Entity>,
    /// Where rows come from.
    pub sources: BTreeMap<String, Source>,
    /// Features stored for entities.
    pub feature_views: BTreeMap<String, FeatureView>,
    /// Features computed when they are asked for.
    pub on_demand_feature_views: BTreeMap<String, OnDemandFeatureView>,
    /// Features that a model is trained on and served with.
    pub feature_services: BTreeMap<String, FeatureService>,
}

/// What a definition says to people; no part of it changes a value or a fingerprint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it: a person or a mailbox.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The team it belongs to.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub team: String,
    /// Words to find it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// What features are about: a customer, a product, a pair of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// The columns that name one, with their types, by name.
    pub join_keys: BTreeMap<String, DataType>,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
}

/// Where the rows of feature views come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The data itself.
    #[serde(flatten)]
    pub data: SourceData,
    /// The column with the time at which a row became true in the world.
    pub timestamp: String,
    /// The column with the time at which a row was written down, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// From when on a row can be seen.
    #[serde(default)]
    pub visible: Visible,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
}

/// The data of a [`Source`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceData {
    /// Parquet files or a Delta table: a path, a pattern or a URL; a relative path is relative to
    /// the project's folder.
    Path(String),
    /// A Delta table as of a version, whatever is written to it later.
    Version {
        /// Its path or URL.
        path: String,
        /// The version.
        version: u64,
    },
    /// A query over other sources, by their names.
    Sql(String),
}

/// From when on a row of a source can be seen by an entity row at time `t`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visible {
    /// When its event time is not after `t`; created times only break ties.
    #[default]
    Event,
    /// When neither its event time nor its created time is after `t`: what was written down later
    /// does not leak into the past.
    Created,
}

/// Features of an entity that are read from a source and stored online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureView {
    /// The entities whose join keys, taken together, name a row.
    pub entities: Vec<String>,
    /// The source.
    pub source: String,
    /// How old a row may be; without it, any age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Whether the view is materialized and served.
    pub online: bool,
    /// How old its rows in the online store may become before somebody is told; without it, any
    /// age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<Freshness>,
    /// The online store that it lives in, of those that the project's settings name; without it,
    /// the project's default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The function that makes the features of a source row, where they are not its columns. Its
    /// inputs are bound to columns of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<TransformUse<String>>,
    /// The features, by name.
    pub features: BTreeMap<String, Feature>,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
}

/// When the rows of a feature view in the online store are fresh; no part of it changes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freshness {
    /// How old its rows, by their event times, may be.
    pub max_age: Span,
    /// How many entities are looked at.
    pub sample: u32,
}

impl Freshness {
    /// How many entities are looked at where the definition does not say.
    pub const SAMPLE: u32 = 100;

    /// The most entities that can be looked at.
    pub const MAX_SAMPLE: u32 = 10_000;
}

/// Features that are computed from stored features, from what the request brings and from its
/// time, whenever they are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDemandFeatureView {
    /// The function.
    pub transform: TransformUse<Input>,
    /// The features, by name.
    pub features: BTreeMap<String, Feature>,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
}

/// A function of a transform, put to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransformUse<B> {
    /// The function.
    pub function: FunctionName,
    /// What each input of the function is given, by the input's name; all are there.
    pub inputs: BTreeMap<String, B>,
    /// The constants for the function's parameters, by name; all are there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Scalar>,
    /// What happens to a row for which the function has no value.
    #[serde(default)]
    pub on_error: OnError,
    /// What its calls may use, where that is less than the project allows.
    #[serde(default, skip_serializing_if = "CallLimits::is_empty")]
    pub limits: CallLimits,
}

/// What an input of an on-demand feature view is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// A feature of a feature view or of another on-demand feature view.
    Feature(FeatureRef),
    /// A column that the entity dataframe or the request brings, of this type.
    Request(String, DataType),
    /// The time of the entity row, or of the request.
    EventTime,
}

/// What happens to a row for which a function has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    /// The row is null; its message is counted and shown.
    #[default]
    Null,
    /// The whole call fails.
    Fail,
}

/// A feature of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// The type.
    #[serde(rename = "type")]
    pub data_type: DataType,
    /// The column of the source, or the output of the view's function, that holds it.
    pub column: String,
    /// What replaces null (missing, too old or null itself), in training and serving alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// What it means.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// The features that a model is trained on and served with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FeatureService {
    /// The features, in the order in which they were declared; whole views are spelt out.
    pub features: Vec<FeatureRef>,
    /// Description, owner, team, tags.
    #[serde(flatten)]
    pub about: About,
}

impl Definitions {
    /// The join keys of a view, by name: those of all its entities.
    pub fn join_keys(&self, view: &FeatureView) -> BTreeMap<String, DataType> {
        let entities = view.entities.iter().filter_map(|name| self.entities.get(name));
        entities.flat_map(|entity| entity.join_keys.clone()).collect()
    }

    /// A feature and the view it is of, if both exist.
    pub fn feature(&self, reference: &FeatureRef) -> Option<&Feature> {
        let features = match self.feature_views.get(&reference.view) {
            Some(view) => &view.features,
            None => &self.on_demand_feature_views.get(&reference.view)?.features,
        };
        features.get(&reference.feature)
    }

    /// Every function that a definition uses.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionName> {
        let stored =
            self.feature_views.values().filter_map(|view| Some(&view.transform.as_ref()?.function));
        stored.chain(self.on_demand_feature_views.values().map(|view| &view.transform.function))
    }
}

impl FeatureView {
    /// The columns of the source from which the view's features are made, with the types they are
    /// read as, by name: the content of a source row, as far as the view is concerned.
    ///
    /// `input_type` gives the type of an input of the view's function.
    pub fn content(&self, input_type: impl Fn(&str) -> Option<DataType>) -> Vec<Field> {
        let columns: BTreeMap<&str, DataType> = match &self.transform {
            None => self.features.values().map(|f| (f.column.as_str(), f.data_type)).collect(),
            Some(transform) => {
                let typed = transform.inputs.iter();
                typed
                    .filter_map(|(input, column)| Some((column.as_str(), input_type(input)?)))
                    .collect()
            }
        };
        let field = |(name, data_type): (&str, DataType)| Field {
            name: name.to_owned(),
            data_type,
            nullable: true,
            documentation: String::new(),
        };
        columns.into_iter().map(field).collect()
    }
}
