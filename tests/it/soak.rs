//! Good and evil calls side by side, for a while: every good answer is right to the bit, nothing
//! falls, memory stays as it is, and good calls take hardly longer for the evil ones.
//!
//! Every call waits for its turn and is made on the spot or apart, as the calls of a server are.
//! `UNSKEW_SOAK_SECONDS` is how long it takes, 4 where it is not set: in many short slices, by turns
//! without evil calls and with them, so that whatever else the machine does weighs on both alike.

use std::{
    collections::BTreeSet,
    env, fs,
    process::Command,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use arrow::array::{Array, ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use hdrhistogram::Histogram;
use tokio::task::{self, JoinSet};
use unskew::{
    definition::CallLimits,
    digest::Digest,
    error::Result,
    evaluate::{Pace, Turns},
    time::Span,
    wasm::{Limits, Runtime, Transform, build},
};

use crate::support::checkout;

/// How many call at the same time; each has a thread of its own while it computes.
const CALLERS: u64 = 32;

/// One call in so many is evil, where there are any.
const EVIL: u64 = 4;

/// How long a slice is without evil calls, or with them.
const SLICE: Duration = Duration::from_millis(500);

/// How much longer the slowest of a hundred good calls may take beside evil ones, in a soak of a
/// minute or more; in a shorter one there are too few calls to tell.
const SLOWER: f64 = 2.0;

/// How much more memory the process may have in the last quarter of a soak of a minute or more than in
/// the second one, on average: from slice to slice it has a tenth more or less, as hostile calls come
/// and go with outputs of megabytes.
const GROWTH: u64 = 48 << 20;

/// How much more it may grow in a shorter one: what the pool keeps mapped for calls to come, which
/// not every slot has then.
const POOL: u64 = (32 * 8) << 20;

/// A call, and its answer as it was before anybody else called.
struct Good {
    transform: Arc<Transform>,
    function: usize,
    params: Vec<ArrayRef>,
    inputs: Vec<ArrayRef>,
    rows: usize,
    expected: Vec<ArrayRef>,
    turn: BTreeSet<Digest>,
    pace: Pace,
}

impl Good {
    fn new(
        runtime: &Runtime,
        folder: &str,
        function: &str,
        params: Vec<ArrayRef>,
        inputs: Vec<ArrayRef>,
    ) -> Self {
        let component = build(&checkout().join("transforms").join(folder)).unwrap().component;
        let transform = runtime.load(&component).unwrap();
        let function = transform.function(function).unwrap();
        let rows = inputs[0].len();
        let expected = transform.call(function, &params, &inputs, rows).unwrap().columns;
        let turn = BTreeSet::from([transform.digest()]);
        let pace = Pace::default();
        Self { transform, function, params, inputs, rows, expected, turn, pace }
    }

    /// Calls it and compares, bit for bit.
    fn check(&self, moment: Option<Span>) -> Result<()> {
        let limits = self.transform.limits().tightened(&within(moment));
        let (params, inputs) = (&self.params, &self.inputs);
        let outcome =
            self.transform.call_within(&limits, self.function, params, inputs, self.rows)?;
        let columns = outcome.columns;
        let same =
            columns.iter().zip(&self.expected).all(|(one, two)| one.to_data() == two.to_data());
        assert!(same && columns.len() == self.expected.len(), "a wrong answer");
        Ok(())
    }
}

/// What a call may take that has a moment.
fn within(moment: Option<Span>) -> CallLimits {
    CallLimits { deadline: moment, ..CallLimits::default() }
}

fn good(runtime: &Runtime) -> Vec<Good> {
    let rows = |count: usize| -> Vec<Option<f64>> {
        (0..count).map(|row| (row % 7 != 3).then_some(row as f64 * 1.25 - 40.0)).collect()
    };
    let floats = |values: Vec<Option<f64>>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let moments = |step: i64| {
        let moments = (0..64).map(|row| row * step + 1_000_000);
        Arc::new(TimestampMicrosecondArray::from_iter_values(moments).with_timezone("UTC"))
            as ArrayRef
    };
    let texts: Vec<String> = (0..64).map(|row| format!("Zero skew, provably {row}")).collect();
    let params = || vec![floats(vec![Some(37.25)]), floats(vec![Some(11.5)])];
    vec![
        Good::new(runtime, "scale", "standardize", params(), vec![floats(rows(1))]),
        Good::new(runtime, "scale", "standardize", params(), vec![floats(rows(1_000))]),
        Good::new(
            runtime,
            "recency",
            "days_since",
            vec![],
            vec![moments(86_399_999_983), moments(90_000_000_077)],
        ),
        Good::new(runtime, "text", "tokens", vec![], vec![Arc::new(StringArray::from(texts))]),
    ]
}

/// Every function of the hostile component; what it answers does not matter.
struct Evil {
    transform: Arc<Transform>,
    limits: Limits,
    x: ArrayRef,
    s: ArrayRef,
    turn: BTreeSet<Digest>,
    /// Of each function, as each view has its own.
    paces: Vec<Pace>,
}

impl Evil {
    fn call(&self, function: usize, moment: Option<Span>) -> Result<()> {
        let inputs = match self.transform.functions()[function].inputs[0].name.as_str() {
            "s" => &self.s,
            _ => &self.x,
        };
        let limits = self.limits.tightened(&within(moment));
        let inputs = std::slice::from_ref(inputs);
        self.transform.call_within(&limits, function, &[], inputs, 3).map(drop)
    }
}

#[test]
fn good_calls_are_right_whatever_evil_ones_do() {
    let child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "soak::soak_in_a_child"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    println!("{said}");
}

/// The calls there are, and the turns they wait for.
struct Server {
    good: Vec<Good>,
    evil: Evil,
    turns: Turns,
}

impl Server {
    fn new() -> Self {
        let limits = Limits { deadline: Span(60_000_000), ..Limits::default() };
        let runtime = Runtime::new(limits.clone(), None).unwrap();
        let good = good(&runtime);
        let evil = build(&checkout().join("transforms/evil")).unwrap().component;
        let evil = runtime.load(&evil).unwrap();
        let digests = good.iter().map(|good| good.transform.digest()).chain([evil.digest()]);
        let turns = Turns::new(&limits, digests);
        let evil = Evil {
            turn: BTreeSet::from([evil.digest()]),
            paces: evil.functions().iter().map(|_| Pace::default()).collect(),
            transform: evil,
            // So that they are over soon. A deadline is time by the clock: good calls have one that
            // also holds where a machine is busy with other things.
            limits: Limits { deadline: Span(50_000), memory_bytes: 64 << 20, ..limits },
            x: Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])),
            s: Arc::new(StringArray::from(vec!["a", "b", "c"])),
        };
        Self { good, evil, turns }
    }

    /// One good call, with the time it takes to get a turn.
    async fn call_good(&self, random: u64) -> Duration {
        let good = &self.good[random as usize % self.good.len()];
        let started = Instant::now();
        let done = self.turns.run_paced(&good.turn, &good.pace, |moment| good.check(moment)).await;
        done.expect("a good call gets a turn and an answer");
        started.elapsed()
    }

    /// One evil call, or none where too many wait already.
    async fn call_evil(&self, random: u64) {
        let evil = &self.evil;
        let function = random as usize % evil.paces.len();
        let work = |moment| evil.call(function, moment);
        let _ = self.turns.run_paced(&evil.turn, &evil.paces[function], work).await;
    }
}

#[test]
#[ignore = "run by the soak, in a process of its own, whose memory is measured"]
fn soak_in_a_child() {
    let seconds = env::var("UNSKEW_SOAK_SECONDS").map_or(4.0, |text| text.parse().unwrap());
    let long = seconds >= 60.0;
    let server = Arc::new(Server::new());
    let threads = tokio::runtime::Runtime::new().unwrap();
    let (mut without, mut with) = (Ran::new(), Ran::new());
    let slices = (seconds / SLICE.as_secs_f64() / 2.0).ceil() as u32;
    let mut memory = Vec::new();
    for slice in 0..slices {
        threads.block_on(run(&server, slice, false, &mut without));
        threads.block_on(run(&server, slice, true, &mut with));
        memory.push(resident());
    }
    let quarter = memory.len() / 4;
    let mean = |memory: &[u64]| memory.iter().sum::<u64>() / memory.len() as u64;
    let before = mean(&memory[quarter..=2 * quarter]);
    let after = mean(&memory[memory.len() - 1 - quarter..]);
    without.print("without evil calls");
    with.print("with evil calls");
    println!("memory: {} MiB in the second quarter, {} in the last", before >> 20, after >> 20);
    let slower = with.worst() as f64 / without.worst().max(1) as f64;
    println!("99th percentile with evil calls to that without: {slower:.2}");
    let growth = if long { GROWTH } else { GROWTH + POOL };
    assert!(after < before + growth, "memory grew from {before} to {after} bytes");
    assert!(!long || slower <= SLOWER, "good calls take {slower:.2} times as long");
}

/// What good calls took, in microseconds, and how many evil ones there were.
struct Ran {
    good: Histogram<u64>,
    evil: u64,
}

impl Ran {
    fn new() -> Self {
        Self { good: Histogram::new(3).unwrap(), evil: 0 }
    }

    /// What 99 of a hundred good calls did not take longer than.
    fn worst(&self) -> u64 {
        self.good.value_at_quantile(0.99)
    }

    fn print(&self, what: &str) {
        println!(
            "{what}: {} good calls, p50 {} µs, p99 {} µs, at most {} µs; {} evil calls",
            self.good.len(),
            self.good.value_at_quantile(0.5),
            self.worst(),
            self.good.max(),
            self.evil
        );
    }
}

/// Callers that call for one slice, each of them one call after the other.
async fn run(server: &Arc<Server>, slice: u32, evil: bool, ran: &mut Ran) {
    let end = Instant::now() + SLICE;
    let evil_calls = Arc::new(AtomicU64::new(0));
    let mut callers = JoinSet::new();
    for caller in 1..=CALLERS {
        let seed = u64::from(slice) * CALLERS + caller;
        let (server, evil_calls) = (Arc::clone(server), Arc::clone(&evil_calls));
        callers.spawn(async move {
            let mut took = Histogram::<u64>::new(3).unwrap();
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            while Instant::now() < end {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                if evil && (random >> 8).is_multiple_of(EVIL) {
                    server.call_evil(random >> 16).await;
                    evil_calls.fetch_add(1, Relaxed);
                } else {
                    let time = server.call_good(random >> 16).await;
                    took.record(time.as_micros() as u64).unwrap();
                }
                // As a connection does, which waits for its next request.
                task::yield_now().await;
            }
            took
        });
    }
    while let Some(took) = callers.join_next().await {
        ran.good.add(took.unwrap()).unwrap();
    }
    ran.evil += evil_calls.load(Relaxed);
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
