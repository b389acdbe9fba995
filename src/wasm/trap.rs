//! What ended a call, in the words of whoever uses the transform.

use wasmtime::Trap;

use super::limits::{Limits, exceeded};
use crate::{error::Error, time::Span};

/// What Wasmtime says when a guest's answer has more bytes than the store allows. The type of
/// this error is private to Wasmtime; a test of the sandbox holds the text.
const ANSWER_TOO_LARGE: &str = "fuel allocated for hostcalls has been exhausted";

/// The error of a call that gave no answer.
pub(super) fn ended(error: &wasmtime::Error, limits: &Limits, output_bytes: u64) -> Error {
    if let Some(refused) = error.downcast_ref::<Error>() {
        return refused.clone();
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return trapped(*trap, limits);
    }
    let reason = error.root_cause().to_string();
    if reason.contains(ANSWER_TOO_LARGE) {
        return exceeded(
            "bytes of the answer",
            output_bytes,
            output_bytes,
            output_bytes + 1,
        );
    }
    Error::transform(format!("its answer cannot be read: {reason}"))
}

fn trapped(trap: Trap, limits: &Limits) -> Error {
    match trap {
        Trap::Interrupt => deadline(limits.deadline),
        Trap::StackOverflow => {
            let limit = u64::from(limits.stack_bytes);
            exceeded("bytes of stack", limit, limit, limit + 1)
        }
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
