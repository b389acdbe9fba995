//! What a transform may use at most.
//!
//! What the caller brings over a limit (rows, bytes in, the component itself) is a
//! [`Kind::Limit`](crate::error::Kind::Limit). What the guest does over a limit is a failure of
//! the transform, with the same three numbers: limit, current, requested.

use std::thread;

use serde::{Deserialize, Serialize};
use wasmtime::ResourceLimiter;

use crate::{
    definition::CallLimits,
    error::{Error, Result},
    time::Span,
};

/// Upper bounds for everything a transform can make the host do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Calls that run at the same time in this process; further ones wait for their turn.
    pub concurrent_calls: u32,
    /// Calls of one transform at the same time in a server, of those that take their time. As many
    /// as there are processors, where nothing is said: a call does nothing but compute.
    pub calls_per_transform: u32,
    /// Requests that wait for a turn of one transform in a server; further ones are refused.
    pub queued_calls: u32,
    /// How long a request waits for its turn in a server before it is refused.
    pub queue_time: Span,
    /// Time for one call. Checked a hundred times a second.
    pub deadline: Span,
    /// Bytes of memory of one call, at most 4 GiB. Holds the inputs, the outputs and everything
    /// between.
    pub memory_bytes: u64,
    /// Elements of all tables of one call.
    pub table_elements: u32,
    /// Bytes of the call stack. It lies on the stack of the calling thread, which has to have
    /// them.
    pub stack_bytes: u32,
    /// Rows of one call. The evaluation cuts longer batches.
    pub rows: u32,
    /// Bytes of all inputs of one call. The evaluation cuts larger batches.
    pub input_bytes: u64,
    /// Bytes of everything one call gives back.
    pub output_bytes: u64,
    /// Bytes of the message of one row error; the rest is cut off.
    pub error_text_bytes: u32,
    /// Bytes of a component.
    pub component_bytes: u64,
    /// Time to compile one component, where a child process compiles.
    pub compile_time: Span,
    /// Bytes of memory to compile one component, where a child process compiles, on Linux.
    pub compile_memory_bytes: u64,
    /// Bytes of the machine code of one component, where a child process compiles.
    pub code_bytes: u64,
    /// Bytes of all machine code that is kept on disk; what was not used for the longest time goes
    /// first.
    pub compiled_bytes: u64,
    /// Functions of one transform.
    pub functions: u32,
    /// Params, inputs and outputs of one function, together.
    pub fields: u32,
    /// Bytes of the description of a transform: names, types and documentation.
    pub description_bytes: u64,
}

const MIB: u64 = 1 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrent_calls: 32,
            calls_per_transform: processors(),
            queued_calls: 64,
            queue_time: Span(1_000_000),
            deadline: Span(10_000_000),
            memory_bytes: 256 * MIB,
            table_elements: 20_000,
            stack_bytes: 512 << 10,
            rows: 65_536,
            input_bytes: 64 * MIB,
            output_bytes: 64 * MIB,
            error_text_bytes: 1_024,
            component_bytes: 64 * MIB,
            compile_time: Span(60_000_000),
            compile_memory_bytes: 2_048 * MIB,
            code_bytes: 256 * MIB,
            compiled_bytes: 2_048 * MIB,
            functions: 256,
            fields: 1_024,
            description_bytes: 4 * MIB,
        }
    }
}

/// How many processors this process may use; one, where the system does not say.
fn processors() -> u32 {
    thread::available_parallelism().map_or(1, |count| count.get().min(1_000) as u32)
}

impl Limits {
    /// What views may have at the most.
    pub fn of_calls(&self) -> CallLimits {
        let bounded = |bytes: u64| Some(u32::try_from(bytes).unwrap_or(u32::MAX));
        CallLimits {
            deadline: Some(self.deadline),
            memory_bytes: bounded(self.memory_bytes),
            rows: Some(self.rows),
            input_bytes: bounded(self.input_bytes),
            output_bytes: bounded(self.output_bytes),
            error_text_bytes: Some(self.error_text_bytes),
        }
    }

    /// These limits, or those of a view where they are tighter.
    #[must_use]
    pub fn tightened(&self, by: &CallLimits) -> Self {
        let bytes = |own: u64, by: Option<u32>| by.map_or(own, |by| own.min(by.into()));
        let count = |own: u32, by: Option<u32>| by.map_or(own, |by| own.min(by));
        Self {
            deadline: by.deadline.map_or(self.deadline, |by| self.deadline.min(by)),
            memory_bytes: bytes(self.memory_bytes, by.memory_bytes),
            rows: count(self.rows, by.rows),
            input_bytes: bytes(self.input_bytes, by.input_bytes),
            output_bytes: bytes(self.output_bytes, by.output_bytes),
            error_text_bytes: count(self.error_text_bytes, by.error_text_bytes),
            ..self.clone()
        }
    }

    /// Refuses limits under which nothing could run, or that the sandbox could not hold.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid), naming the limit and its valid values.
    pub(super) fn check(&self) -> Result<()> {
        let bounds = [
            ("concurrent_calls", u64::from(self.concurrent_calls), 1, 1_000),
            ("calls_per_transform", u64::from(self.calls_per_transform), 1, 1_000),
            ("queue_time (µs)", self.queue_time.0.unsigned_abs(), 0, 86_400_000_000),
            ("deadline (µs)", self.deadline.0.unsigned_abs(), 1, 86_400_000_000),
            ("memory_bytes", self.memory_bytes, 64 << 10, 4 << 30),
            ("stack_bytes", u64::from(self.stack_bytes), 16 << 10, MIB),
            ("rows", u64::from(self.rows), 1, i32::MAX as u64),
            ("input_bytes", self.input_bytes, 1, 2 << 30),
            ("output_bytes", self.output_bytes, 1, 2 << 30),
            ("component_bytes", self.component_bytes, 1, 1 << 30),
            ("compile_time (µs)", self.compile_time.0.unsigned_abs(), 1, 86_400_000_000),
            ("code_bytes", self.code_bytes, 1, 4 << 30),
        ];
        match bounds.iter().find(|(_, value, least, most)| value < least || value > most) {
            None => Ok(()),
            Some((name, value, least, most)) => Err(Error::invalid(format!(
                "the runtime cannot start with {name} = {value}: from {least} to {most} are possible"
            ))),
        }
    }
}

/// A failure of the transform because of a limit.
pub(super) fn exceeded(what: &str, limit: u64, current: u64, requested: u64) -> Error {
    Error::transform(Error::limit(what, limit, current, requested).message())
}

/// The same where nobody knows how much more there would have been.
pub(super) fn used_up(what: &str, limit: u64) -> Error {
    let message = format!("{what} over the limit: limit {limit}, current {limit}, requested more");
    Error::transform(message)
}

/// What one call has used of its memory and tables.
///
/// A growth that is refused ends the call. The guest would otherwise be told, and end itself
/// without saying why.
#[derive(Debug)]
pub(super) struct Allowance {
    memory: Account,
    tables: Account,
}

#[derive(Debug)]
struct Account {
    what: &'static str,
    limit: u64,
    used: u64,
}

impl Allowance {
    pub(super) fn new(limits: &Limits) -> Self {
        let account = |what, limit| Account { what, limit, used: 0 };
        Self {
            memory: account("bytes of memory", limits.memory_bytes),
            tables: account("elements of tables", limits.table_elements.into()),
        }
    }

    /// The bytes of all memories.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory.used
    }
}

impl Account {
    fn grow(&mut self, current: usize, desired: usize) -> wasmtime::Result<bool> {
        let growth = desired.saturating_sub(current) as u64;
        let requested = self.used.saturating_add(growth);
        if requested > self.limit {
            let error = exceeded(self.what, self.limit, self.used, requested);
            return Err(wasmtime::Error::new(error));
        }
        self.used = requested;
        Ok(true)
    }
}

impl ResourceLimiter for Allowance {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory.grow(current, desired)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.tables.grow(current, desired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_come_from_toml_with_defaults() {
        let limits: Limits = toml::from_str("deadline = \"250ms\"\nrows = 10").unwrap();
        let expected = Limits { deadline: Span(250_000), rows: 10, ..Limits::default() };
        assert_eq!(limits, expected);
        assert!(toml::from_str::<Limits>("row = 10").is_err());
    }

    #[test]
    fn a_view_has_at_most_what_the_project_has() {
        let limits = Limits { rows: 10, deadline: Span(1_000), ..Limits::default() };
        assert_eq!(limits.tightened(&CallLimits::default()), limits);
        assert_eq!(limits.tightened(&limits.of_calls()), limits);
        let by = CallLimits { rows: Some(11), deadline: Some(Span(9)), ..CallLimits::default() };
        assert_eq!(limits.tightened(&by), Limits { deadline: Span(9), ..limits.clone() });
    }

    #[test]
    fn impossible_limits_are_refused() {
        assert!(Limits::default().check().is_ok());
        let check = |limits: Limits, expected: &str| {
            assert_eq!(limits.check().unwrap_err().to_string(), expected);
        };
        check(
            Limits { concurrent_calls: 0, ..Limits::default() },
            "the runtime cannot start with concurrent_calls = 0: from 1 to 1000 are possible",
        );
        check(
            Limits { memory_bytes: 8 << 30, ..Limits::default() },
            "the runtime cannot start with memory_bytes = 8589934592: \
             from 65536 to 4294967296 are possible",
        );
    }

    #[test]
    fn an_account_counts_over_all_memories() {
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let mut allowance = Allowance::new(&limits);
        assert!(allowance.memory_growing(0, 60, None).unwrap());
        assert!(allowance.memory_growing(0, 30, None).unwrap());
        let error = allowance.memory_growing(30, 41, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bytes of memory over the limit: limit 100, current 90, requested 101"
        );
        assert!(allowance.memory_growing(30, 40, None).unwrap());
    }
}
