//! What stands against each thing a guest could do, with the words the user gets.

use std::{sync::Arc, time::Instant};

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use proptest::prelude::*;

use super::{
    bindings::v1,
    testing::{Guest, component, field, function},
    *,
};
use crate::{error::Kind, time::Span, value::DataType};

/// Limits under which hostile guests are done with soon.
fn tight() -> Limits {
    Limits {
        deadline: Span(100_000),
        memory_bytes: 4 << 20,
        rows: 1_000,
        input_bytes: 1 << 20,
        output_bytes: 1 << 20,
        ..Limits::default()
    }
}

fn load(bytes: &[u8]) -> Result<Arc<Transform>> {
    Runtime::new(tight(), None)?.load(bytes)
}

#[test]
fn every_type_crosses_and_comes_back() {
    let fields = DataType::ALL.map(|data_type| field(&name(data_type), data_type, true));
    let echo = load(&Guest::echo(&[function("echo", &fields, &fields)]).component()).unwrap();
    proptest!(ProptestConfig::with_cases(64), |(
        (_, columns) in crate::value::tests::any_columns(0..40), from in 0_usize..9,
    )| {
        let from = from.min(columns[0].len());
        let rows = columns[0].len() - from;
        let sliced: Vec<_> = columns.iter().map(|column| column.slice(from, rows)).collect();
        let outcome = echo.call(0, &[], &sliced, rows).unwrap();
        prop_assert_eq!(outcome.columns, sliced);
        prop_assert_eq!(outcome.errors, []);
    });
}

fn name(data_type: DataType) -> String {
    data_type.name().replace(['<', '>'], "")
}
