//! From the bytes of a component to machine code.
//!
//! A component is validated and compiled before anything is known of it, and a small one can keep a
//! compiler busy for minutes or make it take gigabytes. So where there is a program to do it, a
//! child process does both, under limits of its own: [`child`] is what runs there.

mod child;

use std::{
    io::{Read, Write as _},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wasmtime::{Engine, component::Component};

use super::{component::admit, engine::Mode, limits::Limits, words::shown};
use crate::{
    error::{Context as _, Error, Result},
    time::Span,
};

pub use child::compile_from_stdin;

/// The most that is read of what a child says besides its answer.
const MAX_COMPLAINT: u64 = 64 << 10;

/// Where components are compiled.
#[derive(Debug, Clone)]
pub(super) enum Compiler {
    /// In this process, without limits: for tests, and for programs that trust what they load.
    Here,
    /// In a child process, which runs this program as
    /// [`COMPILE_COMMAND`](super::COMPILE_COMMAND).
    Child(PathBuf),
}

/// What a child is told besides the component.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    limits: Limits,
    mode: Mode,
}

/// Why a child gave no code.
#[derive(Debug, Serialize, Deserialize)]
struct Refusal {
    message: String,
    hint: Option<String>,
}

/// The first byte of an answer; eight bytes with the length of the rest follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Answer {
    Code = 0,
    Refusal = 1,
}

const HEADER: usize = 9;

impl Compiler {
    /// Admits the component and compiles it for the engine, which has these limits.
    ///
    /// # Errors
    /// Those of [`admit`]; [`Kind::Invalid`](crate::error::Kind::Invalid) for what does not
    /// compile; [`Kind::Limit`](crate::error::Kind::Limit) for what takes too much to compile.
    pub(super) fn compile(
        &self,
        engine: &Engine,
        limits: &Limits,
        mode: Mode,
        bytes: &[u8],
    ) -> Result<Component> {
        match self {
            Self::Here => {
                admit(bytes)?;
                Component::from_binary(engine, bytes).map_err(|error| uncompilable(&error))
            }
            Self::Child(program) => {
                let code = compile_apart(program, limits, mode, bytes)?;
                // SAFETY: the code comes over a pipe that nobody else holds, from a child of this
                // process that runs our own program and never a guest's instruction. Wasmtime
                // checks that it is for an engine of these settings.
                let component = unsafe { Component::deserialize(engine, code) };
                // Only here is it known what the pool has room for.
                component.map_err(|error| uncompilable(&error))
            }
        }
    }
}

fn uncompilable(error: &wasmtime::Error) -> Error {
    let reason = shown(&error.root_cause().to_string(), 1_024);
    Error::invalid(format!("not a transform: it does not compile: {reason}"))
}

/// What came out of a child.
struct Ended {
    answer: Vec<u8>,
    complaint: String,
    status: ExitStatus,
    in_time: bool,
}

fn compile_apart(program: &Path, limits: &Limits, mode: Mode, bytes: &[u8]) -> Result<Vec<u8>> {
    let job = serde_json::to_string(&Job { limits: limits.clone(), mode })
        .map_err(|error| Error::internal(format!("a job cannot be written: {error}")))?;
    let child = Command::new(program)
        .args([super::COMPILE_COMMAND, &job])
        .env_clear()
        // The bound on its memory is one of address space: none of it may be there in reserve.
        .env("MIMALLOC_ARENA_RESERVE", "0")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("cannot start the compiler {}", program.display()))?;
    let ended = run(child, limits, bytes).context(|| "the compiler's end was lost")?;
    ended.code(limits)
}

/// Feeds the child and listens to it until it has said everything or its time is up.
fn run(mut child: Child, limits: &Limits, bytes: &[u8]) -> std::io::Result<Ended> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (said, heard) = mpsc::channel();
    thread::scope(|scope| {
        // A child that ended early does not read on: that it did is seen from its answer.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(bytes)));
        let answer = scope.spawn(move || {
            let answer = read(stdout, limits.code_bytes + HEADER as u64 + 1);
            let _ = said.send(());
            answer
        });
        let complaint = scope.spawn(move || read(stderr, MAX_COMPLAINT));
        let in_time = heard.recv_timeout(duration(limits.compile_time)).is_ok();
        // It has nothing more to say. Where it ended by itself, this changes nothing.
        child.kill()?;
        let status = child.wait()?;
        Ok(Ended {
            answer: answer.join().unwrap_or_default(),
            complaint: String::from_utf8_lossy(&complaint.join().unwrap_or_default()).into_owned(),
            status,
            in_time,
        })
    })
}

fn duration(span: Span) -> Duration {
    Duration::from_micros(span.0.unsigned_abs())
}

/// Everything up to a limit, behind which the pipe is closed.
fn read(pipe: Option<impl Read>, limit: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // Whatever came before an error is judged as if it were all.
        let _ = pipe.take(limit).read_to_end(&mut bytes);
    }
    bytes
}

impl Ended {
    fn code(mut self, limits: &Limits) -> Result<Vec<u8>> {
        match self.header() {
            Some((Answer::Code, length)) if length > limits.code_bytes => {
                Err(Error::limit("bytes of compiled code", limits.code_bytes, 0, length))
            }
            Some((answer, length)) if (self.answer.len() - HEADER) as u64 == length => {
                let rest = self.answer.split_off(HEADER);
                match answer {
                    Answer::Code => Ok(rest),
                    Answer::Refusal => Err(refused(&rest)),
                }
            }
            _ => Err(self.failed(limits)),
        }
    }

    fn header(&self) -> Option<(Answer, u64)> {
        let header = self.answer.first_chunk::<HEADER>()?;
        let (first, length) = header.split_first()?;
        let answer = [Answer::Code, Answer::Refusal].into_iter().find(|a| *a as u8 == *first)?;
        Some((answer, u64::from_le_bytes(length.try_into().ok()?)))
    }

    /// The error of a child that ended without an answer.
    fn failed(&self, limits: &Limits) -> Error {
        let hint = "a component of this size usually compiles well within the limits: look for \
             generated code, such as large tables or functions of many thousand lines; the limits \
             are in [limits] of unskew.toml";
        if !self.in_time || self.status.signal() == Some(CPU_TIME_IS_UP) {
            let limit = limits.compile_time;
            return Error::new(
                crate::error::Kind::Limit,
                format!(
                    "time to compile over the limit: limit {limit}, current {limit}, requested more"
                ),
            )
            .with_hint(hint);
        }
        if self.complaint.contains("memory allocation of") {
            let limit = limits.compile_memory_bytes;
            return Error::new(
                crate::error::Kind::Limit,
                format!(
                    "bytes of memory to compile over the limit: \
                     limit {limit}, current {limit}, requested more"
                ),
            )
            .with_hint(hint);
        }
        let last = self.complaint.lines().last().unwrap_or("it said nothing");
        let (status, last) = (self.status, shown(last, 1_024));
        Error::invalid(format!("not a transform: the compiler failed on it ({status}): {last}"))
    }
}

/// SIGXCPU, which has this number on every Unix.
const CPU_TIME_IS_UP: i32 = 24;

fn refused(text: &[u8]) -> Error {
    match serde_json::from_slice::<Refusal>(text) {
        Ok(Refusal { message, hint: Some(hint) }) => Error::invalid(message).with_hint(hint),
        Ok(Refusal { message, hint: None }) => Error::invalid(message),
        Err(error) => Error::internal(format!("the compiler's answer cannot be read: {error}")),
    }
}
