//! What the sandbox costs: a call, a batch against the same function run natively, a start.
//!
//! `CARGO_PROFILE_DEV_OPT_LEVEL=3 CARGO_PROFILE_DEV_DEBUG_ASSERTIONS=false cargo bench --profile dev`
//! measures what a release build would show, with the dependencies compiled as they are already.

use std::{fs, hint::black_box, path::Path, sync::Arc, time::Duration};

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, ListBuilder, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use criterion::Criterion;
use unskew::wasm::{Limits, Runtime, Transform, build};
use unskew_sdk::Timestamp;

const ROWS: usize = 8_192;

/// A function in both worlds, with what it is called with.
struct Kernel {
    name: &'static str,
    transform: Arc<Transform>,
    params: Vec<ArrayRef>,
    inputs: Vec<ArrayRef>,
    native: fn(&[ArrayRef]) -> Vec<ArrayRef>,
}

impl Kernel {
    fn call(&self, rows: usize) -> Vec<ArrayRef> {
        let place = self.transform.function(self.name).expect("the function exists");
        let inputs: Vec<_> = self.inputs.iter().map(|input| input.slice(0, rows)).collect();
        let outcome = self.transform.call(place, &self.params, &inputs, rows);
        outcome.expect("the call succeeds").columns
    }

    /// Both worlds agree, but for logarithms: those are each world's own.
    fn check(&self) {
        for (wasm, native) in self.call(ROWS).iter().zip((self.native)(&self.inputs)) {
            let Some(floats) = native.as_primitive_opt::<Float64Type>() else {
                assert_eq!(wasm, &native, "{}", self.name);
                continue;
            };
            for (one, two) in wasm.as_primitive::<Float64Type>().iter().zip(floats) {
                let distance = one.unwrap_or_default() - two.unwrap_or_default();
                assert!(one.is_some() == two.is_some() && distance.abs() < 1e-12, "{}", self.name);
            }
        }
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

fn kernels(runtime: &Runtime) -> Vec<Kernel> {
    let load = |name| runtime.load(&component(name)).expect("the transform loads");
    let amounts =
        || Arc::new(Float64Array::from_iter(rows(|row| row as f64 * 1.25 + 0.5))) as ArrayRef;
    let moments = |step: i64| {
        let moments = rows(|row| row as i64 * step + 1_000_000);
        Arc::new(TimestampMicrosecondArray::from_iter(moments).with_timezone("UTC")) as ArrayRef
    };
    let constant = |value| Arc::new(Float64Array::from(vec![value])) as ArrayRef;
    let counts = Arc::new(Int64Array::from_iter(rows(|row| row as i64 % 30 + 1)));
    let words = ["Zero skew", "provably", "the SAME bits,", "whichever path", "computed them"];
    let texts = rows(|row| format!("{} {} {row}", words[row % 5], words[row % 3]));
    vec![
        Kernel {
            name: "standardize",
            transform: load("scale"),
            params: vec![constant(37.2), constant(11.0)],
            inputs: vec![amounts()],
            native: native_standardize,
        },
        Kernel {
            name: "days_since",
            transform: load("recency"),
            params: vec![],
            inputs: vec![moments(86_399_999_983), moments(90_000_000_077)],
            native: native_days_since,
        },
        Kernel {
            name: "basket",
            transform: load("basket"),
            params: vec![],
            inputs: vec![counts, amounts()],
            native: native_basket,
        },
        Kernel {
            name: "tokens",
            transform: load("text"),
            params: vec![],
            inputs: vec![Arc::new(StringArray::from_iter(texts))],
            native: native_tokens,
        },
    ]
}

fn native_standardize(inputs: &[ArrayRef]) -> Vec<ArrayRef> {
    let x = inputs[0].as_primitive::<Float64Type>();
    let scaled = x.iter().map(|x| scale::standardize(x?, 37.2, 11.0).ok());
    vec![Arc::new(Float64Array::from_iter(scaled))]
}

fn native_days_since(inputs: &[ArrayRef]) -> Vec<ArrayRef> {
    let column = |place: usize| inputs[place].as_primitive::<TimestampMicrosecondType>().iter();
    let days = column(0).zip(column(1)).map(|(then, now)| {
        Some(recency::days_since(Timestamp::from_micros(then?), Timestamp::from_micros(now?)))
    });
    vec![Arc::new(Float64Array::from_iter(days))]
}

fn native_basket(inputs: &[ArrayRef]) -> Vec<ArrayRef> {
    let counts = inputs[0].as_primitive::<Int64Type>();
    let amounts = inputs[1].as_primitive::<Float64Type>();
    let mut prices = Float64Builder::with_capacity(ROWS);
    let mut logarithms = Float64Builder::with_capacity(ROWS);
    let mut buckets = StringBuilder::with_capacity(ROWS, ROWS * 6);
    for (count, amount) in counts.iter().zip(amounts) {
        let basket =
            count.zip(amount).and_then(|(count, amount)| basket::basket(count, amount).ok());
        prices.append_option(basket.as_ref().map(|basket| basket.unit_price));
        logarithms.append_option(basket.as_ref().and_then(|basket| basket.log1p_amount));
        buckets.append_option(basket.as_ref().map(|basket| basket.size_bucket));
    }
    vec![Arc::new(prices.finish()), Arc::new(logarithms.finish()), Arc::new(buckets.finish())]
}

fn native_tokens(inputs: &[ArrayRef]) -> Vec<ArrayRef> {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for text in inputs[0].as_string::<i32>() {
        lists.append_option(text.map(|text| text::tokens(text).into_iter().map(Some)));
    }
    vec![Arc::new(lists.finish())]
}

/// The medians of what was measured, where criterion leaves them.
struct Medians<'a>(&'a Path);

impl Medians<'_> {
    fn micros(&self, group: &str, name: &str) -> f64 {
        let path = self.0.join(group).join(name).join("new/estimates.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let estimates: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        estimates["median"]["point_estimate"].as_f64().expect("a number") / 1_000.0
    }
}

fn measure_calls(criterion: &mut Criterion, kernels: &[Kernel]) {
    let mut group = criterion.benchmark_group("one_row");
    for kernel in kernels {
        group.bench_function(kernel.name, |b| b.iter(|| black_box(kernel.call(1))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("wasm");
    for kernel in kernels {
        group.bench_function(kernel.name, |b| b.iter(|| black_box(kernel.call(ROWS))));
    }
    group.finish();
    let mut group = criterion.benchmark_group("native");
    for kernel in kernels {
        let inputs = black_box(&kernel.inputs);
        group.bench_function(kernel.name, |b| b.iter(|| black_box((kernel.native)(inputs))));
    }
    group.finish();
}

fn measure_starts(criterion: &mut Criterion, component: &[u8], cache: &Path) {
    let mut group = criterion.benchmark_group("start");
    let start = |cache: Option<&Path>| Runtime::new(Limits::default(), cache).expect("it starts");
    group.bench_function("engine", |b| b.iter(|| start(None)));
    let cold = start(None);
    group.bench_function("compile", |b| b.iter(|| cold.load(component)));
    let warm = start(Some(cache));
    warm.load(component).expect("the transform loads");
    group.bench_function("cached", |b| b.iter(|| warm.load(component)));
    group.finish();
}

fn print_table(medians: &Medians<'_>, kernels: &[Kernel]) {
    println!("\n{:12} {:>12} {:>14} {:>14} {:>7}", "µs", "1 row", "8,192 rows", "native", "ratio");
    for Kernel { name, .. } in kernels {
        let (one, wasm) = (medians.micros("one_row", name), medians.micros("wasm", name));
        let native = medians.micros("native", name);
        println!("{name:12} {one:12.1} {wasm:14.1} {native:14.1} {:7.2}", wasm / native);
    }
    println!();
    for (what, name) in [
        ("start an engine", "engine"),
        ("load, compiling", "compile"),
        ("load, compiled before", "cached"),
    ] {
        println!("{what:22} {:10.3} ms", medians.micros("start", name) / 1_000.0);
    }
}

fn main() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runtime-bench");
    let mut criterion = Criterion::default()
        .output_directory(&folder)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(50)
        .configure_from_args();
    let runtime = Runtime::new(Limits::default(), None).expect("the runtime starts");
    let kernels = kernels(&runtime);
    kernels.iter().for_each(Kernel::check);
    measure_calls(&mut criterion, &kernels);
    measure_starts(&mut criterion, &component("basket"), &folder.join("code"));
    criterion.final_summary();
    print_table(&Medians(&folder), &kernels);
}
