//! What ended a call, in the words of whoever uses the transform.

use wasmtime::Trap;

use super::{
    bindings::INTERFACE,
    limits::{Limits, used_up},
    words::shown,
};
use crate::{error::Error, time::Span};

/// What Wasmtime says when a guest's answer has more bytes than the store allows. The type of
/// this error is private to Wasmtime; a test of the sandbox holds the text.
const ANSWER_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// How a guest was stopped before it had answered, as far as the publish check tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It had used up its time or its instructions.
    Endless,
    /// It wanted more memory or tables, or gave more than there is room for.
    Full,
    /// It trapped, or wanted more stack than it may have.
    Trapped,
}

impl Stop {
    pub(super) fn of(error: &wasmtime::Error) -> Option<Self> {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt | Trap::OutOfFuel) => Some(Self::Endless),
            Some(_) => Some(Self::Trapped),
            None => (error.is::<Error>() || is_answer_too_large(error)).then_some(Self::Full),
        }
    }
}

/// The error of a component that does not have the functions of its interface.
pub(super) fn misfit(error: &wasmtime::Error) -> Error {
    let reasons = error.chain().map(|reason| reason.to_string());
    let reasons: Vec<_> =
        reasons.filter(|reason| reason != "failed to convert function to given type").collect();
    let reasons = shown(&reasons.join(": "), 1_024);
    Error::invalid(format!("not a transform: it does not fit {INTERFACE}: {reasons}"))
        .with_hint("build it with the SDK of this unskew")
}

/// The error of an instance that could not be made.
pub(super) fn not_started(error: &wasmtime::Error, limits: &Limits) -> Error {
    stopped(error, limits).unwrap_or_else(|| misfit(error))
}

/// The error of a call that gave no answer.
pub(super) fn ended(error: &wasmtime::Error, limits: &Limits, output_bytes: u64) -> Error {
    stopped(error, limits).unwrap_or_else(|| match is_answer_too_large(error) {
        true => used_up("bytes of the answer", output_bytes),
        false => Error::transform(format!("its answer cannot be read: {}", error.root_cause())),
    })
}

fn is_answer_too_large(error: &wasmtime::Error) -> bool {
    error.root_cause().to_string().contains(ANSWER_TOO_LARGE)
}

/// The error of a guest that was running when it ended.
fn stopped(error: &wasmtime::Error, limits: &Limits) -> Option<Error> {
    if let Some(refused) = error.downcast_ref::<Error>() {
        return Some(refused.clone());
    }
    error.downcast_ref::<Trap>().map(|trap| trapped(*trap, limits))
}

fn trapped(trap: Trap, limits: &Limits) -> Error {
    match trap {
        Trap::Interrupt => deadline(limits.deadline),
        Trap::StackOverflow => used_up("bytes of stack", limits.stack_bytes.into()),
        Trap::OutOfFuel => Error::transform("it did not end within its instructions"),
        Trap::UnreachableCodeReached => Error::transform("it panicked").with_hint(
            "integer overflow, an index out of range and `unwrap` on nothing are panics; \
             a function that returns a Result gives the row an error instead",
        ),
        other => Error::transform(format!("it trapped: {}", words(other))),
    }
}

fn deadline(deadline: Span) -> Error {
    Error::transform(format!("it did not end within its deadline of {deadline}"))
        .with_hint("look for a loop without an end; or send fewer rows at a time")
}

/// The trap without the prefix that says it is one.
fn words(trap: Trap) -> String {
    let text = trap.to_string();
    text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
}
