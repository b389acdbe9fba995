//! The engine: the one list of settings that every path of a value shares.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    Strategy, WasmBacktraceDetails,
};

use super::{component::feature_names, limits::Limits};
use crate::{
    digest::Digest,
    error::{Context as _, Error, Result},
    time::Span,
};

/// The release of Wasmtime in this binary; a test compares it with `Cargo.lock`.
const WASMTIME: &str = "48.0.8";

/// How often a running call is asked whether its time is up.
const TICK: Duration = Duration::from_millis(10);

/// Memory of a finished call that stays mapped for the next one: clearing it costs less than
/// faulting it in again.
const RESIDENT_BYTES: usize = 8 << 20;

/// The least that the kernel tells apart, on the machines that we know.
const PAGE_BYTES: usize = 4 << 10;

/// Room in the pool for what one component instantiates. A Rust guest has one of each; a Python
/// or JavaScript guest has a dozen modules around one memory.
const CORE_INSTANCES: u32 = 16;
const MEMORIES: u32 = 2;
const TABLES: u32 = 8;

/// Everything besides a component's bytes that could change what it computes.
///
/// The rule on NaN is that of the boundary: whatever NaN goes into a function or comes out of it
/// is the canonical one. Within a call a NaN has the bits the processor gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeProfile {
    /// Its name: `standard`, or `strict` in the publish check.
    pub name: String,
    /// The release of Wasmtime.
    pub wasmtime: String,
    /// The WebAssembly features that are on, in ascending order.
    pub features: Vec<String>,
    /// Where NaN is made canonical: at the `boundary`, or by every `operation`.
    pub nan: String,
    /// The digest of the canonical form of all of the above.
    pub digest: Digest,
}

impl RuntimeProfile {
    /// The profile of every engine of this mode.
    pub(super) fn of(mode: Mode) -> Result<Self> {
        let (name, nan) = match mode {
            Mode::Standard => ("standard", "boundary"),
            Mode::Strict { .. } => ("strict", "operation"),
        };
        let features = feature_names();
        let content = serde_json::json!({
            "name": name, "wasmtime": WASMTIME, "features": features, "nan": nan,
        });
        Ok(Self {
            name: name.to_owned(),
            wasmtime: WASMTIME.to_owned(),
            features,
            nan: nan.to_owned(),
            digest: Digest::of_canonical_json(&content)?,
        })
    }
}

/// What an engine is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Mode {
    /// Every path of a value.
    Standard,
    /// The publish check: every operation makes its NaN canonical, and the instructions of a call
    /// are counted, up to this many. Both cost time: 4 to 12 times on kernels of floats.
    Strict { instructions: u64 },
}

impl Mode {
    fn is_strict(self) -> bool {
        self != Self::Standard
    }
}

/// The settings, each with its reason.
fn engine_config(limits: &Limits, mode: Mode) -> Config {
    let mut config = Config::new();
    config
        // Other bits on other machines.
        .wasm_relaxed_simd(false)
        // On by default, and nothing a transform needs. Threads, exceptions and asynchronous
        // components are not even compiled in; `component` refuses whatever it does not list.
        .wasm_gc(false)
        .wasm_memory64(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        // Winch, the other compiler, had four of twelve advisories in one batch of 2026.
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        // Costs 4 to 12 times on kernels of floats; the boundary does it instead.
        .cranelift_nan_canonicalization(mode.is_strict())
        .parallel_compilation(true)
        // The deadline.
        .epoch_interruption(true)
        .consume_fuel(mode.is_strict())
        .max_wasm_stack(limits.stack_bytes as usize)
        // Calls are synchronous; bookkeeping for tasks would cost 0.5 µs in each.
        .concurrency_support(false)
        .shared_memory(false)
        // Errors are in the words of the platform's users, and artifacts are stripped: frames
        // would say nothing. The details are not left to an environment variable.
        .wasm_backtrace_max_frames(None)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .generate_address_map(false)
        // A memory has its address space from the start and grows where it lies, so that code need
        // not look for it after each call.
        .memory_may_move(false)
        // A fresh instance begins as a copy-on-write image of the initialized memory.
        .memory_init_cow(true)
        .memory_guaranteed_dense_image_size(64 << 20)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    config
}

/// Room for `concurrent_calls` instances of any component, so that an instance is never refused
/// for want of room as long as calls wait their turn.
fn pool(limits: &Limits) -> PoolingAllocationConfig {
    let calls = limits.concurrent_calls;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(calls)
        .total_core_instances(calls * CORE_INSTANCES)
        .total_memories(calls * MEMORIES)
        .total_tables(calls * TABLES)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_tables_per_module(TABLES)
        .table_elements(limits.table_elements as usize)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        // A page, which is all that the table of most guests has: that is cleared without asking the
        // kernel what was written.
        .table_keep_resident(PAGE_BYTES)
        // Clears only the pages that were written: 34 µs → 12 µs for a call of one row.
        .pagemap_scan(Enabled::Auto);
    pool
}

/// An engine, with the thread that drives its clock for as long as the engine lives.
pub(super) fn start(limits: &Limits, mode: Mode) -> Result<Engine> {
    let cannot = |reason: String| Error::unavailable(format!("the runtime cannot start: {reason}"));
    let engine =
        Engine::new(&engine_config(limits, mode)).map_err(|error| cannot(error.to_string()))?;
    let weak = engine.weak();
    let tick = move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    };
    let name = "unskew-epoch".to_owned();
    thread::Builder::new().name(name).spawn(tick).context(|| "the runtime cannot start")?;
    Ok(engine)
}

/// An engine that compiles for those that [`start`] gives, and runs nothing: it takes no address
/// space for instances, which does not show in the code.
pub(super) fn for_compiling(limits: &Limits, mode: Mode) -> Result<Engine> {
    let mut config = engine_config(limits, mode);
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    Engine::new(&config)
        .map_err(|error| Error::unavailable(format!("the compiler cannot start: {error}")))
}

/// The deadline in ticks, rounded up; the tick under way counts for none.
pub(super) fn deadline_ticks(deadline: Span) -> u64 {
    let micros = deadline.0.unsigned_abs();
    micros.div_ceil(TICK.as_micros() as u64) + 1
}

/// A name for "code compiled by this engine runs on this machine".
pub(super) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_names_the_wasmtime_of_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        let entry = format!("name = \"wasmtime\"\nversion = \"{WASMTIME}\"\n");
        assert!(lock.contains(&entry), "the lock file has another wasmtime than {WASMTIME}");
    }

    #[test]
    fn the_profile_has_a_digest_of_its_own() {
        let profile = RuntimeProfile::of(Mode::Standard).unwrap();
        assert_eq!(profile, RuntimeProfile::of(Mode::Standard).unwrap());
        let strict = RuntimeProfile::of(Mode::Strict { instructions: 1 }).unwrap();
        assert_ne!(profile.digest, strict.digest);
    }
}
