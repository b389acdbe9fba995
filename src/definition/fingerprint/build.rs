//! Documents made of definitions, and their digests.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Fingerprints, RuntimeRef};
use crate::{
    definition::{
        Definitions, Feature, FeatureView, Input, OnDemandFeatureView, Source, SourceData, State,
        TransformUse,
    },
    digest::Digest,
    error::{Error, Result},
    name::FeatureRef,
};

/// Fingerprints in the making.
pub(super) struct Builder<'a> {
    state: &'a State,
    runtime: &'a RuntimeRef,
    prints: Fingerprints,
}

impl<'a> Builder<'a> {
    pub(super) fn new(state: &'a State, runtime: &'a RuntimeRef) -> Self {
        Self { state, runtime, prints: Fingerprints::default() }
    }

    pub(super) fn build(mut self) -> Result<Fingerprints> {
        self.label();
        for (name, view) in &self.state.definitions.feature_views {
            self.stored(name, view)?;
        }
        self.on_demand()?;
        Ok(self.prints)
    }

    fn label(&mut self) {
        let labels = &mut self.prints.labels;
        labels.insert(self.runtime.digest, self.runtime.name.clone());
        for (name, pinned) in &self.state.transforms {
            let name = name.to_string();
            labels
                .entry(pinned.digest)
                .and_modify(|label| *label = format!("{label}, {name}"))
                .or_insert(name);
        }
    }

    fn stored(&mut self, name: &str, view: &FeatureView) -> Result<()> {
        let rows = self.rows(view).map_err(|error| error.context(name))?;
        self.prints.rows.insert(name.to_owned(), rows);
        for (feature_name, feature) in &view.features {
            let document = json!({
                "kind": "feature",
                "rows": rows,
                "column": feature.column,
                "type": feature.data_type,
                "default": feature.default,
                "ttl": view.ttl,
            });
            self.feature(name, feature_name, document)?;
        }
        Ok(())
    }

    fn feature(&mut self, view: &str, feature: &str, document: Value) -> Result<()> {
        let digest = self.document(document)?;
        let reference = FeatureRef { view: view.to_owned(), feature: feature.to_owned() };
        self.prints.features.insert(reference, digest);
        Ok(())
    }

    fn rows(&mut self, view: &FeatureView) -> Result<Digest> {
        let sources = &self.state.definitions.sources;
        let source = sources.get(&view.source).ok_or_else(|| missing(&view.source))?;
        let source = self.source(source)?;
        let mut document = match &view.transform {
            Some(used) => self.computation(used, |column| Ok(json!({ "column": column })))?,
            None => Map::new(),
        };
        document.insert("kind".into(), "rows".into());
        let join_keys = self.state.definitions.join_keys(view);
        document.insert("join_keys".into(), json!(join_keys));
        document.insert("source".into(), json!(source));
        self.document(document.into())
    }

    fn source(&mut self, source: &Source) -> Result<Digest> {
        let mut document = json!({
            "kind": "source",
            "data": source.data,
            "timestamp": source.timestamp,
            "created": source.created,
            "visible": source.visible,
        });
        if let SourceData::Sql(query) = &source.data {
            document["sources"] = json!(mentioned(&self.state.definitions, query));
        }
        self.document(document)
    }

    /// Computes the on-demand feature views, each after those it reads.
    fn on_demand(&mut self) -> Result<()> {
        let mut waiting: Vec<_> = self.state.definitions.on_demand_feature_views.iter().collect();
        while !waiting.is_empty() {
            let (ready, rest): (Vec<_>, Vec<_>) =
                waiting.iter().partition(|(_, view)| self.is_ready(view));
            if let ([], [(name, _), ..]) = (ready.as_slice(), rest.as_slice()) {
                return Err(Error::corrupt(format!(
                    "{name} reads a feature that is not there, or itself by way of others"
                )));
            }
            for (name, view) in ready {
                self.computed(name, view).map_err(|error| error.context(name))?;
            }
            waiting = rest;
        }
        Ok(())
    }

    fn is_ready(&self, view: &OnDemandFeatureView) -> bool {
        view.transform.inputs.values().all(|input| match input {
            Input::Feature(read) => self.prints.features.contains_key(read),
            Input::Request(..) | Input::EventTime => true,
        })
    }

    fn computed(&mut self, name: &str, view: &OnDemandFeatureView) -> Result<()> {
        let computation = self.computation(&view.transform, |input| match input {
            Input::Feature(read) => {
                let digest = self.prints.feature(read);
                Ok(json!(digest.ok_or_else(|| missing(&read.to_string()))?))
            }
            Input::Request(_, data_type) => Ok(json!({ "request": data_type })),
            Input::EventTime => Ok("event_time".into()),
        })?;
        for (feature_name, feature) in &view.features {
            let Feature { data_type, column, default, description: _ } = feature;
            let mut document = computation.clone();
            document.insert("kind".into(), "on_demand_feature".into());
            document.insert("output".into(), json!(column));
            document.insert("type".into(), json!(data_type));
            document.insert("default".into(), json!(default));
            self.feature(name, feature_name, document.into())?;
        }
        Ok(())
    }

    /// What a function computes with: the part of a document that a use of a transform makes up.
    fn computation<B>(
        &self,
        used: &TransformUse<B>,
        input: impl Fn(&B) -> Result<Value>,
    ) -> Result<Map<String, Value>> {
        // Limits change no value: a call over a limit fails.
        let TransformUse { function, inputs, params, on_error, limits: _ } = used;
        let pinned = self.state.transforms.get(&function.transform);
        let pinned = pinned.ok_or_else(|| missing(&function.transform.to_string()))?;
        let inputs = inputs.iter().map(|(name, bound)| Ok((name.clone(), input(bound)?)));
        let inputs = inputs.collect::<Result<Map<_, _>>>()?;
        Ok(Map::from_iter([
            (
                "transform".to_owned(),
                json!({ "digest": pinned.digest, "function": function.function }),
            ),
            ("inputs".to_owned(), inputs.into()),
            ("params".to_owned(), json!(params)),
            ("on_error".to_owned(), json!(on_error)),
            ("runtime".to_owned(), json!(self.runtime.digest)),
        ]))
    }

    fn document(&mut self, document: Value) -> Result<Digest> {
        let digest = Digest::of_canonical_json(&document)?;
        self.prints.documents.insert(digest, document);
        Ok(digest)
    }
}

/// The data of the sources whose names occur in a query, or in a query of those. A word that means
/// something else in the query than the source of its name is one too many: that makes a
/// fingerprint change where it need not, never the other way round.
pub(in crate::definition) fn mentioned<'a>(
    definitions: &'a Definitions,
    query: &'a str,
) -> BTreeMap<&'a str, &'a SourceData> {
    let mut mentioned = BTreeMap::new();
    let mut queries = vec![query];
    while let Some(query) = queries.pop() {
        let words: BTreeSet<String> = words(query).collect();
        let named = definitions.sources.iter().filter(|(name, _)| words.contains(*name));
        for (name, source) in named {
            let is_new = mentioned.insert(name.as_str(), &source.data).is_none();
            if let (true, SourceData::Sql(query)) = (is_new, &source.data) {
                queries.push(query);
            }
        }
    }
    mentioned
}

fn missing(name: &str) -> Error {
    Error::corrupt(format!("{name} is used and is not there"))
}

/// The words of a query, in lower case: names that are not quoted have no case in SQL.
fn words(query: &str) -> impl Iterator<Item = String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.map(str::to_ascii_lowercase)
}
