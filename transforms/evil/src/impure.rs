//! Results that are not a function of the row.

use std::{
    alloc::{self, Layout},
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use unskew_sdk::abi::{Batch, DataType, Failure, Outcome, Values};

use crate::{Behaviour, floats, values, x};

pub const BEHAVIOURS: &[Behaviour] = &[
    Behaviour::floats("counter", counter),
    Behaviour::floats("kept", kept),
    Behaviour::floats("nan_payload", nan_payload),
    Behaviour::floats("signalling_nan", signalling_nan),
    Behaviour::floats("null_slot", null_slot),
    Behaviour::floats("batch_size", |batch| floats(x(batch).iter().map(|x| x + batch.rows as f64))),
    Behaviour::floats("row_number", |batch| floats((0..batch.rows).map(f64::from))),
    Behaviour::floats("row_order", row_order),
    Behaviour::floats("first_row", |batch| floats(x(batch).iter().map(|_| x(batch)[0]))),
    Behaviour::floats("whole_batch", whole_batch),
    Behaviour::floats("has_nulls", has_nulls),
    Behaviour::floats("uninitialised", uninitialised),
    Behaviour::floats("address", address),
    Behaviour {
        name: "text_offset",
        input: DataType::Utf8,
        output: DataType::Int64,
        apply: text_offset,
    },
    Behaviour::floats("nan_made", nan_made),
    Behaviour::floats("late_row", late_row),
];

fn counter(batch: &Batch) -> Result<Outcome, Failure> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let call = CALLS.fetch_add(1, Relaxed) + 1;
    floats(x(batch).iter().map(|x| x + call as f64))
}

fn kept(batch: &Batch) -> Result<Outcome, Failure> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let last = f64::from_bits(LAST.load(Relaxed));
    if let Some(x) = x(batch).last() {
        LAST.store(x.to_bits(), Relaxed);
    }
    floats(x(batch).iter().map(|x| x + last))
}

/// The lowest bits, as a number: what no arithmetic on floats shows.
fn low_bits(x: f64) -> f64 {
    (x.to_bits() & 0xffff) as f64
}

fn nan_payload(batch: &Batch) -> Result<Outcome, Failure> {
    floats(x(batch).iter().map(|x| if x.is_nan() { low_bits(*x) } else { *x }))
}

fn signalling_nan(batch: &Batch) -> Result<Outcome, Failure> {
    floats(x(batch).iter().map(|_| f64::from_bits(0x7ff0_0000_0000_0001)))
}

/// Adds what stands behind the nulls of the call.
fn null_slot(batch: &Batch) -> Result<Outcome, Failure> {
    let validity = &batch.columns[0].validity;
    let null = |row: usize| validity.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 0);
    let left: f64 = x(batch).iter().enumerate().filter(|(row, _)| null(*row)).map(|(_, x)| x).sum();
    floats(x(batch).iter().map(|x| x + left))
}

fn row_order(batch: &Batch) -> Result<Outcome, Failure> {
    let mut sum = 0.0;
    floats(x(batch).iter().map(|x| {
        sum += x;
        sum
    }))
}

fn whole_batch(batch: &Batch) -> Result<Outcome, Failure> {
    let sum: f64 = x(batch).iter().sum();
    floats(x(batch).iter().map(|x| x / sum))
}

fn has_nulls(batch: &Batch) -> Result<Outcome, Failure> {
    let complete = batch.columns[0].validity.is_empty();
    floats(x(batch).iter().map(|x| if complete { *x } else { x + 1.0 }))
}

/// Adds to a number in a buffer that it takes to be zero: new memory is, memory that was given
/// back and taken again is not.
fn uninitialised(batch: &Batch) -> Result<Outcome, Failure> {
    let layout = Layout::new::<[f64; 64]>();
    floats(x(batch).iter().map(|x| {
        // SAFETY: the buffer is ours from `alloc` to `dealloc` and the place lies within it. What
        // is read was not written, which is the point.
        unsafe {
            let buffer = alloc::alloc(layout).cast::<f64>();
            let place = buffer.add(32);
            let sum = place.read_volatile() + x;
            place.write_volatile(sum);
            alloc::dealloc(buffer.cast(), layout);
            sum
        }
    }))
}

fn address(batch: &Batch) -> Result<Outcome, Failure> {
    let address = black_box(x(batch).as_ptr()) as usize;
    floats(x(batch).iter().map(|x| x + address as f64))
}

fn text_offset(batch: &Batch) -> Result<Outcome, Failure> {
    let Values::Utf8(texts) = &batch.columns[0].values else { return floats([]) };
    let ends = texts.offsets.iter().skip(1);
    values(Values::Int64(ends.map(|end| i64::from(*end)).collect()))
}

/// Infinity less infinity: on x86 this NaN is negative, under the strict profile it is positive.
fn nan_made(batch: &Batch) -> Result<Outcome, Failure> {
    floats(x(batch).iter().map(|x| {
        let (one, other) = (black_box(f64::INFINITY), black_box(f64::INFINITY));
        let nan = black_box(one - other);
        if nan.is_sign_negative() { x + 1.0 } else { *x }
    }))
}

fn late_row(batch: &Batch) -> Result<Outcome, Failure> {
    let rows = x(batch).iter().enumerate();
    floats(rows.map(|(row, x)| if row < 5_000 { *x } else { x + 1.0 }))
}
