//! What is wrong with a function, in words and in rows that a person can read and try.

use std::fmt::Write as _;

use super::subject::{Fault, Given, Profile, Scenario, Subject, reason};
use crate::{
    error::Error,
    value::{Field, Row, show_row},
    wasm::Nan,
};

/// Why a component is not published: the check that failed, the function and the counterexample.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    check: &'static str,
    what: String,
    rows: String,
    hint: &'static str,
}

impl Refusal {
    pub(super) fn of(subject: &Subject<'_>, scenario: Scenario, fault: Fault) -> Self {
        let name = &subject.signature().name;
        let rows = show(subject, &scenario, &fault);
        let (check, what, hint) = match &fault {
            Fault::Differs { .. } => {
                let (what, hint) = impurity(&scenario);
                ("purity", what.to_owned(), hint)
            }
            Fault::NoAnswer { error, .. } => ("answers", reason(error), ANSWER),
            Fault::Endless { .. } => {
                ("end", "a row takes more instructions than a call may".to_owned(), ENDLESS)
            }
        };
        Self { check, what: format!("function \"{name}\": {what}"), rows, hint }
    }

    /// Cases that the component does not give.
    pub(super) fn cases(failures: &[(String, Error)]) -> Self {
        let shown = failures.iter().take(SHOWN_ROWS);
        let rows = shown.map(|(origin, error)| format!("\n  {origin}: {}", error.message()));
        let what = format!("{} fail", failures.len());
        let hint = "correct the function or the cases; unskew transform test runs them";
        Self { check: "cases", what, rows: rows.collect(), hint }
    }

    /// A function for which every call ends badly.
    pub(super) fn no_result(subject: &Subject<'_>, params: &Row, row: &Row, given: &Given) -> Self {
        let signature = subject.signature();
        let mut rows = String::new();
        show_params(&signature.params, params, &mut rows);
        let _ = write!(
            rows,
            "\n  {} → {}",
            cells(&signature.inputs, row),
            shown(&signature.outputs, given)
        );
        let what = format!("function \"{}\": no row has a result", signature.name);
        Self {
            check: "results",
            what,
            rows,
            hint: "a case in cases.toml shows the check a row that has one",
        }
    }
}

const ANSWER: &str = "the SDK gives answers of the right shape; look for what bypasses it";
const ENDLESS: &str = "give the row an error, or null, where an input would make a loop too long";

/// What the smallest scenario says about the function.
fn impurity(scenario: &Scenario) -> (&'static str, &'static str) {
    let rows = scenario.calls.first().map_or(0, Vec::len);
    match scenario {
        Scenario { calls, .. } if calls.len() > 1 => (
            "the result for a row depends on earlier calls of the same instance",
            "look for what is kept between calls: a `static`, a cache, memory that is read before \
             it is written",
        ),
        _ if rows > 1 => (
            "the result for a row depends on the other rows of its call, their number or their order",
            "a result follows from the row's own inputs and the params alone",
        ),
        Scenario { nan: Nan::Raw, .. } => (
            "the result depends on which NaN it is given, and there is one NaN",
            "do not look at the sign or the bits of a NaN: `if x.is_nan()` comes before `to_bits`",
        ),
        _ => (
            "the result depends on the bits of a NaN that it computes, which differ with the processor",
            "do not look at the sign or the bits of a NaN: `if x.is_nan()` comes before `to_bits`",
        ),
    }
}

/// The calls of a scenario, and at the row in question what it gave.
fn show(subject: &Subject<'_>, scenario: &Scenario, fault: &Fault) -> String {
    let signature = subject.signature();
    let mut text = String::new();
    show_params(&signature.params, &scenario.params, &mut text);
    for (call, rows) in scenario.calls.iter().enumerate() {
        let number = match scenario.calls.len() {
            1 => String::new(),
            _ => format!("call {}: ", call + 1),
        };
        let mut left_out = 0;
        for (place, row) in rows.iter().enumerate() {
            let found = match fault {
                Fault::Differs { call: at, row, given, alone } if (*at, *row) == (call, place) => {
                    let given = shown(&signature.outputs, given);
                    let alone = shown(&signature.outputs, alone);
                    format!(" → {given}; {} → {alone}", reference(scenario))
                }
                _ if place < SHOWN_ROWS => String::new(),
                _ => {
                    left_out += 1;
                    continue;
                }
            };
            show_left_out(&mut left_out, &mut text);
            let _ = write!(text, "\n  {number}{}{found}", cells(&signature.inputs, row));
        }
        show_left_out(&mut left_out, &mut text);
    }
    text
}

fn show_left_out(rows: &mut usize, text: &mut String) {
    match std::mem::take(rows) {
        0 => {}
        rows => {
            let _ = write!(text, "\n  … {rows} more rows");
        }
    }
}

/// Rows of one call that are shown, besides the one in question.
const SHOWN_ROWS: usize = 12;

/// What the other result is called.
fn reference(scenario: &Scenario) -> &'static str {
    let rows: usize = scenario.calls.iter().map(Vec::len).sum();
    match scenario {
        _ if rows > 1 => "alone",
        Scenario { nan: Nan::Raw, .. } => "with the canonical NaN",
        Scenario { profile: Profile::Standard, .. } => "under the strict profile",
        Scenario { profile: Profile::Strict, .. } => "in another call",
    }
}

fn show_params(fields: &[Field], params: &Row, text: &mut String) {
    if !params.is_empty() {
        let _ = write!(text, "\n  with params {}", cells(fields, params));
    }
}

/// The inputs or outputs of a row.
fn cells(fields: &[Field], row: &Row) -> String {
    match row.is_empty() {
        true => "(a row without inputs)".to_owned(),
        false => show_row(fields, row),
    }
}

/// What is given for a row.
pub(super) fn shown(outputs: &[Field], given: &Given) -> String {
    match given {
        Given::Values(row) => cells(outputs, row),
        Given::Error(message) => format!("row error {message:?}"),
        Given::Stopped(message) => format!("the call fails: {message}"),
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { check, what, rows, hint } = refusal;
        Error::transform(format!("the check \"{check}\" fails: {what}{rows}")).with_hint(hint)
    }
}
