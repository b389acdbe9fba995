//! What a guest cannot do though no compiler of Rust would write it: components in WebAssembly
//! text, and what the user is told. `transforms/evil` has what Rust can express, and
//! `tests/it/hostile.rs` calls that through a server.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array};

use super::{
    bindings::v1,
    testing::{Guest, component, map_float64},
    tests::{check_failure, f, ints, load},
    *,
};
use crate::{
    error::Kind,
    value::{DataType, Function},
};

const WIT: &str = include_str!("../../wit/transform.wit");

fn guest() -> Guest {
    Guest::echo(&[f(DataType::Int64, true)])
}

/// The guest with one text of its module replaced.
fn edited(from: &str, to: &str) -> Vec<u8> {
    let text = guest().text();
    let edited = text.replacen(from, to, 1);
    assert_ne!(edited, text, "{from}");
    component(&edited, WIT)
}

/// The guest with further fields in its module.
fn with(extra: &str) -> Vec<u8> {
    edited("(memory (export", &format!("{extra} (memory (export"))
}

/// The component cannot be loaded, for which its author has to answer.
#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = load(bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::Transform, "{error}");
    let digest = Digest::of(bytes).short();
    assert_eq!(error.to_string(), format!("the description of {digest} failed: {expected}"));
}

const TOO_LATE: &str = "it did not end within its deadline of 100ms\n\
    hint: look for a loop without an end; or send fewer rows at a time";
const PANICKED: &str = "it panicked\nhint: integer overflow, an index out of range and `unwrap` on \
    nothing are panics; a function that returns a Result gives the row an error instead";

mod at_the_start {
    use super::*;

    #[test]
    fn it_does_not_end() {
        refused(&with("(func $s (loop $l (br $l))) (start $s)"), TOO_LATE);
    }

    /// Instructions are looked at here, which are given out as time is.
    #[test]
    fn it_takes_what_the_call_may_take() {
        let turns = "(global.set $kept (f64.const 1000)) (loop $again
            (global.set $kept (f64.sub (global.get $kept) (f64.const 1)))
            (br_if $again (f64.gt (global.get $kept) (f64.const 0))))";
        let guest = map_float64(&format!("(block (result f64) {turns} (f64.const 7))"));
        let bytes = guest.with(&format!("(func $s {turns}) (start $s)")).component();
        let x: ArrayRef = Arc::new(Float64Array::from(vec![7.0]));
        let within = |instructions| {
            let runtime = Runtime::new(Limits::default(), None).unwrap();
            runtime.strict(instructions).unwrap().load(&bytes).unwrap()
        };
        let call = |transform: &Transform| transform.call(0, &[], std::slice::from_ref(&x), 1);
        let both = call(&within(1_000_000)).unwrap().instructions.unwrap();
        assert_eq!(call(&within(both)).unwrap().columns, [Arc::clone(&x)]);
        let error = call(&within(both * 3 / 4)).unwrap_err();
        assert!(error.message().ends_with("it did not end within its instructions"), "{error}");
        // A trial calls the instance again, and each time it has as much.
        let transform = within(both);
        let mut trial = transform.trial(Nan::Canonical).unwrap();
        for _ in 0..9 {
            trial.call(0, &[], std::slice::from_ref(&x), 1).unwrap();
        }
    }

    #[test]
    fn it_traps() {
        refused(&with("(func $s unreachable) (start $s)"), PANICKED);
    }

    #[test]
    fn it_recurs() {
        refused(
            &with("(func $s (call $s)) (start $s)"),
            "bytes of stack over the limit: limit 524288, current 524288, requested more",
        );
    }

    #[test]
    fn it_has_more_memory_than_it_may() {
        refused(
            &edited("(memory (export \"memory\") 2)", "(memory (export \"memory\") 65)"),
            "bytes of memory over the limit: limit 4194304, current 0, requested 4259840",
        );
    }

    #[test]
    fn it_has_larger_tables_than_it_may() {
        refused(
            &with("(table 12000 funcref) (table 12000 funcref)"),
            "elements of tables over the limit: limit 20000, current 12000, requested 24000",
        );
        check_invalid(
            &with("(table 20001 funcref)"),
            "table index 0 has a minimum element size of 20001 which exceeds the limit of 20000",
        );
    }

    #[test]
    fn it_writes_where_there_is_no_memory() {
        refused(
            &with("(data (i32.const -8) \"far away\")"),
            "it trapped: out of bounds memory access",
        );
        refused(
            &with("(table 1 funcref) (elem (i32.const 1) func $apply)"),
            "it trapped: undefined element: out of bounds table access",
        );
    }

    #[test]
    fn it_has_too_many_tables() {
        check_invalid(
            &with(&"(table 1 funcref)".repeat(9)),
            "defined tables count of 9 exceeds the per-instance limit of 8",
        );
    }

    /// There is no room in the pool for what it has: it is not even compiled.
    #[track_caller]
    fn check_invalid(bytes: &[u8], expected: &str) {
        let error = load(bytes).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        let expected = format!("not a transform: it does not compile: {expected}");
        assert_eq!(error.to_string(), expected);
    }
}

mod in_its_description {
    use super::*;

    const DESCRIBE: &str = "#describe\") (result i32) (i32.const";

    fn describing(body: &str) -> Vec<u8> {
        edited(DESCRIBE, &format!("#describe\") (result i32) {body} (i32.const"))
    }

    #[test]
    fn it_does_not_end() {
        refused(&describing("(loop $l (br $l))"), TOO_LATE);
    }

    #[test]
    fn it_wants_all_memory() {
        refused(
            &describing("(drop (memory.grow (i32.const 65000)))"),
            "bytes of memory over the limit: limit 4194304, current 131072, requested 4259971072",
        );
    }

    #[test]
    fn it_points_nowhere() {
        refused(
            &edited(DESCRIBE, "#describe\") (result i32) (return (i32.const -8)) (i32.const"),
            "its answer cannot be read: pointer out of bounds of memory",
        );
    }

    #[test]
    fn it_has_ten_thousand_functions() {
        let functions: Vec<_> = (0..10_000)
            .map(|number| Function { name: format!("f{number}"), ..f(DataType::Int64, true) })
            .collect();
        let limits = Limits { functions: 256, ..Limits::default() };
        let bytes = Guest::echo(&functions).component();
        let error = Runtime::new(limits, None).unwrap().load(&bytes).unwrap_err();
        let expected = "functions over the limit: limit 256, current 0, requested 10000";
        assert!(error.message().ends_with(expected), "{error}");
    }

    #[test]
    fn it_writes_on_the_terminal() {
        let named = |name: &str| Function { name: name.to_owned(), ..f(DataType::Int64, true) };
        let rule = "hint: a name is lower-case letters, digits and single underscores, \
            starts with a letter and has at most 63 characters";
        refused(
            &Guest::echo(&[named("\u{1b}[2Jf\nhint: trust me\u{202e}")]).component(),
            &format!(
                "not a name of a function: \"\\u{{1b}}[2Jf\\nhint: trust me\\u{{202e}}\"\n{rule}"
            ),
        );
        refused(
            &Guest::echo(&[named(&"f".repeat(1_000))]).component(),
            &format!("not a name of a function: \"{}…\"\n{rule}", "f".repeat(64)),
        );
        let documentation = "Two lines,\n\tand \u{9b}2J.".to_owned();
        refused(
            &Guest::echo(&[Function { documentation, ..named("f") }]).component(),
            "function \"f\": its documentation has the character \\u{9b}",
        );
    }

    /// It has another name each time it is asked in one instance; nobody asks twice.
    #[test]
    fn it_changes() {
        let guests = edited(
            DESCRIBE,
            "#describe\") (result i32) (local $f i32)
                (i32.store8 (i32.const 1024) (i32.add (i32.load8_u (i32.const 1024)) (i32.const 1)))
                (i32.const",
        );
        let transform = load(&guests).unwrap();
        assert_eq!(transform.functions()[0].inputs[0].name, "y");
        assert_eq!(load(&guests).unwrap().functions(), transform.functions());
        let mut trial = transform.trial(Nan::Canonical).unwrap();
        assert_ne!(trial.describe().unwrap(), trial.describe().unwrap());
    }
}

mod in_its_allocator {
    use super::*;

    const REALLOC: &str = "(local $start i32)";

    /// A guest that is asked for room for the inputs, and does this instead.
    #[track_caller]
    fn check(body: &str, expected: &str) {
        let bytes = edited(REALLOC, &format!("{REALLOC} {body}"));
        let error = load(&bytes).unwrap().call(0, &[], &[ints(&[Some(1)])], 1).unwrap_err();
        let digest = Digest::of(&bytes).short();
        assert_eq!(error.kind(), Kind::Transform, "{error}");
        assert_eq!(error.to_string(), format!("function \"f\" of {digest} failed: {expected}"));
    }

    #[test]
    fn it_does_not_end() {
        check("(loop $l (br $l))", TOO_LATE);
    }

    #[test]
    fn it_traps() {
        check("unreachable", PANICKED);
    }

    #[test]
    fn it_points_nowhere() {
        check(
            "(return (i32.const -16))",
            "its answer cannot be read: realloc return: beyond end of memory",
        );
        check(
            "(return (i32.const 1))",
            "its answer cannot be read: realloc return: result not aligned",
        );
    }

    /// Every column lies over the others, and over the code's own scratch bytes.
    #[test]
    fn it_gives_the_same_place_twice() {
        let bytes = edited(REALLOC, &format!("{REALLOC} (return (i32.const 512))"));
        let called = load(&bytes).unwrap().call(0, &[], &[ints(&[Some(7)])], 1);
        // What it reads is its own affair, as long as the answer is a column of one row.
        if let Ok(outcome) = called {
            assert_eq!(outcome.columns[0].len(), 1);
        }
    }
}

mod in_its_answer {
    use super::*;

    /// A small memory, read again and again: a thousand columns that are one.
    #[test]
    fn it_is_larger_than_its_memory() {
        let guest = Guest::new(
            &[f(DataType::Int64, true)],
            "(local $at i32)
             (local.set $at (i32.const 4096))
             (loop $again
                (i32.store8 (local.get $at) (i32.const 2))
                (i32.store offset=4 (local.get $at) (i32.const 0))
                (i32.store offset=8 (local.get $at) (i32.const 500))
                (local.set $at (i32.add (local.get $at) (i32.const 36)))
                (br_if $again (i32.lt_u (local.get $at) (i32.const 40096))))
             (i32.store (i32.const 4) (i32.const 4096))
             (i32.store (i32.const 8) (i32.const 1000))
             (i32.store (i32.const 12) (i32.const 0))
             (i32.store (i32.const 16) (i32.const 0))
             (i32.const 0)",
        );
        check_failure(
            &guest,
            "bytes of the answer over the limit: limit 65536, current 65536, requested more",
        );
    }

    #[test]
    fn it_is_neither_an_outcome_nor_a_failure() {
        check_failure(
            &Guest::new(
                &[f(DataType::Int64, true)],
                "(i32.store8 (i32.const 0) (i32.const 2)) (i32.const 0)",
            ),
            "its answer cannot be read: invalid expected discriminant",
        );
    }

    #[test]
    fn its_columns_are_of_no_type() {
        check_failure(
            &Guest::new(
                &[f(DataType::Int64, true)],
                "(i32.store8 (i32.const 64) (i32.const 13))
                 (i32.store (i32.const 4) (i32.const 64))
                 (i32.store (i32.const 8) (i32.const 1))
                 (i32.const 0)",
            ),
            "its answer cannot be read: unexpected discriminant: 13",
        );
    }

    #[test]
    fn its_messages_are_no_text() {
        check_failure(
            &Guest::new(
                &[f(DataType::Int64, true)],
                "(i32.store8 (i32.const 0) (i32.const 1))
                 (i32.store8 (i32.const 512) (i32.const 255))
                 (i32.store (i32.const 4) (i32.const 512)) (i32.store (i32.const 8) (i32.const 1))
                 (i32.const 0)",
            ),
            "its answer cannot be read: invalid utf-8 sequence of 1 bytes from index 0",
        );
    }

    /// It is called once more when the answer was read: to free it.
    #[test]
    fn it_does_not_let_go() {
        let post = |body: &str| {
            let export = "(func (export \"cabi_post_unskew:transform/functions@1.0.0#apply\") \
                          (param i32)";
            edited(
                "(func (export \"cabi_realloc\")",
                &format!("{export} {body}) (func (export \"cabi_realloc\")"),
            )
        };
        for (body, expected) in [("(loop $l (br $l))", TOO_LATE), ("unreachable", PANICKED)] {
            let bytes = post(body);
            let error = load(&bytes).unwrap().call(0, &[], &[ints(&[Some(1)])], 1).unwrap_err();
            assert!(error.to_string().ends_with(&format!("failed: {expected}")), "{error}");
        }
    }

    #[test]
    fn its_row_errors_are_more_than_there_is_room_for() {
        let errors = (0..100_000).map(|row| v1::RowError { row, message: String::new() });
        let outcome = v1::Outcome { columns: vec![], errors: errors.collect() };
        let guest = Guest::answering(&[f(DataType::Int64, true)], outcome);
        let limits = Limits { output_bytes: 1 << 20, ..Limits::default() };
        let transform = Runtime::new(limits, None).unwrap().load(&guest.component()).unwrap();
        let error = transform.call(0, &[], &[ints(&[None])], 1).unwrap_err();
        let expected =
            "bytes of the answer over the limit: limit 1048576, current 1048576, requested more";
        assert!(error.message().ends_with(expected), "{error}");
    }
}

mod in_its_shape {
    use super::*;

    #[test]
    fn it_has_names_that_are_not_shown() {
        let bytes = wat::parse_str(
            "(component (core module (func) (export \"\\1b[2J\" (func 0)) (export \"\\1b[2J\" (func 0))))",
        )
        .unwrap();
        let error = load(&bytes).unwrap_err();
        assert!(!error.message().contains('\u{1b}'), "{error}");
        assert!(error.message().contains("duplicate export name"), "{error}");
    }

    #[test]
    fn a_neighbour_is_not_harmed() {
        let runtime =
            Runtime::new(Limits { concurrent_calls: 1, ..Limits::default() }, None).unwrap();
        let good = runtime.load(&guest().component()).unwrap();
        let evil = with("(func $s unreachable) (start $s)");
        for _ in 0..50 {
            assert!(runtime.load(&evil).is_err());
            let column = ints(&[Some(5)]);
            let outcome = good.call(0, &[], &[Arc::clone(&column)], 1).unwrap();
            assert_eq!(outcome.columns, [column]);
        }
    }
}
