//! What applying definitions would change.

mod fields;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use self::fields::{Fields, is_said_only};
use super::{DefinitionKind, Definitions, Input, SourceData, State, fingerprint::mentioned};

/// What is different between two states.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// How many definitions are new.
    pub add: usize,
    /// How many are declared otherwise.
    pub change: usize,
    /// How many are gone.
    pub remove: usize,
    /// What happens to each of those, by kind and name.
    pub changes: Vec<Change>,
}

/// What happens to a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether it comes, changes or goes.
    pub action: Action,
    /// Its kind.
    pub kind: DefinitionKind,
    /// Its name.
    pub name: String,
    /// What is declared otherwise, by field; empty unless the definition changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
    /// The feature services that have features which are made of it, before or after, where the
    /// change is one of values rather than of what is said about them; none for a new definition.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<String>,
}

/// Whether a definition comes, changes or goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Add,
    /// It is declared otherwise.
    Change,
    /// It is gone.
    Remove,
}

/// A field that is declared otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldChange {
    /// The field, as it is written in definition files: `features.spend_30d.default`. Besides
    /// those, `digest` is that of the transform.
    pub field: String,
    /// What it was, unless it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// What it is, unless it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
}

impl Diff {
    /// What makes `old` into `new`, in the order of kinds and names.
    pub fn between(old: &State, new: &State) -> Self {
        let mut diff = Self::default();
        for kind in DefinitionKind::ALL {
            let (old, new) = (fields::of(old, kind), fields::of(new, kind));
            let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
            for name in names {
                let change = change(kind, name, old.get(*name), new.get(*name));
                diff.changes.extend(change);
            }
        }
        let readers = [readers(&old.definitions), readers(&new.definitions)];
        for change in diff.changes.iter_mut().filter(|change| change.changes_values()) {
            let key = (change.kind, change.name.as_str());
            let services = readers.iter().flat_map(|readers| readers.get(&key));
            change.services = services.flatten().map(|name| (*name).to_owned()).collect();
        }
        diff.count();
        diff
    }

    /// Whether nothing is different.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn count(&mut self) {
        for change in &self.changes {
            match change.action {
                Action::Add => self.add += 1,
                Action::Change => self.change += 1,
                Action::Remove => self.remove += 1,
            }
        }
    }
}

impl Change {
    fn changes_values(&self) -> bool {
        match self.action {
            Action::Add => false,
            Action::Remove => true,
            Action::Change => self.fields.iter().any(|change| !is_said_only(&change.field)),
        }
    }
}

fn change(
    kind: DefinitionKind,
    name: &str,
    old: Option<&Fields>,
    new: Option<&Fields>,
) -> Option<Change> {
    let (action, fields) = match (old, new) {
        (Some(old), Some(new)) if old == new => return None,
        (Some(old), Some(new)) => (Action::Change, field_changes(old, new)),
        (Some(_), None) => (Action::Remove, Vec::new()),
        (None, _) => (Action::Add, Vec::new()),
    };
    Some(Change { action, kind, name: name.to_owned(), fields, services: BTreeSet::new() })
}

fn field_changes(old: &Fields, new: &Fields) -> Vec<FieldChange> {
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let change = |name: &String| FieldChange {
        field: name.clone(),
        was: old.get(name).cloned(),
        is: new.get(name).cloned(),
    };
    changed.map(change).collect()
}

/// A definition, by kind and name.
type Key<'a> = (DefinitionKind, &'a str);

/// The feature services that read a definition, by way of whatever other.
fn readers(definitions: &Definitions) -> BTreeMap<Key<'_>, BTreeSet<&str>> {
    let mut readers: BTreeMap<Key<'_>, BTreeSet<&str>> = BTreeMap::new();
    for (name, service) in &definitions.feature_services {
        let views = service.features.iter().map(|feature| feature.view.as_str());
        for read in read_by(definitions, views.collect()) {
            readers.entry(read).or_default().insert(name);
        }
    }
    readers
}

/// The views, with all that they read.
fn read_by<'a>(definitions: &'a Definitions, mut views: Vec<&'a str>) -> BTreeSet<Key<'a>> {
    let mut read = BTreeSet::new();
    while let Some(name) = views.pop() {
        if let Some(view) = definitions.feature_views.get(name)
            && read.insert((DefinitionKind::FeatureView, name))
        {
            let entities = view.entities.iter();
            read.extend(entities.map(|entity| (DefinitionKind::Entity, entity.as_str())));
            let sources = sources_read(definitions, &view.source).into_iter();
            read.extend(sources.map(|source| (DefinitionKind::Source, source)));
        }
        if let Some(view) = definitions.on_demand_feature_views.get(name)
            && read.insert((DefinitionKind::OnDemandFeatureView, name))
        {
            let inputs = view.transform.inputs.values();
            views.extend(inputs.filter_map(|input| match input {
                Input::Feature(feature) => Some(feature.view.as_str()),
                Input::Request(..) | Input::EventTime => None,
            }));
        }
    }
    read
}

fn sources_read<'a>(definitions: &'a Definitions, source: &'a str) -> BTreeSet<&'a str> {
    let mut sources = BTreeSet::from([source]);
    if let Some(SourceData::Sql(query)) = definitions.sources.get(source).map(|source| &source.data)
    {
        sources.extend(mentioned(definitions, query).into_keys());
    }
    sources
}

#[cfg(test)]
mod tests;
