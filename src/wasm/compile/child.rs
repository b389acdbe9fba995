//! The child process: limits first, then the component.

use std::{
    io::{self, Read as _, Write as _},
    thread,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{Answer, Job, Refusal, uncompilable};
use crate::{
    error::{Context as _, Error, Result},
    wasm::{
        component::{admit, check_size},
        engine,
        limits::Limits,
    },
};

/// Compiles the component on stdin and writes the code to stdout; a component that is refused is
/// an answer too. `job` is what the parent hands over; this process is not to do anything else.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid) for another job;
/// [`Kind::Unavailable`](crate::error::Kind::Unavailable) when the limits cannot be set or a pipe
/// is closed.
pub fn compile_from_stdin(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job)
        .map_err(|error| Error::invalid(format!("no job for a compiler: {error}")))?;
    restrict(&job.limits).context(|| "the limits of the compiler cannot be set")?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(job.limits.component_bytes + 1).read_to_end(&mut bytes)?;
    let (answer, content) = match compile(&job, &bytes) {
        Ok(code) => (Answer::Code, code),
        Err(error) => (Answer::Refusal, refusal(&error)?),
    };
    let mut stdout = io::stdout().lock();
    stdout.write_all(&[answer as u8])?;
    stdout.write_all(&(content.len() as u64).to_le_bytes())?;
    stdout.write_all(&content)?;
    Ok(stdout.flush()?)
}

fn compile(job: &Job, bytes: &[u8]) -> Result<Vec<u8>> {
    check_size(bytes, &job.limits)?;
    admit(bytes)?;
    let engine = engine::for_compiling(&job.limits, job.mode)?;
    engine.precompile_component(bytes).map_err(|error| uncompilable(&error))
}

fn refusal(error: &Error) -> Result<Vec<u8>> {
    let (message, hint) = (error.message().to_owned(), error.hint().map(str::to_owned));
    serde_json::to_vec(&Refusal { message, hint })
        .map_err(|error| Error::internal(format!("a refusal cannot be written: {error}")))
}

/// Takes away from this process whatever compiling does not need.
fn restrict(limits: &Limits) -> io::Result<()> {
    let at_most =
        |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
    // The parent keeps the time by the clock; this ends a child whose parent is gone.
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let seconds = limits.compile_time.0.unsigned_abs().div_ceil(1_000_000);
    at_most(Resource::Cpu, seconds.saturating_mul(cores).saturating_add(1))?;
    at_most(Resource::Core, 0)?;
    at_most(Resource::Fsize, 0)?;
    #[cfg(target_os = "linux")]
    at_most(Resource::As, address_space()?.saturating_add(limits.compile_memory_bytes))?;
    Ok(())
}

/// Bytes of address space that this process has before it begins: the program and its libraries.
#[cfg(target_os = "linux")]
fn address_space() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.strip_suffix("kB"));
    let kib = size.and_then(|size| size.trim().parse::<u64>().ok());
    kib.map(|kib| kib * 1_024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
