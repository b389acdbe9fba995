//! Definition files, read.

pub(super) mod node;
mod read;
mod table;

use std::collections::BTreeSet;

use toml::de::DeTable;

use self::{
    node::{
        EntityNode, FeatureViewNode, Nodes, OnDemandNode, Origin, REQUEST, ServiceNode, SourceNode,
    },
    read::check_name,
    table::{Table, Value, entries},
};
use super::{
    DefinitionKind, SourceData,
    problem::{At, File, Located, Problems},
};
use crate::{
    error::{Error, did_you_mean},
    name::TransformName,
};

/// Definitions that were read and not yet checked, and the problems met.
#[derive(Debug, Default)]
pub struct Parsed {
    pub(super) files: Vec<File>,
    pub(super) problems: Problems,
    /// Whether every declaration in the files is known, at least by its name. Otherwise a name
    /// that is not declared may well be in what could not be read.
    pub(super) complete: bool,
    pub(super) entities: Nodes<EntityNode>,
    pub(super) sources: Nodes<SourceNode>,
    pub(super) feature_views: Nodes<FeatureViewNode>,
    pub(super) on_demand_feature_views: Nodes<OnDemandNode>,
    pub(super) feature_services: Nodes<ServiceNode>,
}

/// Reads definition files. Problems do not end the reading: [`check`](super::check) reports all
/// of them, together with its own.
pub fn parse(mut files: Vec<File>) -> Parsed {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut parsed = Parsed { complete: true, ..Parsed::default() };
    for index in 0..files.len() {
        parsed.read_file(&files, index);
    }
    parsed.files = files;
    parsed
}

impl Parsed {
    /// The sources that the check wants to know the columns of, by name.
    pub fn sources(&self) -> impl Iterator<Item = (&str, &SourceData)> {
        let sources = self.sources.iter();
        sources
            .filter_map(|(name, source)| Some((name.as_str(), &source.value.data.as_ref()?.value)))
    }

    /// The transforms that the check wants to know the functions of.
    pub fn transforms(&self) -> BTreeSet<&TransformName> {
        self.uses().map(|function| function.value).collect()
    }

    /// Every use of a transform, each with its place, in the order of the views' names.
    pub(super) fn uses(&self) -> impl Iterator<Item = Located<&TransformName>> {
        let stored = self.feature_views.values().filter_map(|view| match &view.value.origin {
            Origin::Function(Some(used)) => Some(&used.function),
            _ => None,
        });
        let on_demand = self.on_demand_feature_views.values();
        let on_demand = on_demand.filter_map(|view| Some(&view.value.transform.as_ref()?.function));
        stored
            .chain(on_demand)
            .map(|function| Located { value: &function.value.transform, at: function.at })
    }

    fn read_file(&mut self, files: &[File], index: usize) {
        let text = &files[index].text;
        let start = At::new(index, 0..0);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = start.same_file(error.span().unwrap_or(text.len()..text.len()));
            let message = format!("not TOML: {}", error.message());
            self.problems.add(at, Error::invalid(message));
        }
        // What was recovered is not to be trusted: reading it would report what is not wrong.
        if !errors.is_empty() {
            self.complete = false;
            return;
        }
        for (key, value) in entries(start, table.get_ref()) {
            self.read_kind(files, &key, value);
        }
    }

    fn read_kind(&mut self, files: &[File], key: &Located<String>, value: Value<'_>) {
        let kind = DefinitionKind::ALL.into_iter().find(|kind| kind.key() == key.value);
        match (kind, value.value.as_table()) {
            (Some(kind), Some(table)) => {
                let (good, bad): (Vec<_>, Vec<_>) =
                    entries(value.at, table).partition(|(_, value)| value.value.is_table());
                // Under a bare [kind] every key is wrong, for one and the same reason.
                if let Some((name, _)) = bad.into_iter().min_by_key(|(name, _)| name.at) {
                    let what = format!("\"{}\" is not part of any {kind}", name.value);
                    self.refuse_bare(kind, name.at, what);
                }
                for (name, value) in good {
                    if let Some(table) = value.value.as_table() {
                        self.read_definition(files, kind, name, table);
                    }
                }
            }
            (Some(kind), None) => {
                self.refuse_bare(kind, key.at, format!("\"{}\" is not a table", key.value));
            }
            (None, _) => {
                self.complete = false;
                let error = Error::invalid(format!("not a kind of definition: \"{}\"", key.value));
                let hint = did_you_mean(&key.value, DefinitionKind::ALL.map(DefinitionKind::key));
                self.problems.add(key.at, error.with_hint(hint));
            }
        }
    }

    fn read_definition(
        &mut self,
        files: &[File],
        kind: DefinitionKind,
        name: Located<String>,
        table: &DeTable<'_>,
    ) {
        let what = format!("{kind} \"{}\"", name.value);
        if let Some(first) = self.place_of(kind, &name.value) {
            let error = Error::conflict(format!("the name of {what} is taken"));
            let hint = format!("it is taken at {}", first.show(files));
            return self.problems.add(name.at, error.with_hint(hint));
        }
        check_name(&what, &name, &mut self.problems);
        if name.value == REQUEST && kind.is_view() {
            let error = Error::invalid(format!("{what} cannot have this name"));
            let hint = "inputs write request:column for what a request brings";
            self.problems.add(name.at, error.with_hint(hint));
        }
        let table = Table::new(what, name.at, table, &mut self.problems);
        match kind {
            DefinitionKind::Entity => insert(&mut self.entities, name, read::entity(table)),
            DefinitionKind::Source => insert(&mut self.sources, name, read::source(table)),
            DefinitionKind::FeatureView => {
                insert(&mut self.feature_views, name, read::feature_view(table));
            }
            DefinitionKind::OnDemandFeatureView => {
                insert(&mut self.on_demand_feature_views, name, read::on_demand(table));
            }
            DefinitionKind::FeatureService => {
                insert(&mut self.feature_services, name, read::service(table));
            }
        }
    }

    /// Reports a kind whose declarations have no names.
    fn refuse_bare(&mut self, kind: DefinitionKind, at: At, message: String) {
        self.complete = false;
        let hint = format!("every {kind} has a name, as in [{}.a_name]", kind.key());
        self.problems.add(at, Error::invalid(message).with_hint(hint));
    }

    /// Where a name of a kind is taken; views of both kinds share their names.
    fn place_of(&self, kind: DefinitionKind, name: &str) -> Option<At> {
        match kind {
            DefinitionKind::Entity => self.entities.get(name).map(|node| node.at),
            DefinitionKind::Source => self.sources.get(name).map(|node| node.at),
            DefinitionKind::FeatureView | DefinitionKind::OnDemandFeatureView => {
                let stored = self.feature_views.get(name).map(|node| node.at);
                stored.or(self.on_demand_feature_views.get(name).map(|node| node.at))
            }
            DefinitionKind::FeatureService => self.feature_services.get(name).map(|node| node.at),
        }
    }
}

fn insert<T>(nodes: &mut Nodes<T>, name: Located<String>, node: T) {
    let (at, value) = (name.at, node);
    nodes.insert(name.value, Located { value, at });
}
