//! Functions called as the platform calls them: on columns.

use unskew_sdk::abi::{Batch, Column, DataType, Field, Outcome, Values, VarBytes, VarUtf8};
use unskew_sdk::prelude::*;
use unskew_sdk::testing::{batch, column, rows};

/// The ratio of two numbers.
///
/// Not defined for a divisor of zero.
#[transform(output = "quotient")]
fn ratio(
    /// What is divided.
    dividend: f64,
    divisor: f64,
) -> Result<Option<f64>, String> {
    if divisor == 0.0 {
        return Err(format!("{dividend} cannot be divided by zero"));
    }
    Ok(dividend.is_finite().then_some(dividend / divisor))
}

#[transform]
fn or_else(value: Option<i64>, #[param] fallback: i64, #[param] extra: Option<i64>) -> i64 {
    value.unwrap_or(fallback) + extra.unwrap_or(0)
}

#[transform]
fn only_here(r#type: bool, other: Option<bool>) -> bool {
    r#type && other.is_none()
}

/// A text in two.
#[derive(Outputs)]
struct Halves<'a> {
    /// Up to the first space.
    head: &'a str,
    /// After it.
    tail: Option<&'a str>,
}

#[transform]
fn halves<'a>(text: &'a str, #[param] separator: &str) -> Option<Halves<'a>> {
    let (head, tail) = text.split_once(separator).unwrap_or((text, ""));
    let tail = (!tail.is_empty()).then_some(tail);
    (!text.is_empty()).then_some(Halves { head, tail })
}

#[transform]
fn constant() -> i32 {
    7
}

#[transform]
fn lengths(texts: StrList, bytes: &[u8]) -> Vec<i64> {
    let texts = texts.iter().map(str::len);
    texts.chain([bytes.len()]).map(|length| length as i64).collect()
}

#[transform]
fn joined(texts: Vec<String>) -> String {
    texts.join("+")
}

/// Functions and arguments with the names of variables in what the macro makes.
mod names {
    use unskew_sdk::prelude::*;

    #[transform]
    pub fn call(argument_0: i64) -> i64 {
        argument_0 + 1
    }

    #[transform]
    pub fn batch(row: i64, #[param] params: i64) -> i64 {
        row - params
    }

    #[transform]
    pub fn argument_0(argument_1: i64, argument_0: i64) -> i64 {
        argument_1 - argument_0
    }
}

export!(
    ratio,
    or_else,
    only_here,
    halves,
    constant,
    lengths,
    joined,
    names::call,
    names::batch,
    names::argument_0
);

fn position(name: &str) -> u32 {
    let functions = TRANSFORM.describe();
    functions.iter().position(|function| function.name == name).expect("exported") as u32
}

fn apply(name: &str, params: &[Column], batch: Batch) -> Outcome {
    match TRANSFORM.apply(position(name), params, batch) {
        Ok(outcome) => outcome,
        Err(failure) => panic!("{}", failure.message),
    }
}

#[test]
fn the_description_is_that_of_the_source() {
    let functions = TRANSFORM.describe();
    let ratio = &functions[0];
    let documentation = "The ratio of two numbers.\n\nNot defined for a divisor of zero.";
    let field = |name: &str, data_type, nullable, documentation: &str| Field {
        name: name.into(),
        data_type,
        nullable,
        documentation: documentation.into(),
    };
    assert_eq!(ratio.name, "ratio");
    assert_eq!(ratio.documentation, documentation);
    assert_eq!(ratio.params, []);
    let dividend = field("dividend", DataType::Float64, false, "What is divided.");
    assert_eq!(ratio.inputs, [dividend, field("divisor", DataType::Float64, false, "")]);
    assert_eq!(ratio.outputs, [field("quotient", DataType::Float64, true, documentation)]);

    let or_else = &functions[1];
    let extra = field("extra", DataType::Int64, true, "");
    assert_eq!(or_else.params, [field("fallback", DataType::Int64, false, ""), extra]);
    assert_eq!(or_else.inputs, [field("value", DataType::Int64, true, "")]);
    assert_eq!(or_else.outputs, [field("or_else", DataType::Int64, false, "")]);

    assert_eq!(functions[2].inputs[0].name, "type");
    let head = field("head", DataType::Utf8, true, "Up to the first space.");
    assert_eq!(functions[3].outputs, [head, field("tail", DataType::Utf8, true, "After it.")]);
}

/// Rows 0 to 9 with every third null, so that bitmaps have two bytes.
fn every_third_null(shift: usize) -> Vec<Option<f64>> {
    (0..10).map(|row| (!(row + shift).is_multiple_of(3)).then_some(row as f64)).collect()
}

#[test]
fn a_null_in_any_plain_argument_is_a_null_without_a_call() {
    let (dividends, divisors) = (every_third_null(0), every_third_null(1));
    let inputs = batch(10, [column(dividends.clone()), column(divisors.clone())]);
    let outcome = apply("ratio", &[], inputs);
    let expected: Vec<Option<f64>> = dividends
        .iter()
        .zip(&divisors)
        .map(|(dividend, divisor)| Some((*dividend)? / (*divisor)?))
        .collect();
    assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 10), expected);
    assert_eq!(outcome.errors, [], "no null reaches the function, so nothing is divided by zero");
}

/// Few nulls and many, each beside rows of every kind: what a row gives is what the function gives
/// for it, whatever is done to have fewer branches.
#[test]
fn nulls_change_nothing_in_other_rows() {
    for (rows, every) in [1, 8, 63, 64, 65, 130, 400]
        .into_iter()
        .flat_map(|rows| [2, 7, 9, 16, 40].map(|every| (rows, every)))
    {
        for seed in 0..every {
            let cell = |row: usize, salt: usize| {
                let number = (row + salt) % 5;
                let value = if number == 4 { f64::INFINITY } else { number as f64 };
                (!(row * row + row + salt * 3 + seed).is_multiple_of(every)).then_some(value)
            };
            let cells = |salt| (0..rows).map(move |row| cell(row, salt));
            let inputs = batch(rows as u32, [column(cells(0)), column(cells(1))]);
            let outcome = apply("ratio", &[], inputs);
            let expected: Vec<_> =
                cells(0).zip(cells(1)).map(|(x, y)| Some(ratio(x?, y?))).collect();
            let values = expected.iter().map(|result| result.clone()?.ok()?).collect::<Vec<_>>();
            assert_eq!(self::rows::<Option<f64>>(&outcome.columns[0], rows as u32), values);
            let errors = (0_u32..)
                .zip(expected)
                .filter_map(|(row, result)| result?.err().map(|message| (row, message)));
            let found = outcome.errors.into_iter().map(|error| (error.row, error.message));
            assert!(found.eq(errors), "{rows} rows, one null in {every}, {seed}");
        }
    }
}

#[test]
fn errors_and_none_are_nulls_and_errors_have_messages() {
    let dividends = column([1.0, 2.0, f64::INFINITY, 3.0]);
    let outcome = apply("ratio", &[], batch(4, [dividends, column([0.0, 4.0, 1.0, 0.0])]));
    assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 4), [None, Some(0.5), None, None]);
    let errors: Vec<_> = outcome.errors.iter().map(|error| (error.row, &*error.message)).collect();
    assert_eq!(errors, [(0, "1 cannot be divided by zero"), (3, "3 cannot be divided by zero")]);
}

#[test]
fn an_option_takes_the_null_and_params_hold_for_every_row() {
    let params = [column([10_i64]), column([None::<i64>])];
    let outcome = apply("or_else", &params, batch(2, [column([None, Some(1_i64)])]));
    assert_eq!(rows::<i64>(&outcome.columns[0], 2), [10, 1]);

    let params = [column([10_i64]), column([Some(5_i64)])];
    let outcome = apply("or_else", &params, batch(2, [column([None, Some(1_i64)])]));
    assert_eq!(rows::<i64>(&outcome.columns[0], 2), [15, 6]);
}

#[test]
fn plain_and_optional_arguments_mix() {
    let plain = column([Some(true), Some(true), None, Some(false)]);
    let optional = column([None, Some(true), None, None]);
    let outcome = apply("only_here", &[], batch(4, [plain, optional]));
    let expected = [Some(true), Some(false), None, Some(false)];
    assert_eq!(rows::<Option<bool>>(&outcome.columns[0], 4), expected);
}

#[test]
fn a_function_may_have_any_name() {
    let check = |name: &str, params: &[Column], inputs: Vec<Column>, expected: i64| {
        let outcome = apply(name, params, batch(1, inputs));
        assert_eq!(rows::<i64>(&outcome.columns[0], 1), [expected], "{name}");
    };
    check("call", &[], vec![column([1_i64])], 2);
    check("batch", &[column([2_i64])], vec![column([7_i64])], 5);
    check("argument_0", &[], vec![column([7_i64]), column([4_i64])], 3);
}

#[test]
fn a_struct_is_a_column_for_each_field() {
    let texts = column([Some("a b c"), Some("a"), Some(""), None]);
    let outcome = apply("halves", &[column([" "])], batch(4, [texts]));
    let [heads, tails] = outcome.columns.as_slice() else { panic!("two columns") };
    assert_eq!(rows::<Option<&str>>(heads, 4), [Some("a"), Some("a"), None, None]);
    assert_eq!(rows::<Option<&str>>(tails, 4), [Some("b c"), None, None, None]);
}

#[test]
fn no_null_no_bitmap() {
    let outcome = apply("ratio", &[], batch(2, [column([1.0, 2.0]), column([2.0, 2.0])]));
    let values = Values::Float64(vec![0.5, 1.0]);
    assert_eq!(outcome.columns, [Column { values, validity: vec![] }]);
}

#[test]
fn a_bitmap_without_a_null_counts_as_none() {
    let mut dividends = column([1.0, 2.0]);
    dividends.validity = vec![0b11];
    let outcome = apply("ratio", &[], batch(2, [dividends, column([2.0, 2.0])]));
    assert_eq!(rows::<f64>(&outcome.columns[0], 2), [0.5, 1.0]);
}

#[test]
fn no_rows_and_no_columns_are_fine() {
    let none = column::<f64>([]);
    let outcome = apply("ratio", &[], batch(0, [none.clone(), none.clone()]));
    assert_eq!(outcome.columns, [none]);
    let outcome = apply("constant", &[], batch(3, []));
    assert_eq!(rows::<i32>(&outcome.columns[0], 3), [7, 7, 7]);
}

#[test]
fn lists_and_bytes_are_read_in_place() {
    let texts = column([vec!["ä", ""], vec![], vec!["abc"]]);
    let bytes = column([[1_u8].as_slice(), &[], &[1, 2]]);
    let outcome = apply("lengths", &[], batch(3, [texts.clone(), bytes]));
    let expected: [&[i64]; 3] = [&[2, 0, 1], &[0], &[3, 2]];
    assert_eq!(rows::<&[i64]>(&outcome.columns[0], 3), expected);

    let outcome = apply("joined", &[], batch(3, [texts]));
    assert_eq!(rows::<&str>(&outcome.columns[0], 3), ["ä+", "", "abc"]);
}

/// The batch of `ratio` with `dividend` in place of a good column of two rows.
fn ratio_of(values: Values, validity: Vec<u8>) -> Batch {
    batch(2, [Column { values, validity }, column([1.0, 2.0])])
}

fn check_refused(name: &str, params: &[Column], batch: Batch, reason: &str) {
    let failure = TRANSFORM.apply(position(name), params, batch).expect_err(reason);
    assert_eq!(failure.message, format!("`{name}` was not run: {reason}"));
}

#[test]
fn arguments_of_another_shape_fail_the_call() {
    let numbers = || column([1.0, 2.0]);
    for (params, batch, reason) in [
        (
            vec![],
            batch(2, [numbers()]),
            "it takes 0 parameters and 2 inputs, but was given 0 and 1",
        ),
        (
            vec![numbers()],
            batch(2, [numbers(), numbers()]),
            "it takes 0 parameters and 2 inputs, but was given 1 and 2",
        ),
        (vec![], batch(3, [numbers(), numbers()]), "input `dividend` has 2 values for 3 rows"),
        (
            vec![],
            ratio_of(Values::Float32(vec![1.0, 2.0]), vec![]),
            "input `dividend` is float32, but its type is float64",
        ),
        (
            vec![],
            ratio_of(Values::Float64(vec![1.0, 2.0]), vec![3, 0]),
            "input `dividend` has a bitmap of 2 bytes; 2 rows take 1",
        ),
    ] {
        check_refused("ratio", &params, batch, reason);
    }
}

#[test]
fn params_of_another_shape_fail_the_call() {
    let inputs = batch(1, [column([1_i64])]);
    let one = column([1_i64]);
    for (fallback, reason) in [
        (column([None::<i64>]), "parameter `fallback` is null, but must have a value"),
        (column([1_i64, 2]), "parameter `fallback` has 2 values for 1 rows"),
        (column([1_i32]), "parameter `fallback` is int32, but its type is int64"),
    ] {
        check_refused("or_else", &[fallback, one.clone()], inputs.clone(), reason);
    }
}

fn texts(offsets: &[i32], bytes: &[u8]) -> VarBytes {
    VarBytes { offsets: offsets.to_vec(), bytes: bytes.to_vec() }
}

#[test]
fn malformed_text_fails_the_call() {
    let rule = "has offsets that are not valid; they must ascend from 0 to the number of values";
    for (offsets, bytes, found) in [
        ([0, 1, 2].as_slice(), [b'a', 0xff].as_slice(), "is not UTF-8 at byte 1"),
        (&[0, 1, 2], "ä".as_bytes(), "has an offset inside a character"),
        (&[0, 1], b"a", "has 2 offsets for 2 items"),
        (&[], b"", "has 0 offsets for 2 items"),
        (&[1, 1, 2], b"ab", rule),
        (&[0, 2, 1], b"ab", rule),
        (&[0, 3, 2], b"ab", rule),
        (&[0, -1, 2], b"ab", rule),
        (&[0, 1, 1], b"ab", rule),
        (&[0, 1, -1], b"ab", rule),
    ] {
        let values = Values::Utf8(texts(offsets, bytes));
        let batch = batch(2, [Column { values, validity: vec![] }]);
        check_refused("halves", &[column([" "])], batch, &format!("input `text` {found}"));
    }
}

#[test]
fn malformed_lists_fail_the_call() {
    for (offsets, items, found) in [
        (
            [0, 2, 2].as_slice(),
            texts(&[0, 1], b"a"),
            "has offsets that are not valid; they must ascend from 0 to the number of values",
        ),
        (&[0, 0, 0], texts(&[], b""), "has 0 offsets for 0 items"),
        (&[0, 1, 2], texts(&[0, 1, 2], "ä".as_bytes()), "has an offset inside a character"),
    ] {
        let values = Values::ListUtf8(VarUtf8 { offsets: offsets.to_vec(), items });
        let batch = batch(2, [Column { values, validity: vec![] }]);
        check_refused("joined", &[], batch, &format!("input `texts` {found}"));
    }
}

#[test]
fn a_function_that_is_not_there_fails_the_call() {
    let failure = TRANSFORM.apply(10, &[], batch(0, [])).unwrap_err();
    assert_eq!(failure.message, "there is no function 10; the transform has 10, counted from 0");
}

/// What a platform must not give, and yet does no harm.
#[test]
fn bits_behind_the_last_row_are_no_rows() {
    let inputs = || {
        let values = Values::Float64((0..70).map(f64::from).collect());
        let mut validity = vec![0xff; 9];
        validity[0] = 0b1111_1101;
        Column { values, validity }
    };
    let outcome = apply("ratio", &[], batch(70, [inputs(), column([2.0; 70])]));
    let expected: Vec<_> = (0..70).map(|row| (row != 1).then_some(f64::from(row) / 2.0)).collect();
    assert_eq!(rows::<Option<f64>>(&outcome.columns[0], 70), expected);
}
