//! Good and evil calls side by side, for a while: every good answer is right to the bit, nothing
//! falls, memory stays as it is.
//!
//! `UNSKEW_SOAK_SECONDS` is how long it takes, 4 where it is not set: half of it without evil calls
//! and half with them. What calls took is printed, and judged by people: it depends on the machine.

use std::{
    env, fs,
    process::Command,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use arrow::array::{Array, ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};
use hdrhistogram::Histogram;
use unskew::{
    time::Span,
    wasm::{Limits, Runtime, Transform, build},
};

use crate::support::checkout;

const THREADS: usize = 32;

/// One call in so many is evil, where there are any.
const EVIL: u64 = 4;

/// How much the process may grow in the second half of the evil calls of a soak of a minute or more.
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
        Self { transform, function, params, inputs, rows, expected }
    }

    /// Calls it and compares, bit for bit.
    fn check(&self) {
        let outcome = self.transform.call(self.function, &self.params, &self.inputs, self.rows);
        let columns = outcome.expect("a good call is answered").columns;
        let same =
            columns.iter().zip(&self.expected).all(|(one, two)| one.to_data() == two.to_data());
        assert!(same && columns.len() == self.expected.len(), "a wrong answer");
    }
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
}

impl Evil {
    fn call(&self, random: u64) {
        let functions = self.transform.functions();
        let function = random as usize % functions.len();
        let inputs = match functions[function].inputs[0].name.as_str() {
            "s" => &self.s,
            _ => &self.x,
        };
        let inputs = std::slice::from_ref(inputs);
        let _ = self.transform.call_within(&self.limits, function, &[], inputs, 3);
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

#[test]
#[ignore = "run by the soak, in a process of its own, whose memory is measured"]
fn soak_in_a_child() {
    let seconds = env::var("UNSKEW_SOAK_SECONDS").map_or(4.0, |text| text.parse().unwrap());
    let limits = Limits { deadline: Span(60_000_000), ..Limits::default() };
    let runtime = Runtime::new(limits.clone(), None).unwrap();
    let good = good(&runtime);
    let evil = build(&checkout().join("transforms/evil")).unwrap().component;
    let evil = Evil {
        transform: runtime.load(&evil).unwrap(),
        // So that they are over soon. A deadline is time by the clock: good calls have one that
        // also holds where a machine is busy with other things.
        limits: Limits { deadline: Span(50_000), memory_bytes: 64 << 20, ..limits },
        x: Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0])),
        s: Arc::new(StringArray::from(vec!["a", "b", "c"])),
    };
    let half = Duration::from_secs_f64(seconds / 2.0);
    print("without evil calls", &run(&good, None, half));
    print("with evil calls", &run(&good, Some(&evil), half.div_f64(2.0)));
    let before = resident();
    print("with evil calls", &run(&good, Some(&evil), half.div_f64(2.0)));
    let after = resident();
    println!("memory: {} MiB, then {} MiB", before >> 20, after >> 20);
    let growth = if seconds < 60.0 { GROWTH + POOL } else { GROWTH };
    assert!(after < before + growth, "memory grew from {before} to {after} bytes");
}

/// What the good calls took, in microseconds, and how many evil ones there were.
struct Ran {
    good: Histogram<u64>,
    evil: u64,
}

fn run(good: &[Good], evil: Option<&Evil>, time: Duration) -> Ran {
    let end = Instant::now() + time;
    let evil_calls = AtomicU64::new(0);
    let worker = &|seed: u64| {
        let mut took = Histogram::new(3).unwrap();
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        while Instant::now() < end {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            match evil.filter(|_| (random >> 8).is_multiple_of(EVIL)) {
                Some(evil) => {
                    evil.call(random >> 16);
                    evil_calls.fetch_add(1, Relaxed);
                }
                None => {
                    let started = Instant::now();
                    good[(random >> 16) as usize % good.len()].check();
                    took.saturating_record(started.elapsed().as_micros() as u64);
                }
            }
        }
        took
    };
    let mut total = Histogram::new(3).unwrap();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..THREADS).map(|seed| scope.spawn(move || worker(seed as u64 + 1))).collect();
        for thread in threads {
            total.add(thread.join().unwrap()).unwrap();
        }
    });
    Ran { good: total, evil: evil_calls.into_inner() }
}

fn print(what: &str, ran: &Ran) {
    println!(
        "{what}: {} good calls, p50 {} µs, p99 {} µs, at most {} µs; {} evil calls",
        ran.good.len(),
        ran.good.value_at_quantile(0.5),
        ran.good.value_at_quantile(0.99),
        ran.good.max(),
        ran.evil
    );
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
