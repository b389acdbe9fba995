//! What a guest may return: anything. Each answer is refused, or it is arrays that Arrow finds valid
//! in full and that hold what the obvious reading of the ABI says.
//!
//! `UNSKEW_CASES` is the number of answers, 512 where it is not set.

use arrow::{
    array::{Array, ArrayRef, AsArray, Int64Array},
    buffer::NullBuffer,
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{TestCaseError, TestRunner},
};

use super::{
    bindings::v1::{self, ValuesResult as Values},
    sandbox::Called,
    testing::{field, function},
    transform::Call,
    *,
};
use crate::value::{DataType, Function};

/// An answer, and the call that it is given to.
#[derive(Debug, Clone)]
struct Case {
    signature: Function,
    /// Where the one input has a value.
    given: Vec<bool>,
    answer: v1::Outcome,
}

#[test]
fn every_answer_is_refused_or_what_the_abi_says() {
    let cases = std::env::var("UNSKEW_CASES").ok().and_then(|cases| cases.parse().ok());
    let config = ProptestConfig {
        cases: cases.unwrap_or(512),
        max_shrink_iters: 10_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (mut accepted, mut refused) = (0_u64, 0_u64);
    let counts = std::cell::RefCell::new((&mut accepted, &mut refused));
    let outcome = TestRunner::new(config).run(&any_case(), |case| {
        let mut counts = counts.borrow_mut();
        match check(&case)? {
            true => *counts.0 += 1,
            false => *counts.1 += 1,
        }
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // The cases are worth something only if there are many of both.
    assert!(accepted > refused / 10 && refused > accepted / 10, "{accepted} and {refused}");
}

/// Whether the answer is accepted, as the model says; with what is in it, as the model says.
fn check(case: &Case) -> Result<bool, TestCaseError> {
    let rows = case.given.len();
    let limits = Limits::default();
    let call = Call { signature: &case.signature, limits: &limits, rows, nan: Nan::Canonical };
    let given = NullBuffer::from(case.given.clone());
    let input: ArrayRef = Arc::new(Int64Array::new(vec![0; rows].into(), Some(given)));
    let called = Called { answer: case.answer.clone(), instructions: None, memory_bytes: 0 };
    let (lifted, expected) = (call.check_answer(called, &[input]), model(case));
    let (outcome, expected) = match (lifted, expected) {
        (Ok(outcome), Some(expected)) => (outcome, expected),
        (lifted, expected) => {
            let (accepted, good) = (lifted.is_ok(), expected.is_some());
            prop_assert!(accepted == good, "accepted: {accepted}, good: {good}; {lifted:?}");
            return Ok(false);
        }
    };
    let columns = case.signature.outputs.iter().zip(&outcome.columns);
    for (number, (field, column)) in columns.enumerate() {
        let data = column.to_data();
        prop_assert!(data.validate_full().is_ok(), "{:?}", data.validate_full());
        prop_assert_eq!(column.data_type(), &field.data_type.to_arrow());
        let cells: Vec<_> =
            (0..column.len()).map(|row| cell(column, field.data_type, row)).collect();
        prop_assert_eq!(&cells, &expected[number]);
    }
    let errors: Vec<u32> = outcome.errors.iter().map(|error| error.row).collect();
    prop_assert_eq!(errors, case.answer.errors.iter().map(|e| e.row).collect::<Vec<_>>());
    Ok(true)
}

/// One value, without a type.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Bits(u64),
    Bytes(Vec<u8>),
    List(Vec<Cell>),
}

fn float(x: f64) -> Cell {
    Cell::Bits(if x.is_nan() { 0x7ff8_0000_0000_0000 } else { x.to_bits() })
}

fn single(x: f32) -> Cell {
    Cell::Bits(if x.is_nan() { 0x7fc0_0000 } else { x.to_bits().into() })
}

fn integer(x: impl Into<i64>) -> Cell {
    Cell::Bits(x.into().cast_unsigned())
}

/// What an array holds in a row.
fn cell(array: &ArrayRef, data_type: DataType, row: usize) -> Option<Cell> {
    if array.is_null(row) {
        return None;
    }
    let items = |item: DataType| {
        let items = array.as_list::<i32>().value(row);
        let cells = (0..items.len()).map(|row| cell(&items, item, row));
        Cell::List(cells.map(|cell| cell.expect("an item is never null")).collect())
    };
    Some(match data_type {
        DataType::Boolean => Cell::Bits(array.as_boolean().value(row).into()),
        DataType::Int32 => integer(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => {
            Cell::Bits(array.as_primitive::<Float32Type>().value(row).to_bits().into())
        }
        DataType::Float64 => Cell::Bits(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Utf8 => Cell::Bytes(array.as_string::<i32>().value(row).into()),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).into()),
        DataType::Date => integer(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp => integer(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        DataType::ListInt64 => items(DataType::Int64),
        DataType::ListFloat32 => items(DataType::Float32),
        DataType::ListFloat64 => items(DataType::Float64),
        DataType::ListUtf8 => items(DataType::Utf8),
    })
}

/// The columns that an answer stands for, by the words of `wit/transform.wit`; `None` where it
/// breaks one of them.
fn model(case: &Case) -> Option<Vec<Vec<Option<Cell>>>> {
    let Case { signature, given, answer } = case;
    let rows = given.len();
    let failed: Vec<u32> = answer.errors.iter().map(|error| error.row).collect();
    let in_order = failed.windows(2).all(|pair| pair[0] < pair[1]);
    if !in_order
        || failed.iter().any(|row| *row as usize >= rows)
        || answer.columns.len() != signature.outputs.len()
    {
        return None;
    }
    let mut columns = Vec::new();
    for (output, column) in signature.outputs.iter().zip(&answer.columns) {
        let valid = match column.validity.as_slice() {
            [] => vec![true; rows],
            bytes => bits(bytes, rows)?,
        };
        let mut cells = Vec::new();
        for (row, value) in decode(&column.values, output.data_type, rows)?.into_iter().enumerate()
        {
            let failed = failed.contains(&(row as u32));
            if !valid[row] && !output.nullable && given[row] && !failed {
                return None;
            }
            let required = !signature.inputs[0].nullable && !given[row];
            cells.push((valid[row] && !failed && !required).then_some(value));
        }
        columns.push(cells);
    }
    Some(columns)
}

fn bits(bytes: &[u8], rows: usize) -> Option<Vec<bool>> {
    let bit = |at: usize| bytes[at / 8] & (1 << (at % 8)) != 0;
    let whole = bytes.len() == rows.div_ceil(8) && !(rows..bytes.len() * 8).any(bit);
    whole.then(|| (0..rows).map(bit).collect())
}

/// The pieces that offsets cut out of so many items.
fn pieces(offsets: &[i32], rows: usize, items: usize) -> Option<Vec<std::ops::Range<usize>>> {
    let offsets: Vec<usize> =
        offsets.iter().map(|offset| usize::try_from(*offset).ok()).collect::<Option<_>>()?;
    let whole = offsets.len() == rows + 1 && offsets[0] == 0 && offsets[rows] == items;
    let pieces: Vec<_> = offsets.windows(2).map(|ends| ends[0]..ends[1]).collect();
    (whole && pieces.iter().all(|piece| piece.start <= piece.end)).then_some(pieces)
}

fn strings(strings: &v1::VarBytesResult, rows: usize, text: bool) -> Option<Vec<Cell>> {
    let pieces = pieces(&strings.offsets, rows, strings.bytes.len())?;
    let read = |piece: std::ops::Range<usize>| {
        let bytes = strings.bytes[piece].to_vec();
        (!text || String::from_utf8(bytes.clone()).is_ok()).then_some(Cell::Bytes(bytes))
    };
    pieces.into_iter().map(read).collect()
}

fn lists(offsets: &[i32], rows: usize, items: Vec<Cell>) -> Option<Vec<Cell>> {
    let pieces = pieces(offsets, rows, items.len())?;
    Some(pieces.into_iter().map(|piece| Cell::List(items[piece].to_vec())).collect())
}

fn decode(values: &Values, data_type: DataType, rows: usize) -> Option<Vec<Cell>> {
    fn each<T: Copy>(values: &[T], cell: impl Fn(T) -> Cell) -> Vec<Cell> {
        values.iter().map(|value| cell(*value)).collect()
    }
    let (declared, cells) = match values {
        Values::Boolean(bytes) => {
            let bits = bits(bytes, rows)?;
            (DataType::Boolean, each(&bits, |bit| Cell::Bits(bit.into())))
        }
        Values::Int32(values) => (DataType::Int32, each(values, integer)),
        Values::Int64(values) => (DataType::Int64, each(values, integer)),
        Values::Float32(values) => (DataType::Float32, each(values, single)),
        Values::Float64(values) => (DataType::Float64, each(values, float)),
        Values::Utf8(items) => (DataType::Utf8, strings(items, rows, true)?),
        Values::Binary(items) => (DataType::Binary, strings(items, rows, false)?),
        Values::Date(values) => (DataType::Date, each(values, integer)),
        Values::Timestamp(values) => (DataType::Timestamp, each(values, integer)),
        Values::ListInt64(list) => {
            (DataType::ListInt64, lists(&list.offsets, rows, each(&list.items, integer))?)
        }
        Values::ListFloat32(list) => {
            (DataType::ListFloat32, lists(&list.offsets, rows, each(&list.items, single))?)
        }
        Values::ListFloat64(list) => {
            (DataType::ListFloat64, lists(&list.offsets, rows, each(&list.items, float))?)
        }
        Values::ListUtf8(list) => {
            let count = list.items.offsets.len().checked_sub(1)?;
            let items = strings(&list.items, count, true)?;
            (DataType::ListUtf8, lists(&list.offsets, rows, items)?)
        }
    };
    (declared == data_type && cells.len() == rows).then_some(cells)
}

fn any_case() -> impl Strategy<Value = Case> {
    let output = (select(DataType::ALL.to_vec()), any::<bool>());
    (0_usize..20, vec(output, 1..4), any::<bool>()).prop_flat_map(|(rows, outputs, nullable)| {
        let columns: Vec<_> =
            outputs.iter().map(|(data_type, _)| any_column(*data_type, rows).boxed()).collect();
        let fields: Vec<_> = outputs
            .iter()
            .enumerate()
            .map(|(number, (data_type, nullable))| {
                field(&format!("y{number}"), *data_type, *nullable)
            })
            .collect();
        let signature = function("f", &[field("x", DataType::Int64, nullable)], &fields);
        let given = vec(prop::bool::weighted(0.8), rows);
        (Just(signature), given, columns, any_errors(rows), prop::bool::weighted(0.02)).prop_map(
            |(signature, given, mut columns, errors, fewer)| {
                if fewer {
                    columns.pop();
                }
                Case { signature, given, answer: v1::Outcome { columns, errors } }
            },
        )
    })
}

fn any_errors(rows: usize) -> impl Strategy<Value = Vec<v1::RowError>> {
    let tidy = vec(prop::bool::weighted(0.1), rows).prop_map(|failed| {
        let rows = (0_u32..).zip(failed).filter(|(_, failed)| *failed);
        rows.map(|(row, _)| row).collect::<Vec<_>>()
    });
    let row = prop_oneof![9 => 0..rows as u32 + 2, 1 => any::<u32>()];
    prop_oneof![9 => Just(vec![]), 9 => tidy, 1 => vec(row, 0..4)].prop_map(|rows| {
        let error = |row| v1::RowError { row, message: "no".to_owned() };
        rows.into_iter().map(error).collect()
    })
}

/// A column; mostly one that keeps every rule, since those that break several tell less.
fn any_column(data_type: DataType, rows: usize) -> impl Strategy<Value = v1::ColumnResult> {
    let data_type = prop_oneof![60 => Just(data_type), 1 => select(DataType::ALL.to_vec())];
    let validity = prop_oneof![2 => Just(vec![]), 1 => any_bitmap(rows)];
    (data_type.prop_flat_map(move |data_type| any_values(data_type, rows)), validity)
        .prop_map(|(values, validity)| v1::ColumnResult { values, validity })
}

fn any_values(data_type: DataType, rows: usize) -> BoxedStrategy<Values> {
    let double = || any::<u64>().prop_map(f64::from_bits);
    let single = || any::<u32>().prop_map(f32::from_bits);
    match data_type {
        DataType::Boolean => any_bitmap(rows).prop_map(Values::Boolean).boxed(),
        DataType::Int32 => any_number(rows, any::<i32>()).prop_map(Values::Int32).boxed(),
        DataType::Int64 => any_number(rows, any::<i64>()).prop_map(Values::Int64).boxed(),
        DataType::Float32 => any_number(rows, single()).prop_map(Values::Float32).boxed(),
        DataType::Float64 => any_number(rows, double()).prop_map(Values::Float64).boxed(),
        DataType::Utf8 => any_strings(rows).prop_map(Values::Utf8).boxed(),
        DataType::Binary => any_strings(rows).prop_map(Values::Binary).boxed(),
        DataType::Date => any_number(rows, any::<i32>()).prop_map(Values::Date).boxed(),
        DataType::Timestamp => any_number(rows, any::<i64>()).prop_map(Values::Timestamp).boxed(),
        DataType::ListInt64 => any_items(rows, any::<i64>())
            .prop_map(|(offsets, items)| Values::ListInt64(v1::VarInt64Result { offsets, items }))
            .boxed(),
        DataType::ListFloat32 => any_items(rows, single())
            .prop_map(|(offsets, items)| {
                Values::ListFloat32(v1::VarFloat32Result { offsets, items })
            })
            .boxed(),
        DataType::ListFloat64 => any_items(rows, double())
            .prop_map(|(offsets, items)| {
                Values::ListFloat64(v1::VarFloat64Result { offsets, items })
            })
            .boxed(),
        DataType::ListUtf8 => any_offsets(rows)
            .prop_flat_map(|offsets| {
                let count = offsets.last().map_or(0, |last| (*last).clamp(0, 100)) as usize;
                (Just(offsets), any_strings(count))
            })
            .prop_map(|(offsets, items)| Values::ListUtf8(v1::VarUtf8Result { offsets, items }))
            .boxed(),
    }
}

fn any_number<T: std::fmt::Debug>(
    rows: usize,
    value: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<T>> {
    let length = prop_oneof![40 => Just(rows), 1 => 0..rows + 3];
    length.prop_flat_map(move |length| vec(value.clone(), length))
}

fn any_bitmap(rows: usize) -> impl Strategy<Value = Vec<u8>> {
    let tidy = vec(any::<u8>(), rows.div_ceil(8)).prop_map(move |mut bytes| {
        if let Some(last) = bytes.last_mut().filter(|_| !rows.is_multiple_of(8)) {
            *last &= (1 << (rows % 8)) - 1;
        }
        bytes
    });
    prop_oneof![20 => tidy, 1 => vec(any::<u8>(), 0..rows.div_ceil(8) + 2)]
}

fn any_offsets(rows: usize) -> impl Strategy<Value = Vec<i32>> {
    let tidy = vec(0..6_i32, rows).prop_map(|lengths| {
        let mut end = 0;
        let ends = lengths.into_iter().map(|length| {
            end += length;
            end
        });
        std::iter::once(0).chain(ends).collect()
    });
    let wild = prop_oneof![8 => -2..20_i32, 1 => Just(i32::MAX), 1 => Just(i32::MIN)];
    prop_oneof![30 => tidy, 1 => vec(wild, 0..rows + 3)]
}

/// Offsets and items; mostly as many as the offsets want.
fn any_items<T: Clone + std::fmt::Debug>(
    rows: usize,
    item: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = (Vec<i32>, Vec<T>)> {
    let off = prop_oneof![40 => Just(0), 1 => -2..3_i32];
    (any_offsets(rows), off).prop_flat_map(move |(offsets, off)| {
        let last = offsets.last().map_or(0, |last| (*last).clamp(0, 100));
        (Just(offsets), vec(item.clone(), (last + off).max(0) as usize))
    })
}

fn any_strings(rows: usize) -> impl Strategy<Value = v1::VarBytesResult> {
    let byte = prop_oneof![300 => 0x20..0x7f_u8, 1 => any::<u8>()];
    any_items(rows, byte).prop_map(|(offsets, bytes)| v1::VarBytesResult { offsets, bytes })
}
