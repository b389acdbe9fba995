//! What the sandbox costs, in one run: six kernels against the same source compiled natively and
//! against Python, a call of one row, and a start with many transforms.
//!
//! `make bench` measures a release build, which is what users run. The contenders take turns, in many
//! short rounds, and the best round of each counts: so ratios hold on a machine that does other
//! things as well.
//!
//! The native side begins and ends with Arrow columns too: it copies them into the SDK's columns,
//! runs the very loop that the component runs, and makes Arrow arrays of what comes out. What it
//! has not is the border: no instance, no second copy, no check of what comes back. So does Python:
//! `row_functions.py` makes rows of a table, calls the function with each, and makes a column of what
//! it returns; what the calls take alone is shown beside it.

use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray,
        TimestampMicrosecondArray,
    },
    buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer},
    datatypes::{DataType as ArrowType, Field, Float64Type, Int64Type, TimestampMicrosecondType},
};
use unskew::{
    definition::{PinnedTransform, State},
    digest::Digest,
    evaluate::Library,
    registry::{PublishReport, Registry},
    time::Timestamp,
    wasm::{Limits, Runtime, Transform, build},
};
use unskew_sdk::abi::{Batch, Column, Values, VarBytes};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 8_192;

/// Rounds of every contender.
const ROUNDS: usize = 400;

/// A function in both worlds, with what it is called with.
struct Kernel {
    name: &'static str,
    transform: Arc<Transform>,
    native: &'static unskew_sdk::Transform,
    place: usize,
    params: Vec<ArrayRef>,
    inputs: Vec<ArrayRef>,
}

impl Kernel {
    fn wasm(&self, inputs: &[ArrayRef], rows: usize) -> Vec<ArrayRef> {
        let outcome = self.transform.call(self.place, &self.params, inputs, rows);
        outcome.expect("the call succeeds").columns
    }

    fn native(&self) -> Vec<ArrayRef> {
        let params: Vec<_> = self.params.iter().map(to_sdk).collect();
        let columns = self.inputs.iter().map(to_sdk).collect();
        let batch = Batch { rows: ROWS as u32, columns };
        let outcome = self.native.apply(self.place as u32, &params, batch);
        let outcome = outcome.unwrap_or_else(|failure| panic!("{}", failure.message));
        outcome.columns.into_iter().map(from_sdk).collect()
    }

    fn first_row(&self) -> Vec<ArrayRef> {
        self.inputs.iter().map(|input| input.slice(0, 1)).collect()
    }

    /// Both worlds agree, to the bit.
    fn check(&self) {
        assert_eq!(self.wasm(&self.inputs, ROWS), self.native(), "{}", self.name);
    }
}

fn to_sdk(array: &ArrayRef) -> Column {
    let offsets = |offsets: &OffsetBuffer<i32>| offsets.to_vec();
    let values = match array.data_type() {
        ArrowType::Float64 => {
            Values::Float64(array.as_primitive::<Float64Type>().values().to_vec())
        }
        ArrowType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values().to_vec()),
        ArrowType::Utf8 => {
            let text = array.as_string::<i32>();
            let bytes = text.value_data().to_vec();
            Values::Utf8(VarBytes { offsets: offsets(text.offsets()), bytes })
        }
        _ => Values::Timestamp(array.as_primitive::<TimestampMicrosecondType>().values().to_vec()),
    };
    let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let validity = nulls.map_or(vec![], |nulls| nulls.inner().sliced().to_vec());
    Column { values, validity }
}

fn from_sdk(column: Column) -> ArrayRef {
    let validity = column.validity;
    let nulls = (!validity.is_empty())
        .then(|| NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(validity), 0, ROWS)));
    let offsets = |offsets: Vec<i32>| OffsetBuffer::new(ScalarBuffer::from(offsets));
    let text = |text: VarBytes, nulls| {
        // SAFETY: the SDK wrote it from strings.
        unsafe {
            StringArray::new_unchecked(offsets(text.offsets), Buffer::from_vec(text.bytes), nulls)
        }
    };
    match column.values {
        Values::Float64(values) => Arc::new(Float64Array::new(values.into(), nulls)),
        Values::Int64(values) => Arc::new(Int64Array::new(values.into(), nulls)),
        Values::Utf8(values) => Arc::new(text(values, nulls)),
        Values::ListUtf8(lists) => {
            let items = text(lists.items, None);
            let item = Arc::new(Field::new_list_field(ArrowType::Utf8, true));
            Arc::new(ListArray::new(item, offsets(lists.offsets), Arc::new(items), nulls))
        }
        other => panic!("no kernel gives {}", other.data_type().name()),
    }
}

fn component(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("transforms").join(name);
    build(&folder).expect("the transform builds").component
}

/// One row in sixteen is null.
fn rows<T>(value: impl Fn(usize) -> T) -> impl Iterator<Item = Option<T>> {
    (0..ROWS).map(move |row| (row % 16 != 7).then(|| value(row)))
}

/// The same rows as in `row_functions.py`.
fn kernels(runtime: &Runtime) -> Vec<Kernel> {
    let load = |name| runtime.load(&component(name)).expect("the transform loads");
    let (scale, text, recency) = (load("scale"), load("text"), load("recency"));
    let amounts =
        || Arc::new(Float64Array::from_iter(rows(|row| row as f64 * 1.25 + 0.5))) as ArrayRef;
    let moments = |step: i64| {
        let moments = rows(|row| row as i64 * step + 1_000_000);
        Arc::new(TimestampMicrosecondArray::from_iter(moments).with_timezone("UTC")) as ArrayRef
    };
    let constant = |value| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let count = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
    let words = ["Zero skew", "provably", "the SAME bits,", "whichever path", "computed them"];
    let texts = || {
        let texts = rows(|row| format!("{} {} {row}", words[row % 5], words[row % 3]));
        Arc::new(StringArray::from_iter(texts)) as ArrayRef
    };
    let kernel = |name, transform: &Arc<Transform>, native, params, inputs| Kernel {
        name,
        transform: Arc::clone(transform),
        native,
        place: transform.function(name).expect("the function exists"),
        params,
        inputs,
    };
    let scaled = vec![constant(37.2), constant(11.0)];
    let buckets = vec![constant(100.0), constant(9_000.0), count(20)];
    let between = vec![moments(60_000_017), moments(90_000_077)];
    vec![
        kernel("standardize", &scale, &scale::TRANSFORM, scaled, vec![amounts()]),
        kernel("natural_log", &scale, &scale::TRANSFORM, vec![], vec![amounts()]),
        kernel("bucket", &scale, &scale::TRANSFORM, buckets, vec![amounts()]),
        kernel("normalise", &text, &text::TRANSFORM, vec![], vec![texts()]),
        kernel("tokens", &text, &text::TRANSFORM, vec![], vec![texts()]),
        kernel("days_since", &recency, &recency::TRANSFORM, vec![], between),
    ]
}

/// The best rounds of a kernel.
#[derive(Clone, Copy)]
struct Best {
    one_row: Duration,
    wasm: Duration,
    native: Duration,
}

fn measure(kernels: &[Kernel]) -> Vec<Best> {
    let never = Best { one_row: Duration::MAX, wasm: Duration::MAX, native: Duration::MAX };
    let mut best = vec![never; kernels.len()];
    for _ in 0..ROUNDS {
        for (kernel, best) in kernels.iter().zip(&mut best) {
            let one = kernel.first_row();
            for _ in 0..4 {
                best.one_row = best.one_row.min(time(|| kernel.wasm(black_box(&one), 1)));
            }
            best.wasm = best.wasm.min(time(|| kernel.wasm(black_box(&kernel.inputs), ROWS)));
            best.native = best.native.min(time(|| black_box(kernel).native()));
        }
    }
    best
}

fn time<T>(run: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    let result = run();
    let took = start.elapsed();
    drop(black_box(result));
    took
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

/// What the row functions take, by name; nothing without `UNSKEW_PYTHON`.
fn python() -> Option<serde_json::Value> {
    let python = env::var_os("UNSKEW_PYTHON")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/row_functions.py");
    let output = Command::new(python).arg(script).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn print_kernels(kernels: &[Kernel], best: &[Best]) {
    let python = python();
    println!(
        "\nµs, from Arrow columns to Arrow columns; of Python the calls alone as well\n\
         {:12} {:>7} {:>11} {:>8} {:>6} {:>10} {:>6} {:>10} {:>6}",
        "", "1 row", "8,192 rows", "native", "ratio", "Python", "ratio", "calls", "ratio"
    );
    let (mut ratios, mut faster, mut calls) = (Vec::new(), Vec::new(), Vec::new());
    for (Kernel { name, .. }, best) in kernels.iter().zip(best) {
        let (one, wasm, native) = (micros(best.one_row), micros(best.wasm), micros(best.native));
        print!("{name:12} {one:7.1} {wasm:11.1} {native:8.1} {:6.2}", wasm / native);
        ratios.push(wasm / native);
        for (what, ratios) in [("arrow", &mut faster), ("loop", &mut calls)] {
            if let Some(python) = python.as_ref().and_then(|python| python[name][what].as_f64()) {
                print!(" {python:10.0} {:6.0}", python / wasm);
                ratios.push(python / wasm);
            }
        }
        println!();
    }
    println!("geometric mean of the ratios to native: {:.2}", geometric_mean(&ratios));
    match python {
        None => println!("not compared with Python: UNSKEW_PYTHON is not set"),
        Some(_) => println!(
            "faster than Python, geometric mean: {:.1} times; than its calls alone, {:.1} times",
            geometric_mean(&faster),
            geometric_mean(&calls)
        ),
    }
}

/// The time this process has been on a processor, to a hundredth of a second.
fn processor_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / 100.0)
}

/// A process that serves many transforms starts: all are published, and compiled before.
fn measure_start(folder: &Path) {
    let count: u32 =
        env::var("UNSKEW_TRANSFORMS").map_or(500, |count| count.parse().expect("a number"));
    let bytes = component("basket");
    let (registry, cache) = (folder.join("registry"), folder.join("compiled"));
    let start = || Runtime::new(Limits::default(), Some(&cache)).expect("the runtime starts");
    let threads = tokio::runtime::Runtime::new().expect("threads start");
    let registry = Registry::open(&registry).expect("the registry opens");
    let compiling = start();
    let mut state = State::default();
    let before = Instant::now();
    for number in 0..count {
        // A custom section makes it another component, with other machine code for all we know.
        let numbered = [&bytes[..], &[0, 6, 1, b'n'], &number.to_le_bytes()].concat();
        let transform = compiling.load(&numbered).expect("the transform loads");
        let name = format!("bench/basket_{number}@1.0.0").parse().expect("a name");
        let functions = transform.functions().to_vec();
        let report = PublishReport {
            format: PublishReport::FORMAT,
            digest: transform.digest(),
            size: numbered.len() as u64,
            functions: functions.clone(),
            runtime: Digest::of("bench"),
            published_at: Timestamp(0),
            checked: None,
        };
        let digest = transform.digest();
        threads.block_on(registry.publish(&name, numbered.into(), report, &[])).expect("published");
        state.transforms.insert(name, PinnedTransform { digest, functions });
    }
    println!(
        "\n{count} transforms of {} bytes published and compiled in {:.1} s",
        bytes.len(),
        before.elapsed().as_secs_f64()
    );
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..3 {
        let (wall, processor) = (Instant::now(), processor_time());
        let runtime = start();
        let library = threads.block_on(Library::load(&state, &registry, &runtime));
        let took = wall.elapsed().as_secs_f64();
        drop(library.expect("they load"));
        assert_eq!(runtime.compilations(), 0);
        let processor = processor_time().zip(processor).map(|(now, then)| now - then);
        best = (best.0.min(took), best.1.min(processor.unwrap_or(f64::INFINITY)));
    }
    println!("ready again without compiling: {:.2} s, {:.2} s of processor", best.0, best.1);
}

fn main() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("runtime-bench");
    // What an earlier run left is not measured.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder can be made");
    let runtime = Runtime::new(Limits::default(), None).expect("the runtime starts");
    let kernels = kernels(&runtime);
    kernels.iter().for_each(Kernel::check);
    print_kernels(&kernels, &measure(&kernels));
    measure_start(&folder);
}
