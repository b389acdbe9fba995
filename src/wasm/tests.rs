//! What stands against each thing a guest could do, with the words the user gets.

use std::{sync::Arc, time::Instant};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
use proptest::prelude::*;

use super::{
    bindings::v1,
    testing::{Guest, component, field, function},
    *,
};
use crate::{
    error::Kind,
    time::Span,
    value::{DataType, Function},
};

/// Limits under which hostile guests are done with soon.
fn tight() -> Limits {
    Limits {
        deadline: Span(100_000),
        memory_bytes: 4 << 20,
        rows: 1_000,
        input_bytes: 64 << 10,
        output_bytes: 64 << 10,
        error_text_bytes: 16,
        component_bytes: 256 << 10,
        functions: 2,
        fields: 4,
        description_bytes: 32 << 10,
        ..Limits::default()
    }
}

pub(super) fn load(bytes: &[u8]) -> Result<Arc<Transform>> {
    Runtime::new(tight(), None)?.load(bytes)
}

/// `f(x: int64?) -> (y: <output>)`.
pub(super) fn f(output: DataType, nullable: bool) -> Function {
    let inputs = [field("x", DataType::Int64, true)];
    function("f", &inputs, &[field("y", output, nullable)])
}

pub(super) fn ints(values: &[Option<i64>]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// Calls the first function of a guest with three rows, the second of them null.
fn call(guest: &Guest) -> Result<Outcome> {
    load(&guest.component())?.call(0, &[], &[ints(&[Some(1), None, Some(3)])], 3)
}

/// The call fails, for which its author has to answer, with these words after the name of the
/// function.
#[track_caller]
pub(super) fn check_failure(guest: &Guest, expected: &str) {
    let error = call(guest).unwrap_err();
    assert_eq!(error.kind(), Kind::Transform);
    let digest = Digest::of(guest.component()).short();
    assert_eq!(error.to_string(), format!("function \"f\" of {digest} failed: {expected}"));
}

mod crossing {
    use super::*;

    #[test]
    fn every_type_goes_in_and_comes_back() {
        let name = |data_type: DataType| data_type.name().replace(['<', '>'], "");
        let fields = DataType::ALL.map(|data_type| field(&name(data_type), data_type, true));
        let guest = Guest::echo(&[function("echo", &fields, &fields)]);
        let runtime = Runtime::new(Limits::default(), None).unwrap();
        let echo = runtime.load(&guest.component()).unwrap();
        let case = (crate::value::tests::any_columns(0..40), 0_usize..9);
        proptest!(ProptestConfig::with_cases(64), |(((_, columns), from) in case)| {
            let from = from.min(columns[0].len());
            let rows = columns[0].len() - from;
            let sliced: Vec<_> = columns.iter().map(|column| column.slice(from, rows)).collect();
            let outcome = echo.call(0, &[], &sliced, rows).unwrap();
            prop_assert_eq!(outcome.columns, sliced);
            prop_assert_eq!(outcome.errors, []);
        });
    }

    #[test]
    fn nan_is_canonical_on_both_sides() {
        let odd = f64::from_bits(0xfff8_0000_0000_0001);
        let fields = [field("x", DataType::Float64, true)];
        let column: ArrayRef = Arc::new(Float64Array::from(vec![odd, -0.0]));
        let check = |guest: Guest| {
            let transform = load(&guest.component()).unwrap();
            let outcome = transform.call(0, &[], &[Arc::clone(&column)], 2).unwrap();
            let values = outcome.columns[0].as_primitive::<arrow::datatypes::Float64Type>();
            let bits: Vec<_> = values.values().iter().map(|x| x.to_bits()).collect();
            assert_eq!(bits, [0x7ff8_0000_0000_0000, (-0.0_f64).to_bits()]);
        };
        let signature = function("f", &fields, &fields);
        check(Guest::echo(std::slice::from_ref(&signature)));
        let values = v1::ValuesResult::Float64(vec![odd, -0.0]);
        let column = v1::ColumnResult { values, validity: vec![] };
        let outcome = v1::Outcome { columns: vec![column], errors: vec![] };
        check(Guest::answering(&[signature], outcome));
    }

    #[test]
    fn a_call_finds_nothing_of_an_earlier_one() {
        // Counts calls in a global and in memory, and answers with both.
        let guest = Guest::new(
            &[f(DataType::Int64, true)],
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
             (i32.store (i32.const 512) (i32.add (i32.load (i32.const 512)) (i32.const 1)))
             (i64.store (i32.const 600) (i64.extend_i32_u (i32.add
                (global.get $calls) (i32.load (i32.const 512)))))
             (i32.store8 (i32.const 64) (i32.const 2))
             (i32.store (i32.const 68) (i32.const 600))
             (i32.store (i32.const 72) (i32.const 1))
             (i32.store (i32.const 4) (i32.const 64))
             (i32.store (i32.const 8) (i32.const 1))
             (i32.const 0)",
        )
        .with("(global $calls (mut i32) (i32.const 0))");
        let transform = load(&guest.component()).unwrap();
        for _ in 0..3 {
            let outcome = transform.call(0, &[], &[ints(&[None])], 1).unwrap();
            assert_eq!(outcome.columns, [ints(&[Some(2)])]);
        }
    }

    #[test]
    fn instructions_are_counted_where_they_are_asked_for() {
        let bytes = Guest::new(
            &[f(DataType::Int64, true)],
            "(local $left i32)
             (local.set $left (local.get $rows))
             (loop $again
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $again (local.get $left)))
             (i32.store (i32.const 4) (local.get $columns))
             (i32.store (i32.const 8) (local.get $columns_length))
             (i32.const 0)",
        )
        .component();
        let count = |runtime: Runtime, rows| {
            let column = ints(&vec![Some(7); rows]);
            let outcome = runtime.load(&bytes).unwrap().call(0, &[], &[Arc::clone(&column)], rows);
            let outcome = outcome.unwrap();
            assert_eq!(outcome.columns, [column]);
            outcome.instructions
        };
        assert_eq!(count(Runtime::new(tight(), None).unwrap(), 10), None);
        let counting = || Runtime::new(tight(), None).unwrap().strict(u64::MAX).unwrap();
        let [one, two, three] = [100, 200, 300].map(|rows| count(counting(), rows).unwrap());
        assert_eq!(two - one, three - two);
        assert_eq!((two - one) / 100, 6);
    }

    #[test]
    fn many_threads_share_a_pool_of_one() {
        let limits = Limits { concurrent_calls: 1, ..tight() };
        let runtime = Runtime::new(limits, None).unwrap();
        let echo = runtime.load(&Guest::echo(&[f(DataType::Int64, true)]).component()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let echo = &echo;
                scope.spawn(move || {
                    let column = ints(&[Some(thread)]);
                    for _ in 0..50 {
                        let outcome = echo.call(0, &[], std::slice::from_ref(&column), 1).unwrap();
                        assert_eq!(outcome.columns, [Arc::clone(&column)]);
                    }
                });
            }
        });
    }

    #[test]
    fn the_same_bytes_are_one_transform_while_it_is_held() {
        let runtime = Runtime::new(tight(), None).unwrap();
        let bytes = Guest::echo(&[f(DataType::Int64, true)]).component();
        let loaded: Vec<_> = std::thread::scope(|scope| {
            let load = || runtime.clone().load(&bytes).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(loaded.iter().all(|transform| Arc::ptr_eq(transform, &loaded[0])));
        assert_eq!(loaded[0].digest(), Digest::of(&bytes));

        let held = || runtime.0.loaded.lock().unwrap().len();
        drop(loaded);
        assert_eq!(held(), 1);
        let other = Guest::echo(&[f(DataType::Utf8, true)]).component();
        let _other = runtime.load(&other).unwrap();
        assert_eq!(held(), 1, "what nobody holds is forgotten");
    }
}

mod arguments {
    use super::*;

    #[track_caller]
    fn check(inputs: &[ArrayRef], rows: usize, kind: Kind, expected: &str) {
        let guest = Guest::echo(&[f(DataType::Int64, true)]);
        let error = load(&guest.component()).unwrap().call(0, &[], inputs, rows).unwrap_err();
        let digest = Digest::of(guest.component()).short();
        let expected = format!("function \"f\" of {digest} failed: {expected}");
        assert_eq!((error.kind(), error.to_string()), (kind, expected));
    }

    #[test]
    fn of_another_signature_are_refused() {
        check(&[], 1, Kind::Invalid, "0 input columns instead of 1");
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        check(&[text], 1, Kind::Invalid, "input \"x\" is Utf8 instead of int64");
        check(&[ints(&[None])], 2, Kind::Invalid, "input \"x\" has 1 rows instead of 2");
    }

    #[test]
    fn over_the_limits_are_refused() {
        let rows = "rows of one call over the limit: limit 1000, current 0, requested 1001";
        check(&[ints(&[None; 1_001])], 1_001, Kind::Limit, rows);
        let bytes = "bytes of the inputs over the limit: limit 65536, current 0, requested 80000";
        let wide = field("s", DataType::Utf8, true);
        let guest =
            Guest::echo(&[function("f", std::slice::from_ref(&wide), std::slice::from_ref(&wide))]);
        let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(79_992)]));
        let error = load(&guest.component()).unwrap().call(0, &[], &[text], 1).unwrap_err();
        assert!(error.message().ends_with(bytes), "{error}");
    }

    #[test]
    fn an_unknown_function_has_its_nearest_name() {
        let transform = load(&Guest::echo(&[f(DataType::Int64, true)]).component()).unwrap();
        let error = transform.function("g").unwrap_err();
        let digest = transform.digest().short();
        let expected = format!("no function \"g\" in {digest}\nhint: there are: f");
        assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, expected));
    }
}

mod endings {
    use super::*;

    #[track_caller]
    fn check(apply: &str, expected: &str) {
        check_failure(&Guest::new(&[f(DataType::Int64, true)], apply), expected);
    }

    #[test]
    fn a_panic() {
        check(
            "unreachable",
            "it panicked\nhint: integer overflow, an index out of range and `unwrap` on nothing \
             are panics; a function that returns a Result gives the row an error instead",
        );
    }

    #[test]
    fn a_loop_without_an_end() {
        let started = Instant::now();
        check(
            "(loop $again (br $again)) (i32.const 0)",
            "it did not end within its deadline of 100ms\n\
             hint: look for a loop without an end; or send fewer rows at a time",
        );
        assert!(started.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_recursion_without_an_end() {
        check(
            "(call $apply (i32.const 0) (i32.const 0) (i32.const 0)
                (i32.const 0) (i32.const 0) (i32.const 0))",
            "bytes of stack over the limit: limit 524288, current 524288, requested more",
        );
    }

    #[test]
    fn memory_without_an_end() {
        check(
            "(loop $again (drop (memory.grow (i32.const 16))) (br $again)) (i32.const 0)",
            "bytes of memory over the limit: limit 4194304, current 3276800, requested 4325376",
        );
    }

    #[test]
    fn tables_without_an_end() {
        let guest = Guest::new(
            &[f(DataType::Int64, true)],
            "(loop $again
                (drop (table.grow $t (ref.null func) (i32.const 15000))) (br $again))
             (i32.const 0)",
        );
        check_failure(
            &guest.with("(table $t 0 funcref)"),
            "elements of tables over the limit: limit 20000, current 15000, requested 30000",
        );
    }

    #[test]
    fn other_traps() {
        check("(i32.div_u (i32.const 1) (i32.const 0))", "it trapped: integer divide by zero");
        check("(i32.load (i32.const -4))", "it trapped: out of bounds memory access");
        check("(i32.trunc_f64_s (f64.const nan))", "it trapped: invalid conversion to integer");
    }

    #[test]
    fn the_next_call_is_not_harmed() {
        // Traps when the row count is 1.
        let guest = Guest::new(
            &[f(DataType::Int64, true)],
            "(if (i32.eq (local.get $rows) (i32.const 1)) (then unreachable))
             (i32.store (i32.const 4) (local.get $columns))
             (i32.store (i32.const 8) (local.get $columns_length))
             (i32.const 0)",
        );
        let transform = load(&guest.component()).unwrap();
        for _ in 0..100 {
            assert!(transform.call(0, &[], &[ints(&[None])], 1).is_err());
            let two = ints(&[None, Some(2)]);
            assert_eq!(transform.call(0, &[], &[Arc::clone(&two)], 2).unwrap().columns, [two]);
        }
    }
}

mod answers {
    use super::*;
    use v1::ValuesResult as Values;

    fn column(values: Values, validity: &[u8]) -> v1::ColumnResult {
        v1::ColumnResult { values, validity: validity.to_vec() }
    }

    fn row_error(row: u32, message: &str) -> v1::RowError {
        v1::RowError { row, message: message.to_owned() }
    }

    fn answer(
        function: Function,
        columns: Vec<v1::ColumnResult>,
        errors: Vec<v1::RowError>,
    ) -> Guest {
        Guest::answering(&[function], v1::Outcome { columns, errors })
    }

    #[track_caller]
    fn check(columns: Vec<v1::ColumnResult>, errors: Vec<v1::RowError>, expected: &str) {
        check_failure(&answer(f(DataType::Int64, true), columns, errors), expected);
    }

    fn three() -> v1::ColumnResult {
        column(Values::Int64(vec![1, 2, 3]), &[])
    }

    #[test]
    fn with_other_columns() {
        check(vec![], vec![], "it returned 0 columns, and declares 1 outputs");
        check(vec![three(), three()], vec![], "it returned 2 columns, and declares 1 outputs");
        let floats = column(Values::Float64(vec![1.0, 2.0, 3.0]), &[]);
        check(vec![floats], vec![], "output \"y\": it is float64 and declared int64");
        let short = column(Values::Int64(vec![1, 2]), &[]);
        check(vec![short], vec![], "output \"y\": it has 2 values for 3 rows");
        let long = column(Values::Int64(vec![1; 8_000]), &[]);
        check(vec![long], vec![], "output \"y\": it has 8000 values for 3 rows");
    }

    #[test]
    fn with_other_errors() {
        let check = |errors, expected| check(vec![three()], errors, expected);
        check(vec![row_error(3, "out")], "it returned an error for row 3, and there are 3 rows");
        check(
            vec![row_error(1, "b"), row_error(0, "a")],
            "it returned the error for row 0 after that for row 1",
        );
        check(
            vec![row_error(1, "b"), row_error(1, "b")],
            "it returned the error for row 1 after that for row 1",
        );
        check(
            vec![row_error(u32::MAX, "")],
            "it returned an error for row 4294967295, and there are 3 rows",
        );
    }

    #[test]
    fn over_the_limit() {
        check(
            vec![column(Values::Int64(vec![1; 9_000]), &[])],
            vec![],
            "bytes of the answer over the limit: limit 65536, current 65536, requested more",
        );
        let text = "long".repeat(20_000);
        check(
            vec![three()],
            vec![row_error(0, &text)],
            "bytes of the answer over the limit: limit 65536, current 65536, requested more",
        );
    }

    #[test]
    fn that_point_nowhere() {
        // The answer lies behind the end of memory; so do its columns.
        let check = |apply: &str, expected: &str| {
            let expected = format!("its answer cannot be read: {expected}");
            check_failure(&Guest::new(&[f(DataType::Int64, true)], apply), &expected);
        };
        check("(i32.const -4)", "pointer out of bounds of memory");
        check("(i32.const 3)", "return pointer not aligned");
        check(
            "(i32.store8 (i32.const 0) (i32.const 7)) (i32.const 0)",
            "invalid expected discriminant",
        );
        check(
            "(i32.store (i32.const 4) (i32.const -4)) (i32.store (i32.const 8) (i32.const -1))
             (i32.const 0)",
            "list pointer/length out of bounds of memory",
        );
    }

    #[test]
    fn that_refuse_the_call() {
        let apply = "(i32.store8 (i32.const 0) (i32.const 1))
             (i32.store (i32.const 4) (i32.const 512)) (i32.store (i32.const 8) (i32.const 20))
             (i64.store (i32.const 512) (i64.const 0x6767676767676767))
             (i64.store (i32.const 520) (i64.const 0x6767676767676767))
             (i64.store (i32.const 528) (i64.const 0x6767676767676767))
             (i32.const 0)";
        let guest = Guest::new(&[f(DataType::Int64, true)], apply);
        check_failure(&guest, "it refused the call: gggggggggggggggg…");
    }

    #[test]
    fn with_row_errors_are_null_there_and_their_text_is_cut() {
        let long = "ä".repeat(20);
        let errors = vec![row_error(0, "no"), row_error(2, &long)];
        let outcome = call(&answer(f(DataType::Int64, false), vec![three()], errors)).unwrap();
        assert_eq!(outcome.columns, [ints(&[None, Some(2), None])]);
        let error = |row, message: &str| RowError { row, message: message.to_owned() };
        assert_eq!(outcome.errors, [error(0, "no"), error(2, "ääääääää…")]);
    }

    #[test]
    fn for_null_rows_of_a_required_input_are_null() {
        let mut function = f(DataType::Int64, false);
        function.inputs[0].nullable = false;
        let outcome = call(&answer(function, vec![three()], vec![])).unwrap();
        assert_eq!(outcome.columns, [ints(&[Some(1), None, Some(3)])]);
    }

    #[test]
    fn with_nulls_that_were_not_declared() {
        let holes = |validity: u8| vec![column(Values::Int64(vec![1, 2, 3]), &[validity])];
        let required = || f(DataType::Int64, false);
        check_failure(
            &answer(required(), holes(0b011), vec![]),
            "output \"y\": it is null in row 2, where no input is, and is not declared nullable",
        );
        // Row 1 is null in the input, row 2 has an error.
        call(&answer(required(), holes(0b101), vec![])).unwrap();
        call(&answer(required(), holes(0b001), vec![row_error(2, "")])).unwrap();
    }
}

mod descriptions {
    use super::*;

    #[track_caller]
    fn check(functions: &[Function], expected: &str) {
        let guest = Guest::echo(functions);
        let error = load(&guest.component()).unwrap_err();
        assert_eq!(error.kind(), Kind::Transform);
        let digest = Digest::of(guest.component()).short();
        assert_eq!(error.message(), format!("the description of {digest} failed: {expected}"));
    }

    fn named(name: &str) -> Function {
        Function { name: name.to_owned(), ..f(DataType::Int64, true) }
    }

    #[test]
    fn without_functions_or_outputs() {
        check(&[], "it has no functions");
        check(&[function("f", &[], &[])], "function \"f\": it has no outputs");
    }

    #[test]
    fn with_other_names() {
        check(&[named("Not One")], "not a name of a function: \"Not One\"");
        check(&[named("f"), named("f")], "two of the name \"f\" for a function");
        let field = |name| field(name, DataType::Int64, true);
        let both = Function { params: vec![field("x")], ..named("f") };
        check(&[both], "function \"f\": two of the name \"x\" for a param or input");
        let twice = function("f", &[], &[field("y"), field("y")]);
        check(&[twice], "function \"f\": two of the name \"y\" for an output");
        let unnamed = function("f", &[], &[field("")]);
        check(&[unnamed], "function \"f\": not a name of an output: \"\"");
    }

    #[test]
    fn over_the_limits() {
        check(
            &["a", "b", "c"].map(named),
            "functions over the limit: limit 2, current 0, requested 3",
        );
        let fields = ["a", "b", "c", "d", "e"].map(|name| field(name, DataType::Int64, true));
        check(
            &[function("f", &[], &fields)],
            "function \"f\": params, inputs and outputs over the limit: \
             limit 4, current 0, requested 5",
        );
        let documentation = "x".repeat(40_000);
        check(
            &[Function { documentation, ..named("f") }],
            "bytes of the answer over the limit: limit 32768, current 32768, requested more",
        );
    }

    #[test]
    fn that_never_come() {
        let text = Guest::echo(&[named("f")]).text();
        let silent =
            text.replacen("(result i32) (i32.const", "(result i32) unreachable (i32.const", 1);
        assert_ne!(silent, text);
        let bytes = component(&silent, include_str!("../../wit/transform.wit"));
        let error = load(&bytes).unwrap_err();
        let digest = Digest::of(&bytes).short();
        assert_eq!(error.message(), format!("the description of {digest} failed: it panicked"));
    }
}

mod components {
    use super::*;

    const WIT: &str = include_str!("../../wit/transform.wit");

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        let error = load(bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn that_are_none() {
        let hint = "\nhint: `unskew transform build` makes a component of a crate";
        check(b"", &format!("not a transform: it is empty{hint}"));
        check(b"fn main() {}", &format!("not a transform: it is a text file{hint}"));
        check(b"\x7fELF\xff\xff", &format!("not a transform: it is not WebAssembly{hint}"));
        let core = wat::parse_str("(module)").unwrap();
        check(&core, &format!("not a transform: it is a core module, not a component{hint}"));
    }

    #[test]
    fn that_are_broken() {
        let whole = Guest::echo(&[f(DataType::Int64, true)]).component();
        let error = load(&whole[..whole.len() / 2]).unwrap_err();
        assert!(
            error.message().starts_with("not a transform: it is not a valid component: "),
            "{error}"
        );
    }

    #[test]
    fn too_large() {
        let error = load(&vec![0; (256 << 10) + 1]).unwrap_err();
        let expected =
            "bytes of the component over the limit: limit 262144, current 0, requested 262145";
        assert_eq!((error.kind(), error.message()), (Kind::Limit, expected));
    }

    #[test]
    fn that_import() {
        let clock = r#"(component
            (import "wasi:clocks/monotonic-clock@0.2.0" (instance (export "now" (func (result u64)))))
            (import "log" (func)))"#;
        check(
            &wat::parse_str(clock).unwrap(),
            "not a transform: it imports wasi:clocks/monotonic-clock@0.2.0, log\n\
             hint: a transform has no clock, randomness, network, files or environment: what it \
             knows arrives in its arguments; build it for wasm32-unknown-unknown, as \
             `unskew transform build` does",
        );
        check(
            &wat::parse_str(r#"(component (import "log" (func)))"#).unwrap(),
            "not a transform: it imports log\n\
             hint: a transform imports nothing: what it knows arrives in its arguments",
        );
    }

    #[test]
    fn of_another_world() {
        check(
            &wat::parse_str("(component)").unwrap(),
            "not a transform: it does not export unskew:transform/functions@1.0.0; \
             it exports nothing\n\
             hint: a crate exports its functions with `unskew_sdk::export!`",
        );
        let guest = Guest::echo(&[f(DataType::Int64, true)]);
        let other = |from: &str, to: &str| {
            let module = guest.text().replace(from, to);
            component(&module, &WIT.replace(from, to))
        };
        check(
            &other("unskew:transform", "acme:filter"),
            "not a transform: it does not export unskew:transform/functions@1.0.0; \
             it exports acme:filter/functions@1.0.0\n\
             hint: a crate exports its functions with `unskew_sdk::export!`",
        );
        let newer =
            component(&guest.text().replace("@1.0.0", "@2.1.0"), &WIT.replace("@1.0.0", "@2.1.0"));
        check(
            &newer,
            "not a transform: it exports version 2.1.0 of unskew:transform/functions, \
             and this unskew runs 1.0.0\n\
             hint: build it with the SDK of this unskew, or run it with a newer unskew",
        );
    }

    #[test]
    fn of_other_types() {
        let guest = Guest::echo(&[f(DataType::Int64, true)]);
        let check = |from: &str, to: &str, expected: &str| {
            let other = |text: &str| text.replace(from, to);
            let expected = format!(
                "not a transform: it does not fit unskew:transform/functions@1.0.0: {expected}\n\
                 hint: build it with the SDK of this unskew"
            );
            check(&component(&other(&guest.text()), &other(WIT)), &expected);
        };
        check(
            "rows: u32",
            "length: u32",
            "type mismatch with parameters: expected record field named rows, found length",
        );
        check(
            "describe",
            "explain",
            "instance export `unskew:transform/functions@1.0.0` does not have export `describe`",
        );
        check(
            "-> list<function>",
            "-> string",
            "type mismatch with results: expected `list` found `string`",
        );
        check(
            "list-utf8,",
            "list-utf8, decimal,",
            "type mismatch with results: type mismatch for field params: \
             type mismatch for field data-type: expected enum of 13 names, found 14 names",
        );
    }

    #[test]
    fn with_other_features() {
        let guest = Guest::echo(&[f(DataType::Int64, true)]);
        let check = |extra: &str, expected: &str| {
            let text = guest.text().replacen("(func", &format!("{extra} (func"), 1);
            let error = load(&component(&text, WIT)).unwrap_err();
            let expected = format!("not a transform: it is not a valid component: {expected} (at");
            assert!(error.message().starts_with(&expected), "{error}");
        };
        check("(memory 1)", "multiple memories");
        check("(tag)", "exceptions proposal not enabled");
        check("(func (result i32) (return_call 0))", "tail calls support is not enabled");
        check(
            "(func (param v128 v128 v128) (result v128)
                (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2)))",
            "relaxed SIMD support is not enabled",
        );
        check(
            "(func (param externref))",
            "gc types are disallowed but found type which requires gc",
        );
    }
}

mod trials {
    use super::*;

    /// `f(x: float64?) -> (y: int64)`: 10 for each earlier call, and 1 where `x` in the first row
    /// is another NaN than the canonical one.
    fn curious() -> Vec<u8> {
        let inputs = [field("x", DataType::Float64, true)];
        let outputs = [field("y", DataType::Int64, false)];
        Guest::new(
            &[function("f", &inputs, &outputs)],
            "(i64.store (i32.const 600) (i64.add
                (i64.mul (i64.const 10) (global.get $calls))
                (i64.extend_i32_u (i32.and
                    (f64.ne (f64.load (i32.load (i32.add (local.get $columns) (i32.const 4))))
                            (f64.load (i32.load (i32.add (local.get $columns) (i32.const 4)))))
                    (i64.ne (i64.load (i32.load (i32.add (local.get $columns) (i32.const 4))))
                            (i64.const 0x7ff8000000000000))))))
             (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
             (i32.store8 (i32.const 64) (i32.const 2))
             (i32.store (i32.const 68) (i32.const 600))
             (i32.store (i32.const 72) (i32.const 1))
             (i32.store (i32.const 4) (i32.const 64))
             (i32.store (i32.const 8) (i32.const 1))
             (i32.const 0)",
        )
        .with("(global $calls (mut i64) (i64.const 0))")
        .component()
    }

    #[test]
    fn only_a_trial_lets_a_guest_remember_and_see_odd_nans() {
        let transform = load(&curious()).unwrap();
        let odd: ArrayRef =
            Arc::new(Float64Array::from(vec![f64::from_bits(0xfff8_0000_0000_0001)]));
        let said = |outcome: Result<Outcome>| {
            outcome.unwrap().columns[0].as_primitive::<arrow::datatypes::Int64Type>().value(0)
        };
        let inputs = std::slice::from_ref(&odd);
        for _ in 0..2 {
            assert_eq!(said(transform.call(0, &[], inputs, 1)), 0);
        }
        for (nan, seen) in [(Nan::Canonical, 0), (Nan::Raw, 1)] {
            let mut trial = transform.trial(nan).unwrap();
            for earlier in 0..3 {
                assert_eq!(said(trial.call(0, &[], inputs, 1)), 10 * earlier + seen);
            }
            assert_eq!(trial.describe().unwrap(), transform.functions());
            assert_eq!(trial.stopped(), None);
        }
    }

    #[test]
    fn a_trial_says_how_it_was_stopped() {
        let stopped = |body: &str, runtime: Runtime| {
            let guest = Guest::new(&[f(DataType::Int64, true)], body).component();
            let transform = runtime.load(&guest).unwrap();
            let mut trial = transform.trial(Nan::Canonical).unwrap();
            trial.call(0, &[], &[ints(&[Some(1)])], 1).unwrap_err();
            trial.stopped()
        };
        let standard = || Runtime::new(tight(), None).unwrap();
        let endless = "(loop $again (br $again)) (unreachable)";
        assert_eq!(stopped(endless, standard()), Some(Stop::Endless));
        let strict = Runtime::new(tight(), None).unwrap().strict(10_000).unwrap();
        assert_eq!(stopped(endless, strict), Some(Stop::Endless));
        assert_eq!(stopped("(unreachable)", standard()), Some(Stop::Trapped));
        let grow = "(drop (memory.grow (i32.const 1000))) (unreachable)";
        assert_eq!(stopped(grow, standard()), Some(Stop::Full));
        // A column of int64 with ten thousand values, wherever they lie.
        let large = "(i32.store8 (i32.const 64) (i32.const 2))
            (i32.store (i32.const 72) (i32.const 10000))
            (i32.store (i32.const 4) (i32.const 64))
            (i32.store (i32.const 8) (i32.const 1))
            (i32.const 0)";
        assert_eq!(stopped(large, standard()), Some(Stop::Full));
        assert_eq!(stopped("(i32.const 0x7ffffff0)", standard()), None, "no answer is no stop");
    }

    #[test]
    fn memory_is_what_the_instance_has_in_the_end() {
        let guest = Guest::echo(&[f(DataType::Int64, true)]).component();
        let outcome = load(&guest).unwrap().call(0, &[], &[ints(&[Some(1)])], 1).unwrap();
        assert!(outcome.memory_bytes >= 2 << 16 && outcome.memory_bytes.is_multiple_of(1 << 16));
    }
}
