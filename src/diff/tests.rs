use std::{collections::BTreeMap, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, RecordBatch};

use super::*;
use crate::{
    definition::{CallLimits, OnError},
    evaluate::Binding,
    wasm::{
        Limits, Runtime,
        testing::{Guest, map_float64},
    },
};

fn evaluation(guest: &Guest) -> Evaluation {
    let runtime = Runtime::new(Limits::default(), None).unwrap();
    let binding = Binding {
        function: "f".to_owned(),
        params: BTreeMap::new(),
        inputs: BTreeMap::from([("x".to_owned(), "a".to_owned())]),
        outputs: vec![("y".to_owned(), "y".to_owned())],
        on_error: OnError::Null,
        limits: CallLimits::default(),
    };
    Evaluation::new(runtime.load(&guest.component()).unwrap(), &binding).unwrap()
}

fn batch(values: &[Option<f64>]) -> RecordBatch {
    let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
    RecordBatch::try_from_iter([("a", column)]).unwrap()
}

const X: &str = "(f64.load (local.get $at))";

/// The guest that gives back `x`, but for one value that it makes something else of.
fn but(value: f64, other: &str) -> String {
    format!("(select {other} {X} (f64.eq {X} (f64.const {value})))")
}

#[test]
fn every_kind_of_change_is_counted_and_shown() {
    let panics = format!(
        "(block (result f64) (if (f64.lt {X} (f64.const 0)) (then (unreachable))) {})",
        but(3.0, "(f64.const 3.0000000000000004)")
    );
    let (before, after) = (evaluation(&map_float64(X)), evaluation(&map_float64(&panics)));
    let mut comparison = Comparison::new(&before, &after);
    comparison.add(&batch(&[Some(1.0), Some(-1.0), None])).unwrap();
    comparison.add(&batch(&[Some(3.0), Some(-2.0), Some(3.0)])).unwrap();
    let found = comparison.finish();
    assert_eq!((found.rows, found.changed), (6, 4));
    assert_eq!((found.errors_appear, found.errors_vanish, found.errors_change), (2, 0, 0));
    let change = &found.outputs[0];
    assert_eq!((change.changed, change.largest_ulps), (2, Some(1)));
    assert_eq!((change.nulls_appear, change.nulls_vanish, change.nan), (0, 0, 0));
    let example = |row, before: &str, after: &str| Example {
        row,
        inputs: format!("a = {}", before.trim_start_matches("y = ")),
        before: before.to_owned(),
        after: after.to_owned(),
    };
    let fails = "the call fails: it panicked";
    let expected = [
        example(1, "y = -1.0", fails),
        example(3, "y = 3.0", "y = 3.0000000000000004"),
        example(4, "y = -2.0", fails),
        example(5, "y = 3.0", "y = 3.0000000000000004"),
    ];
    assert_eq!(found.examples, expected);
    assert!(!found.is_none());
    // The other way round, errors vanish.
    let mut comparison = Comparison::new(&after, &before);
    comparison.add(&batch(&[Some(-1.0)])).unwrap();
    let found = comparison.finish();
    assert_eq!((found.errors_appear, found.errors_vanish), (0, 1));
}

#[test]
fn the_same_function_differs_in_nothing() {
    let (before, after) = (evaluation(&map_float64(X)), evaluation(&map_float64(&but(9.0, X))));
    let mut comparison = Comparison::new(&before, &after);
    comparison.add(&batch(&[Some(9.0), None, Some(f64::NAN), Some(-0.0)])).unwrap();
    let found = comparison.finish();
    assert!(found.is_none(), "{found:?}");
    assert_eq!((found.rows, found.outputs[0].changed), (4, 0));
}

mod whom {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{digest::Digest, evaluate::testing::in_force};

    #[test]
    fn views_services_and_views_of_views_are_reached() {
        let in_force = in_force(
            r#"
            [feature_view.spend]
            entities = ["customer"]
            source = "orders"
            features = { amount = "int64", note = "utf8" }

            [on_demand_feature_view.doubled]
            transform = "t/echo@1.0.0#f"
            inputs = { a = "spend:amount", b = "spend:note" }
            features = { amount = { type = "int64", column = "one" } }

            [on_demand_feature_view.again]
            transform = "t/three@1.0.0#g"
            inputs = { a = "doubled:amount" }
            features = { amount = { type = "int64", column = "one" } }

            [feature_service.direct]
            features = ["doubled"]

            [feature_service.other]
            features = ["spend"]
            "#,
        );
        let name = "t/echo@1.0.0".parse().unwrap();
        let digest = in_force.state.transforms[&name].digest;
        let reached = |digest: Digest, function: &str| {
            reach(&in_force.state, &[digest], &BTreeSet::from([function.to_owned()]))
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = Reach { views: names(&["again", "doubled"]), services: names(&["direct"]) };
        assert_eq!(reached(digest, "f"), expected);
        assert_eq!(reached(digest, "another"), Reach::default());
        assert_eq!(reached(Digest::of("another"), "f"), Reach::default());
    }
}
