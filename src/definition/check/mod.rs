//! Whether definitions hold together, and with the data and transforms that they name.

mod feature_view;
mod function;
mod on_demand;
mod service;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CallLimits, DefinitionKind, Definitions, PinnedTransform, State,
    parse::{Parsed, node::Nodes},
    problem::{At, Located, Problem, Problems},
};
use crate::{
    digest::Digest,
    error::{Error, Result, did_you_mean},
    name::TransformName,
    value::DataType,
};

/// What the definitions are checked against: all that has to be looked up.
#[derive(Debug, Default)]
pub struct Environment {
    /// The columns of each of [`Parsed::sources`] by their names, or why they cannot be read.
    pub sources: BTreeMap<String, Result<BTreeMap<String, Column>>>,
    /// Each of [`Parsed::transforms`], or why it cannot be had.
    pub transforms: BTreeMap<TransformName, Result<PinnedTransform>>,
    /// What the lock file says the names of transforms stand for.
    pub locked: BTreeMap<TransformName, Digest>,
    /// The names of the online stores that views may live in besides the default one.
    pub stores: BTreeSet<String>,
    /// The most that a view may allow its calls; there is no bound to what is left out.
    pub limits: CallLimits,
}

/// A column of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// Its values are of this type.
    Of(DataType),
    /// No type holds its values; the name of its own type.
    Unsupported(String),
}

impl Column {
    /// A column with an Arrow type.
    pub fn of_arrow(arrow: &arrow::datatypes::DataType) -> Self {
        match DataType::of_arrow(arrow) {
            Some(data_type) => Self::Of(data_type),
            None => Self::Unsupported(arrow.to_string()),
        }
    }
}

/// The columns that stand beside the features of a row wherever rows are handed over (training
/// datasets, pushes): its time, and the time it was written down. No feature, join key or request
/// column may have one of these names.
pub const RESERVED_COLUMNS: [&str; 2] = ["event_timestamp", "created"];

const RESERVED: &str = "rows have columns of the names event_timestamp and created besides";

/// The definitions, if nothing is wrong with them.
///
/// # Errors
/// Every problem in every file, those of reading included, in the order of their places.
pub fn check(mut parsed: Parsed, environment: &Environment) -> Result<State, Vec<Problem>> {
    let problems = std::mem::take(&mut parsed.problems);
    let mut checker = Checker {
        parsed: &parsed,
        environment,
        problems,
        transforms: BTreeMap::new(),
        brought: BTreeMap::new(),
    };
    checker.pin_transforms();
    let definitions = Definitions {
        entities: checker.each(&parsed.entities, Checker::entity),
        sources: checker.each(&parsed.sources, Checker::source),
        feature_views: checker.each(&parsed.feature_views, Checker::feature_view),
        on_demand_feature_views: checker
            .each(&parsed.on_demand_feature_views, Checker::on_demand_feature_view),
        feature_services: checker.each(&parsed.feature_services, Checker::feature_service),
    };
    checker.refuse_cycles();
    let transforms = checker.transforms.iter();
    let transforms =
        transforms.map(|(name, pinned)| ((*name).clone(), (*pinned).clone())).collect();
    match checker.problems.finish(&parsed.files) {
        problems if problems.is_empty() => Ok(State { definitions, transforms }),
        problems => Err(problems),
    }
}

struct Checker<'a> {
    parsed: &'a Parsed,
    environment: &'a Environment,
    problems: Problems,
    /// The transforms that are used and can be had.
    transforms: BTreeMap<&'a TransformName, &'a PinnedTransform>,
    /// The columns that entity rows bring, with the type and the place they were first named at.
    brought: BTreeMap<&'a str, (DataType, At)>,
}

/// A definition that is being checked.
#[derive(Clone, Copy)]
struct Subject<'a> {
    name: &'a str,
    at: At,
}

impl<'a> Checker<'a> {
    /// Checks all definitions of a kind; those with a problem may be left out.
    fn each<N, D>(
        &mut self,
        nodes: &'a Nodes<N>,
        check: impl Fn(&mut Self, Subject<'a>, &'a N) -> Option<D>,
    ) -> BTreeMap<String, D> {
        let checked = nodes.iter().filter_map(|(name, node)| {
            let subject = Subject { name, at: node.at };
            Some((name.clone(), check(self, subject, &node.value)?))
        });
        checked.collect()
    }

    fn refuse(&mut self, at: At, message: String, hint: impl Into<String>) {
        self.problems.add(at, Error::invalid(message).with_hint(hint));
    }

    /// What a name of a kind stands for.
    fn find<N>(
        &mut self,
        kind: DefinitionKind,
        nodes: &'a Nodes<N>,
        name: &Located<String>,
    ) -> Option<&'a N> {
        let found = nodes.get(&name.value);
        if found.is_none() {
            let message = format!("there is no {kind} \"{}\"", name.value);
            self.unknown(name.at, message, &name.value, nodes.keys());
        }
        found.map(|node| &node.value)
    }

    /// Reports a name that stands for nothing.
    fn unknown(
        &mut self,
        at: At,
        message: String,
        name: &str,
        known: impl IntoIterator<Item = &'a String>,
    ) {
        // It may be declared in what could not be read.
        if self.parsed.complete {
            let known = known.into_iter().map(String::as_str);
            self.refuse(at, message, did_you_mean(name, known));
        }
    }

    /// Registers a column that entity rows bring: whatever asks for it, it has one type.
    fn bring(&mut self, name: &'a str, data_type: DataType, at: At) {
        if RESERVED_COLUMNS.contains(&name) {
            let message = format!("no join key and no request column can be called \"{name}\"");
            self.refuse(at, message, RESERVED);
        }
        let (first, first_at) = *self.brought.entry(name).or_insert((data_type, at));
        if first != data_type {
            let message = format!(
                "column \"{name}\" of entity rows is {data_type} here and {first} at {}",
                first_at.show(&self.parsed.files)
            );
            self.refuse(
                at,
                message,
                "join keys and request columns have one type each: rename one",
            );
        }
    }
}

#[cfg(test)]
mod tests;
