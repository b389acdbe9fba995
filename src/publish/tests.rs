//! The check on guests that are wrong in one way each, and what it says of them.

use crate::{
    registry::{Case, Checked},
    value::DataType,
    wasm::{
        Limits, Runtime,
        testing::{Guest, field, function, map_float64},
    },
};

use super::*;

fn run(bytes: &[u8]) -> Result<Checked> {
    run_within(limits(&Limits::default()), &Budget::default(), bytes)
}

fn run_within(limits: Limits, budget: &Budget, bytes: &[u8]) -> Result<Checked> {
    check(bytes, &[], &Runtime::new(limits, None)?, budget)
}

/// The check refuses the guest with these words.
#[track_caller]
fn refused(guest: &Guest, expected: &str) {
    let error = run(&guest.component()).expect_err("it is refused");
    assert_eq!(error.message(), expected);
    assert!(error.hint().is_some());
}

const X: &str = "(f64.load (local.get $at))";

#[test]
fn a_pure_function_is_accepted_with_what_it_costs() {
    let checked = run(&map_float64(&format!("(f64.mul {X} (f64.const 2))")).component()).unwrap();
    assert_eq!(checked.imports, [""; 0]);
    assert_eq!(checked.exports, ["unskew:transform/functions@1.0.0"]);
    assert!(checked.features.contains(&"component_model".to_owned()), "{:?}", checked.features);
    assert!(!checked.features.contains(&"simd".to_owned()), "{:?}", checked.features);
    assert!(checked.memory_bytes > 0);
    let found = &checked.functions["f"];
    assert_eq!((found.rows, found.values), (128, 128));
    assert_eq!((found.row_errors, found.stopped, &found.stopping), (0, 0, &None));
    assert!(found.calls > 500, "{}", found.calls);
    let cost = found.cost.as_ref().unwrap();
    assert!((10..30).contains(&cost.median_row), "{cost:?}");
    assert_eq!(cost.median_row, cost.worst_row);
}

/// The words of a refusal by the purity test.
fn impure(what: &str, rows: &str) -> String {
    format!("the check \"purity\" fails: function \"f\": {what}{rows}")
}

const NEIGHBOURS: &str = "the result for a row depends on the other rows of its call, their number \
    or their order";
const EARLIER: &str = "the result for a row depends on earlier calls of the same instance";

#[test]
fn functions_that_look_at_other_rows_are_refused() {
    let rows = format!("(f64.add {X} (f64.convert_i32_u (local.get $rows)))");
    let expected = impure(NEIGHBOURS, "\n  x = 0.0 → y = 2.0; alone → y = 1.0\n  x = 0.0");
    refused(&map_float64(&rows), &expected);
    let place = format!("(f64.add {X} (f64.convert_i32_u (local.get $row)))");
    let expected = impure(NEIGHBOURS, "\n  x = 0.0\n  x = 0.0 → y = 1.0; alone → y = 0.0");
    refused(&map_float64(&place), &expected);
    // Looks at the row behind.
    let behind = "(select (f64.load (i32.add (local.get $at) (i32.const 8))) (f64.const 0)
        (i32.lt_u (i32.add (local.get $row) (i32.const 1)) (local.get $rows)))";
    let expected = impure(NEIGHBOURS, "\n  x = 0.0 → y = 1.0; alone → y = 0.0\n  x = 1.0");
    refused(&map_float64(behind), &expected);
    // Only calls of more rows than are generated show it.
    let large = format!("(select (unreachable) {X} (i32.gt_u (local.get $row) (i32.const 5000)))");
    let large = large.replace("(unreachable)", "(f64.const 7)");
    let error = run(&map_float64(&large).component()).unwrap_err();
    assert!(error.message().starts_with(&impure(NEIGHBOURS, "")), "{error}");
    assert!(error.message().contains("more rows"), "{error}");
}

/// Counts calls, not rows.
const CALLS: &str = "(block (result f64)
    (if (i32.eqz (local.get $row)) (then
        (global.set $kept (f64.add (global.get $kept) (f64.const 1)))))
    (global.get $kept))";

#[test]
fn functions_that_remember_are_refused() {
    let expected =
        impure(EARLIER, "\n  call 1: x = 0.0\n  call 2: x = 0.0 → y = 2.0; alone → y = 1.0");
    refused(&map_float64(CALLS), &expected);
    // Reads memory that an earlier call wrote, and that is zero in a new instance.
    let left = format!(
        "(block (result f64)
            (f64.load (i32.const 700))
            (if (i32.eq (i32.add (local.get $row) (i32.const 1)) (local.get $rows)) (then
                (f64.store (i32.const 700) (f64.abs {X})))))"
    );
    let expected =
        impure(EARLIER, "\n  call 1: x = 1.0\n  call 2: x = 0.0 → y = 1.0; alone → y = 0.0");
    refused(&map_float64(&left), &expected);
}

#[test]
fn functions_that_look_into_a_nan_are_refused() {
    let low = format!("(f64.convert_i64_u (i64.and (i64.reinterpret_f64 {X}) (i64.const 1)))");
    let payload = format!("(select {low} (f64.const 0) (f64.ne {X} {X}))");
    let error = run(&map_float64(&payload).component()).unwrap_err();
    let what = "the result depends on which NaN it is given, and there is one NaN";
    assert!(error.message().starts_with(&impure(what, "\n  x = NaN 0x")), "{error}");
    let end = " → y = 1.0; with the canonical NaN → y = 0.0";
    assert!(error.message().ends_with(end), "{error}");
    // A signalling NaN goes in and comes out; both borders make it the canonical one.
    run(&map_float64(X).component()).unwrap();
    run(&map_float64("(f64.reinterpret_i64 (i64.const 0x7ff0000000000001))").component()).unwrap();
}

/// The sign of the NaN that `0 / 0` gives: set on x86-64, clear on other processors, and clear
/// where every operation makes its NaN canonical.
#[cfg(target_arch = "x86_64")]
#[test]
fn functions_that_look_into_a_nan_they_compute_are_refused() {
    let zero = format!("(f64.sub {X} {X})");
    let sign = format!("(i64.shr_u (i64.reinterpret_f64 (f64.div {zero} {zero})) (i64.const 63))");
    let what = "the result depends on the bits of a NaN that it computes, which differ with the \
        processor";
    let rows = "\n  x = 0.0 → y = 1.0; under the strict profile → y = 0.0";
    refused(&map_float64(&format!("(f64.convert_i64_u {sign})")), &impure(what, rows));
}

#[test]
fn rows_may_end_the_call_as_long_as_they_always_do() {
    // A panic where x is negative.
    let trap =
        format!("(block (result f64) (if (f64.lt {X} (f64.const 0)) (then (unreachable))) {X})");
    let checked = run(&map_float64(&trap).component()).unwrap();
    let found = &checked.functions["f"];
    assert!(found.stopped > 10 && found.values + found.stopped == found.rows, "{found:?}");
    assert!(found.stopping.as_ref().unwrap().ends_with(": it panicked"), "{found:?}");
    // A panic where it always is.
    let error = run(&map_float64("(unreachable)").component()).unwrap_err();
    let expected = "the check \"results\" fails: function \"f\": no row has a result\n  x = ";
    assert!(error.message().starts_with(expected), "{error}");
    assert!(error.message().ends_with(" → the call fails: it panicked"), "{error}");
    // A panic in the second of two negative rows only.
    let second = format!(
        "(block (result f64) (if (i32.and (i32.gt_u (local.get $row) (i32.const 0))
            (f64.lt {X} (f64.const 0))) (then (unreachable))) {X})"
    );
    let error = run(&map_float64(&second).component()).unwrap_err();
    assert!(error.message().starts_with(&impure(NEIGHBOURS, "\n  x = ")), "{error}");
    assert!(error.message().contains("→ the call fails: "), "{error}");
}

#[test]
fn limits_on_the_rows_of_a_call_hide_nothing_and_refuse_nothing() {
    let pure = map_float64(&format!("(f64.mul {X} (f64.const 2))")).component();
    let rows = map_float64("(f64.convert_i32_u (local.get $rows))").component();
    let calls = map_float64(CALLS).component();
    let budget = Budget { large: 40_000, ..Budget::default() };
    let check = |limits: Limits| {
        let found = run_within(limits.clone(), &budget, &pure).unwrap().functions;
        assert_eq!(found["f"].rows, 128);
        assert!((10..30).contains(&found["f"].cost.as_ref().unwrap().median_row), "{found:?}");
        for (bytes, what) in [(&rows, NEIGHBOURS), (&calls, EARLIER)] {
            let error = run_within(limits.clone(), &budget, bytes).unwrap_err();
            assert!(error.message().starts_with(&impure(what, "\n")), "{error}");
        }
    };
    let usual = Limits::default;
    let project = Limits { rows: 10, input_bytes: 100, output_bytes: 100, ..usual() };
    check(limits(&Limits { memory_bytes: 64 << 10, ..project }));
    // Rows of cases may have it as tight under the usual limits.
    check(limits(&usual()));
    check(Limits { rows: 100, ..limits(&usual()) });
    check(Limits { input_bytes: 1_000, ..limits(&usual()) });
    check(Limits { output_bytes: 1_000, ..limits(&usual()) });
    check(Limits { memory_bytes: 192 << 10, ..limits(&usual()) });
    // All of it from the start.
    check(Limits { memory_bytes: 128 << 10, ..limits(&usual()) });
}

#[test]
fn rows_that_take_much_are_no_fault_of_their_call() {
    let budget = Budget { call_instructions: 20_000, ..Budget::default() };
    let run = |turns: u32, value: &str| {
        let guest = map_float64(&format!(
            "(block (result f64)
                (global.set $kept (f64.const {turns}))
                (loop $again
                    (global.set $kept (f64.sub (global.get $kept) (f64.const 1)))
                    (br_if $again (f64.gt (global.get $kept) (f64.const 0))))
                {value})"
        ));
        run_within(limits(&Limits::default()), &budget, &guest.component())
    };
    // Of rows of 2,400 instructions, a strict call has room for some; of the others, for one.
    for turns in [300, 2_000] {
        let checked = run(turns, X).unwrap();
        let cost = checked.functions["f"].cost.as_ref().unwrap();
        let about = u64::from(turns) * 8;
        assert!((about..about + 200).contains(&cost.median_row), "{cost:?}");
        let error = run(turns, "(f64.convert_i32_u (local.get $rows))").unwrap_err();
        assert!(error.message().starts_with(&impure(NEIGHBOURS, "\n")), "{error}");
    }
    let error = run(3_000, X).unwrap_err();
    assert!(error.message().starts_with("the check \"end\" fails"), "{error}");
}

#[test]
fn a_row_that_does_not_end_is_shown() {
    let endless = format!(
        "(block (result f64) (loop $again (br_if $again (f64.gt {X} (f64.const 1e14)))) {X})"
    );
    let error = run(&map_float64(&endless).component()).unwrap_err();
    let expected = "the check \"end\" fails: function \"f\": a row takes more instructions than a \
        call may\n  x = ";
    assert!(error.message().starts_with(expected), "{error}");
    assert_eq!(error.message().lines().count(), 2);
}

#[test]
fn what_is_no_answer_is_shown_with_its_row() {
    let outcome = crate::wasm::testing::answer_int64(
        &function("f", &[field("x", DataType::Int64, true)], &[field("y", DataType::Int64, true)]),
        &[1, 2],
        &[],
    );
    refused(
        &outcome,
        "the check \"answers\" fails: function \"f\": output \"y\": it has 2 values for 1 rows\n  x = 0",
    );
}

#[test]
fn a_check_gives_the_same_verdict_again() {
    let honest = map_float64(&format!("(f64.sqrt {X})")).component();
    assert_eq!(run(&honest).unwrap(), run(&honest).unwrap());
}

mod cases {
    use std::collections::BTreeMap;

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn case(x: f64, y: f64) -> Case {
        Case {
            origin: format!("cases.toml, x = {x}"),
            function: "f".to_owned(),
            inputs: BTreeMap::from([("x".to_owned(), x.into())]),
            params: BTreeMap::new(),
            outputs: BTreeMap::from([("y".to_owned(), y.into())]),
            error: None,
        }
    }

    #[test]
    fn a_component_that_does_not_give_its_cases_is_refused() {
        let double = map_float64(&format!("(f64.mul {X} (f64.const 2))")).component();
        let runtime = Runtime::new(limits(&Limits::default()), None).unwrap();
        let cases = [case(1.5, 3.0), case(0.0, -0.0), case(1.0, 1.0)];
        let error = check(&double, &cases, &runtime, &Budget::default()).unwrap_err();
        let expected = "the check \"cases\" fails: 2 fail\n  cases.toml, x = 0: expected y = -0.0, got \
            y = 0.0\n  cases.toml, x = 1: expected y = 1.0, got y = 2.0";
        assert_eq!(error.message(), expected);
        let checked = check(&double, &cases[..1], &runtime, &Budget::default()).unwrap();
        assert_eq!((checked.cases, checked.functions["f"].rows), (1, 129));
        // The purity test begins with the rows of cases, which no generator may think of.
        let secret = format!(
            "(f64.add {X} (select (f64.convert_i32_u (local.get $rows)) (f64.const 0)
                (f64.eq {X} (f64.const 271828.25))))"
        );
        let secret = map_float64(&secret).component();
        check(&secret, &[], &runtime, &Budget::default()).unwrap();
        let cases = [case(271_828.25, 271_829.25)];
        let error = check(&secret, &cases, &runtime, &Budget::default()).unwrap_err();
        assert!(error.message().contains("\n  x = 271828.25 → y = "), "{error}");
    }

    #[test]
    fn cases_that_are_too_many_for_a_call_are_run_in_several() {
        let double = map_float64(&format!("(f64.mul {X} (f64.const 2))")).component();
        let cases: Vec<Case> = (0..100).map(|x| case(f64::from(x), f64::from(x) * 2.0)).collect();
        let check = |limits: Limits, instructions: Option<u64>| {
            let runtime = Runtime::new(limits, None).unwrap();
            let runtime = match instructions {
                Some(instructions) => runtime.strict(instructions).unwrap(),
                None => runtime,
            };
            let transform = runtime.load(&double).unwrap();
            let input: ArrayRef = std::sync::Arc::new(Float64Array::from(vec![0.0; 100]));
            transform.call(0, &[], &[input], 100).expect_err("they are too many");
            assert_eq!(failing_cases(&cases, &transform), []);
            let wrong = [cases.as_slice(), &[case(1.0, 1.0)]].concat();
            assert_eq!(failing_cases(&wrong, &transform).len(), 1);
        };
        let one = || Limits { concurrent_calls: 1, ..Limits::default() };
        check(Limits { rows: 3, ..one() }, None);
        check(Limits { input_bytes: 100, ..one() }, None);
        check(Limits { output_bytes: 400, ..one() }, None);
        check(one(), Some(1_000));
    }

    #[test]
    fn rows_that_end_only_alone_are_no_cases_that_are_too_many() {
        let hangs = format!(
            "(block (result f64)
                (loop $again (br_if $again (i32.gt_u (local.get $rows) (i32.const 1))))
                {X})"
        );
        let bytes = map_float64(&hangs).component();
        let runtime = Runtime::new(Limits::default(), None).unwrap().strict(10_000).unwrap();
        let cases: Vec<Case> = (0..9).map(|x| case(x.into(), x.into())).collect();
        let failing = failing_cases(&cases, &runtime.load(&bytes).unwrap());
        // Nine are cut into four and five, four into two and two: those are the first to fail.
        assert_eq!(failing.len(), 2);
        let said = failing[0].1.message();
        assert!(said.starts_with("among the other cases, though not alone: "), "{said}");
    }

    #[tokio::test]
    async fn other_cases_for_what_is_published_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let runtime = Runtime::new(limits(&Limits::default()), None).unwrap();
        let bytes = map_float64(&format!("(f64.mul {X} (f64.const 2))")).component();
        let publish = async |cases: &[Case]| {
            let (name, bytes) = ("a/b@1.0.0".parse().unwrap(), bytes.clone());
            let candidate = Candidate { name, bytes, cases: cases.to_vec() };
            let publication = publish(candidate, &registry, &runtime, &runtime, Timestamp(0)).await;
            let publication = publication.unwrap();
            (publication.published, publication.other_cases)
        };
        let good = [case(1.5, 3.0)];
        assert_eq!(publish(&good).await, (Published::New, false));
        assert_eq!(publish(&good).await, (Published::Already, false));
        assert_eq!(publish(&[case(1.5, 1.0)]).await, (Published::Already, true));
        assert_eq!(publish(&[]).await, (Published::Already, true));
        assert_eq!(registry.cases(&"a/b@1.0.0".parse().unwrap()).await.unwrap(), good);
    }

    #[tokio::test]
    async fn what_the_project_cannot_load_is_not_published() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::open(folder.path()).unwrap();
        let project = Limits { memory_bytes: 64 << 10, ..Limits::default() };
        let runtime = |limits| Runtime::new(limits, None).unwrap();
        let (checking, project) = (runtime(limits(&project)), runtime(project));
        let bytes = map_float64(X).component();
        let (name, digest) = ("a/b@1.0.0".parse().unwrap(), Digest::of(&bytes));
        let candidate = Candidate { name, bytes, cases: Vec::new() };
        let name = candidate.name.clone();
        let error = publish(candidate, &registry, &checking, &project, Timestamp(0)).await;
        let error = error.err().unwrap();
        let expected = "a/b@1.0.0 not published: under the limits of this project: ";
        assert!(error.message().starts_with(expected), "{error}");
        assert!(!registry.is_published(&name, &digest).await.unwrap());
    }

    #[test]
    fn cases_are_read_from_toml_and_parquet() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(read_cases(folder.path()).unwrap(), []);
        let text = "[[case]]\nfunction = \"f\"\ninputs = { x = 1.5 }\nerror = \"no\"\n";
        std::fs::write(path("cases.toml"), text).unwrap();
        std::fs::create_dir(path("cases")).unwrap();
        let write = |name: &str, columns: Vec<(&str, ArrayRef)>| {
            let batch = RecordBatch::try_from_iter_with_nullable(
                columns.into_iter().map(|(name, column)| (name, column, true)),
            );
            let batch = batch.unwrap();
            let file = std::fs::File::create(path(&format!("cases/{name}.parquet"))).unwrap();
            let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
            writer.write(&batch).unwrap();
            writer.close().unwrap();
        };
        let floats = |values: &[Option<f64>]| {
            std::sync::Arc::new(Float64Array::from(values.to_vec())) as ArrayRef
        };
        let errors = std::sync::Arc::new(StringArray::from(vec![None, Some("bad")])) as ArrayRef;
        write(
            "g",
            vec![
                ("input.x", floats(&[Some(f64::NAN), None])),
                ("output.y", floats(&[Some(-0.0), None])),
                ("error", errors),
            ],
        );
        let cases = read_cases(folder.path()).unwrap();
        let shown: Vec<_> = cases
            .iter()
            .map(|case| {
                let Case { origin, inputs, outputs, error, .. } = case;
                format!("{origin}: {inputs:?} {outputs:?} {error:?}")
            })
            .collect();
        assert_eq!(
            shown,
            [
                "cases.toml, case 1 of f: {\"x\": Number(1.5)} {} Some(\"no\")",
                "cases/g.parquet, row 0: {\"x\": String(\"NaN\")} {\"y\": Number(-0.0)} None",
                "cases/g.parquet, row 1: {} {} Some(\"bad\")",
            ]
        );
        write("h", vec![("x", floats(&[None]))]);
        let error = read_cases(folder.path()).unwrap_err();
        assert!(error.message().ends_with("column \"x\" is of no part of a case"), "{error}");
        std::fs::write(path("cases.toml"), "[[case]]\nfun = 1\n").unwrap();
        assert!(read_cases(folder.path()).unwrap_err().message().contains("cases.toml"));
    }
}
