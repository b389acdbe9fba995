//! The publish check: what a component can do and what it costs, before anybody relies on it.
//!
//! A component is [checked](check) and, if nothing speaks against it, put into the registry with
//! the report of what was found; a component that is refused leaves nothing there.
//!
//! - `generate` makes rows up from the types of a signature, and `purity` runs them in every way
//!   that calls can be made, as large as the limits allow (`load`); `subject` is the oracle: a row
//!   gives what it gives alone.
//! - What fails is made small (`shrink`) and shown (`counterexample`).
//! - `cost` counts instructions.

mod cases;
mod cost;
mod counterexample;
mod generate;
mod load;
mod purity;
mod shrink;
mod subject;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    digest::Digest,
    error::{Error, Result},
    name::TransformName,
    registry::{Case, Checked, FunctionCheck, PublishReport, Published, Registry},
    time::{Span, Timestamp},
    value::{Cell, show_row},
    wasm::{self, Limits, Runtime, Transform},
};
pub use cases::{failing_cases, read_cases};
use counterexample::Refusal;
use purity::{Sample, Tried};
use subject::{Given, Subject};

/// How much a check may do. Everything is counted and nothing timed, so that the verdict on a
/// component is the same on every machine.
#[derive(Debug, Clone)]
pub struct Budget {
    /// What the generated rows follow from.
    pub seed: u64,
    /// Rows that are made up for a function, under all sets of params together.
    pub rows: usize,
    /// Sets of params for a function that has params.
    pub params: usize,
    /// Rows of a call, where rows are cut into calls.
    pub batches: [usize; 4],
    /// Rows of the largest call: the others over and over.
    pub large: usize,
    /// Rows that stop a call, of which it is tried that they do among others.
    pub stopped: usize,
    /// Instructions of all calls for a function, about. Of rows that take more, fewer are tried.
    pub instructions: u64,
    /// Instructions of one call. A row alone that takes more is taken not to end.
    pub call_instructions: u64,
    /// Rows that may be run, about, to make a counterexample small; a call counts as 16.
    pub shrinking: u64,
    /// The lengths of inputs between which the growth of the cost is measured.
    pub lengths: [usize; 6],
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            seed: 1,
            rows: 128,
            params: 3,
            batches: [7, 2, 3, 64],
            large: 8_192,
            stopped: 6,
            instructions: 2_000_000_000,
            call_instructions: 500_000_000,
            shrinking: 120_000,
            lengths: [32, 128, 256, 512, 1_024, 2_048],
        }
    }
}

/// The deadline of calls in the check, which counts instructions instead: long enough not to be
/// met before those are used up, also on a machine that is busy, but by a guest whose instructions
/// are long ones.
const DEADLINE: Span = Span(30_000_000);

/// The limits of the check's calls: those of the project, but for the deadline and for what bounds
/// the rows of a call, which is no less than usual: in calls of few rows there is little to see.
pub fn limits(project: &Limits) -> Limits {
    let usual = Limits::default();
    Limits {
        deadline: DEADLINE,
        concurrent_calls: 4,
        memory_bytes: project.memory_bytes.max(usual.memory_bytes),
        rows: project.rows.max(usual.rows),
        input_bytes: project.input_bytes.max(usual.input_bytes),
        output_bytes: project.output_bytes.max(usual.output_bytes),
        ..project.clone()
    }
}

/// Checks a component in a runtime with [`limits`], and says what was found.
///
/// # Errors
/// [`Kind::Transform`](crate::error::Kind::Transform) with the check that failed, the function and
/// the smallest counterexample; and those of [`Runtime::load`].
pub fn check(bytes: &[u8], cases: &[Case], runtime: &Runtime, budget: &Budget) -> Result<Checked> {
    let checker = Checker::new(bytes, runtime, budget)?;
    checker.cases(cases)?;
    checker.description()?;
    let wasm::Outline { imports, exports, features } = wasm::outline(bytes)?;
    let (mut memory_bytes, mut functions) = (0, BTreeMap::new());
    for function in checker.standard.functions() {
        let (found, memory) = checker.function(&function.name, cases)?;
        memory_bytes = memory_bytes.max(memory);
        functions.insert(function.name.clone(), found);
    }
    let cases = cases.len() as u64;
    Ok(Checked { imports, exports, features, memory_bytes, cases, functions })
}

/// A component under check, in both profiles: the parts of [`check`].
#[derive(Debug)]
pub struct Checker<'a> {
    standard: Arc<Transform>,
    strict: Arc<Transform>,
    budget: &'a Budget,
}

impl<'a> Checker<'a> {
    /// Loads a component in a runtime with [`limits`], and in the strict one beside it.
    ///
    /// # Errors
    /// Those of [`Runtime::load`].
    pub fn new(bytes: &[u8], runtime: &Runtime, budget: &'a Budget) -> Result<Self> {
        let standard = runtime.load(bytes)?;
        let strict = runtime.strict(budget.call_instructions)?.load(bytes)?;
        Ok(Self { standard, strict, budget })
    }

    /// The component gives its golden cases.
    ///
    /// # Errors
    /// [`Kind::Transform`](crate::error::Kind::Transform) with those that it does not give.
    pub fn cases(&self, cases: &[Case]) -> Result<()> {
        match failing_cases(cases, &self.standard) {
            failures if failures.is_empty() => Ok(()),
            failures => Err(Refusal::cases(&failures).into()),
        }
    }

    /// It describes itself alike in both profiles, and in an instance that was used.
    ///
    /// # Errors
    /// [`Kind::Transform`](crate::error::Kind::Transform) when it does not.
    pub fn description(&self) -> Result<()> {
        let mut used = self.standard.trial(wasm::Nan::Canonical)?;
        let again = [used.describe()?, used.describe()?, self.strict.functions().to_vec()];
        match again.iter().all(|said| said == self.standard.functions()) {
            true => Ok(()),
            false => Err(Error::transform(
                "the check \"description\" fails: it describes itself otherwise another time",
            )
            .with_hint("the SDK gives one description; look for what bypasses it")),
        }
    }

    /// A function is pure; what was found, and the most memory of a call in bytes.
    ///
    /// # Errors
    /// [`Kind::Transform`](crate::error::Kind::Transform) with the smallest counterexample;
    /// [`Kind::NotFound`](crate::error::Kind::NotFound) when there is no such function.
    pub fn function(&self, name: &str, cases: &[Case]) -> Result<(FunctionCheck, u64)> {
        let place = self.standard.function(name)?;
        let samples = cases::samples(cases, &self.standard, place);
        let instructions = self.budget.call_instructions;
        let mut subject = Subject::new(&self.standard, &self.strict, place, instructions);
        let found = check_function(&mut subject, self.budget, samples)?;
        Ok((found, subject.memory_bytes))
    }
}

/// A component that is to be published.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The name that it is to have.
    pub name: TransformName,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its golden cases.
    pub cases: Vec<Case>,
}

/// What became of a component.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The digest of its bytes.
    pub digest: Digest,
    /// Whether the name is new.
    pub published: Published,
    /// What was found; nothing is checked again where the name stood for these bytes before.
    pub checked: Option<Checked>,
    /// What became of the golden cases of the version before.
    pub before: Option<Before>,
    /// Whether the name stood for these bytes before with other golden cases than were given, which
    /// were neither run nor kept.
    pub other_cases: bool,
}

/// The golden cases of the version before, on the new component.
#[derive(Debug, Clone)]
pub struct Before {
    /// That version.
    pub name: TransformName,
    /// How many cases it has.
    pub cases: usize,
    /// Those that the new component does not give: where each was written, and what it gives.
    pub changed: Vec<(String, String)>,
}

/// Checks a component and publishes it under its name. That golden cases of the version before
/// change is no reason not to, nor is it that the name stands for these bytes already, with other
/// cases: it is said.
///
/// The limits of the check may be wider than those of the publisher's `project`, which has to be able
/// to load the component as well.
///
/// # Errors
/// Those of [`check`] and of [`Runtime::load`], with nothing left in the registry, and of
/// [`Registry::publish`].
pub async fn publish(
    candidate: Candidate,
    registry: &Registry,
    runtime: &Runtime,
    project: &Runtime,
    now: Timestamp,
) -> Result<Publication> {
    let Candidate { name, bytes, cases } = candidate;
    let digest = Digest::of(&bytes);
    if registry.is_published(&name, &digest).await? {
        let other_cases = !registry.has_cases(&name, &cases).await?;
        let published = Published::Already;
        return Ok(Publication { digest, published, checked: None, before: None, other_cases });
    }
    let refused = |error: Error| error.context(format!("{name} not published"));
    let checked = check(&bytes, &cases, runtime, &Budget::default()).map_err(refused)?;
    let transform = runtime.load(&bytes)?;
    project
        .load(&bytes)
        .map_err(|error| refused(error.context("under the limits of this project")))?;
    let before = match registry.version_before(&name).await? {
        Some(before) => compare_with(registry, before, &transform).await?,
        None => None,
    };
    let report = PublishReport {
        format: PublishReport::FORMAT,
        digest,
        size: bytes.len() as u64,
        functions: transform.functions().to_vec(),
        runtime: runtime.profile().digest,
        published_at: now,
        checked: Some(checked.clone()),
    };
    let published = registry.publish(&name, bytes.into(), report, &cases).await?;
    let other_cases = match published {
        Published::New => false,
        Published::Already => !registry.has_cases(&name, &cases).await?,
    };
    Ok(Publication { digest, published, checked: Some(checked), before, other_cases })
}

/// Runs the golden cases of a published version on another component.
async fn compare_with(
    registry: &Registry,
    name: TransformName,
    transform: &Transform,
) -> Result<Option<Before>> {
    let cases = registry.cases(&name).await?;
    let changed = failing_cases(&cases, transform).into_iter();
    let changed = changed.map(|(origin, error)| (origin, error.message().to_owned())).collect();
    Ok((!cases.is_empty()).then_some(Before { name, cases: cases.len(), changed }))
}

fn check_function(
    subject: &mut Subject<'_>,
    budget: &Budget,
    cases: Vec<Sample>,
) -> Result<FunctionCheck> {
    let tried = purity::test(subject, budget, cases)?;
    let count =
        |is: fn(&Given) -> bool| tried.iter().filter(|tried| is(&tried.alone.given)).count();
    let stopping = tried.iter().find(|tried| matches!(tried.alone.given, Given::Stopped(_)));
    let values = count(|given| matches!(given, Given::Values(_)));
    let row_errors = count(|given| matches!(given, Given::Error(_)));
    if let Some(Tried { params, row, alone }) = stopping
        && row_errors == 0
        && !tried.iter().any(|tried| is_result(subject, tried))
    {
        return Err(Refusal::no_result(subject, params, row, &alone.given).into());
    }
    let cost = cost::cost(subject, budget, &tried)?;
    Ok(FunctionCheck {
        rows: tried.len() as u64,
        calls: subject.calls,
        values: values as u64,
        row_errors: row_errors as u64,
        stopped: (tried.len() - values - row_errors) as u64,
        stopping: stopping.map(|tried| stopping_row(subject, tried)),
        cost,
    })
}

/// Whether a row has values because the function gave them: a null in an input that is not
/// nullable gives nulls without it.
fn is_result(subject: &Subject<'_>, tried: &Tried) -> bool {
    let inputs = &subject.signature().inputs;
    let called = inputs.iter().zip(&tried.row);
    let called = !called.into_iter().any(|(field, cell)| !field.nullable && *cell == Cell::Null);
    called && matches!(tried.alone.given, Given::Values(_))
}

fn stopping_row(subject: &Subject<'_>, tried: &Tried) -> String {
    let Given::Stopped(reason) = &tried.alone.given else { return String::new() };
    let signature = subject.signature();
    let mut row = show_row(&signature.inputs, &tried.row);
    if !tried.params.is_empty() {
        row.push_str(&format!(", params {}", show_row(&signature.params, &tried.params)));
    }
    format!("{row}: {reason}")
}
