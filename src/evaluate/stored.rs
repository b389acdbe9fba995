//! From the content of a source row to the features of a stored view.

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array},
    buffer::NullBuffer,
    compute::{filter_record_batch, take},
};

use super::{Binding, Evaluated, Evaluation, Library};
use crate::{
    definition::FeatureView,
    digest::Digest,
    error::{Error, Result},
    value::Field,
    wasm::RowError,
};

/// Makes the features of a stored view from the content of source rows
/// ([`crate::definition::State::content`]): by its function, or by taking columns as they are.
///
/// Training datasets, materialization and pushes go through here, so that a stored value and a
/// training value are made by the same calls.
#[derive(Debug)]
pub struct StoredFeatures {
    fields: Vec<Field>,
    make: Make,
}

#[derive(Debug)]
enum Make {
    /// The column of the content for each feature.
    Take(Vec<String>),
    /// The function whose outputs are the features.
    Call(Box<Evaluation>),
}

impl StoredFeatures {
    /// Prepares the features `wanted` of a view, in this order.
    ///
    /// # Errors
    /// Those of [`Library::get`] and [`Evaluation::new`].
    pub fn new<'a>(
        view: &FeatureView,
        wanted: impl IntoIterator<Item = &'a str>,
        library: &Library,
    ) -> Result<Self> {
        let features: Vec<_> =
            wanted.into_iter().filter_map(|name| view.features.get_key_value(name)).collect();
        let field = |(name, feature): &(&String, &crate::definition::Feature)| Field {
            name: (*name).clone(),
            data_type: feature.data_type,
            nullable: true,
            documentation: feature.description.clone(),
        };
        let fields = features.iter().map(field).collect();
        let make = match &view.transform {
            None => {
                Make::Take(features.iter().map(|(_, feature)| feature.column.clone()).collect())
            }
            Some(used) => {
                let output = |(name, feature): &(&String, &crate::definition::Feature)| {
                    (feature.column.clone(), (*name).clone())
                };
                let binding = Binding {
                    function: used.function.function.clone(),
                    params: used.params.clone(),
                    inputs: used.inputs.clone(),
                    outputs: features.iter().map(output).collect(),
                    on_error: used.on_error,
                    limits: used.limits,
                };
                let transform = library.get(&used.function.transform)?;
                Make::Call(Box::new(Evaluation::new(transform, &binding)?))
            }
        };
        Ok(Self { fields, make })
    }

    /// The features, in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The transform that makes them, where one does.
    pub fn transform(&self) -> Option<Digest> {
        match &self.make {
            Make::Call(evaluation) => Some(evaluation.digest()),
            Make::Take(_) => None,
        }
    }

    /// The features of every row of `content`, whose columns have the names and types of
    /// [`crate::definition::State::content`].
    ///
    /// # Errors
    /// Those of [`Evaluation::run`].
    pub fn run(&self, content: &RecordBatch) -> Result<Evaluated> {
        match &self.make {
            Make::Call(evaluation) => evaluation.run(content),
            Make::Take(columns) => Ok(Evaluated {
                columns: columns.iter().map(|name| column(content, name)).collect::<Result<_>>()?,
                errors: Vec::new(),
            }),
        }
    }

    /// As [`StoredFeatures::run`], for rows some of which matched no source row: their features
    /// are null whatever the function makes of nulls, since nothing was stored for them either.
    ///
    /// # Errors
    /// Those of [`StoredFeatures::run`].
    pub fn run_matched(&self, content: &RecordBatch, matched: &NullBuffer) -> Result<Evaluated> {
        if matched.null_count() == 0 {
            return self.run(content);
        }
        let keep = BooleanArray::new(matched.inner().clone(), None);
        let rows: Vec<u32> = matched.valid_indices().map(|row| row as u32).collect();
        let kept = filter_record_batch(content, &keep).map_err(internal)?;
        let evaluated = self.run(&kept)?;
        let places = scatter(&rows, content.num_rows());
        let spread = |column: &ArrayRef| take(column, &places, None).map_err(internal);
        let moved =
            |error: RowError| RowError { row: rows[error.row as usize], message: error.message };
        Ok(Evaluated {
            columns: evaluated.columns.iter().map(spread).collect::<Result<_>>()?,
            errors: evaluated.errors.into_iter().map(moved).collect(),
        })
    }
}

/// For each of `length` rows, its place among `rows`, or null.
fn scatter(rows: &[u32], length: usize) -> UInt32Array {
    let mut places = vec![None; length];
    for (place, row) in rows.iter().enumerate() {
        places[*row as usize] = Some(place as u32);
    }
    UInt32Array::from(places)
}

fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    batch.column_by_name(name).cloned().ok_or_else(|| {
        Error::internal(format!("the content of a source row lacks column \"{name}\""))
    })
}

fn internal(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot pick rows: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{Array, AsArray, Int64Array},
        datatypes::Int64Type,
    };
    use serde_json::json;

    use super::*;
    use crate::{
        error::Kind,
        evaluate::testing::in_force,
        value::{DataType, column_from_json},
    };

    const VIEWS: &str = r#"
[feature_view.taken]
entities = ["customer"]
source = "orders"
features = { amount = "int64", again = { type = "int64", column = "amount" }, note = "utf8" }

[feature_view.three]
entities = ["customer"]
source = "orders"
transform = "t/three@1.0.0#g"
inputs = { a = "amount" }
features = { value = { type = "int64", column = "one" } }

[feature_view.three_or_none]
entities = ["customer"]
source = "orders"
transform = "t/three@1.0.0#g"
inputs = { a = "amount" }
on_error = "fail"
features = { value = { type = "int64", column = "one" } }
"#;

    fn features(view: &str, wanted: &[&str]) -> StoredFeatures {
        let in_force = in_force(VIEWS);
        let view = &in_force.state.definitions.feature_views[view];
        StoredFeatures::new(view, wanted.iter().copied(), &in_force.library).unwrap()
    }

    fn amounts(values: Vec<Option<i64>>) -> RecordBatch {
        let notes: ArrayRef = Arc::new(arrow::array::StringArray::from_iter(
            values.iter().map(|value| value.map(|value| "n".repeat(value as usize))),
        ));
        let amounts: ArrayRef = Arc::new(Int64Array::from(values));
        RecordBatch::try_from_iter([("amount", amounts), ("note", notes)]).unwrap()
    }

    fn ints(column: &ArrayRef) -> Vec<Option<i64>> {
        column.as_primitive::<Int64Type>().iter().collect()
    }

    #[test]
    fn features_are_those_wanted_in_that_order() {
        let features = features("taken", &["note", "again"]);
        let names: Vec<&str> = features.fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["note", "again"]);
        let content = amounts(vec![Some(1), None]);
        let evaluated = features.run(&content).unwrap();
        let expected = [content.column(1), content.column(0)].map(Arc::clone);
        assert_eq!(evaluated.columns, expected);
    }

    #[test]
    fn unmatched_rows_are_null_whatever_the_function_makes_of_nulls() {
        // The function takes exactly three rows, the second of which is an error: it can only have
        // been given those that matched, and gives a value for the null among them.
        let check = |matched: &[bool], expected: &[Option<i64>], error_row: u32| {
            let content = amounts(vec![None; matched.len()]);
            let evaluated = features("three", &["value"])
                .run_matched(&content, &NullBuffer::from(matched))
                .unwrap();
            assert_eq!(ints(&evaluated.columns[0]), expected);
            let error = RowError { row: error_row, message: "no eight".to_owned() };
            assert_eq!(evaluated.errors, [error]);
        };
        check(&[true, true, true], &[Some(7), None, Some(9)], 1);
        check(&[false, true, true, true], &[None, Some(7), None, Some(9)], 2);
        check(
            &[true, false, false, true, false, true],
            &[Some(7), None, None, None, None, Some(9)],
            3,
        );
    }

    #[test]
    fn a_mask_that_is_a_slice_is_read_from_its_start() {
        let matched = NullBuffer::from(&[false, false, true, false, true, true][..]).slice(1, 5);
        let evaluated =
            features("three", &["value"]).run_matched(&amounts(vec![Some(1); 5]), &matched);
        let expected = [None, Some(7), None, None, Some(9)];
        assert_eq!(ints(&evaluated.unwrap().columns[0]), expected);
    }

    #[test]
    fn matched_rows_are_as_in_a_run_of_all() {
        let amount = |row: usize| (!row.is_multiple_of(3)).then_some(row as i64);
        for rows in [0, 1, 7, 100] {
            let content = amounts((0..rows).map(amount).collect());
            let features = features("taken", &["amount", "note"]);
            let all = features.run(&content).unwrap();
            for step in 1..4 {
                let matched: NullBuffer = (0..rows).map(|row| row % step == 0).collect();
                let found = features.run_matched(&content, &matched).unwrap();
                for (found, all) in found.columns.iter().zip(&all.columns) {
                    let unmatched = BooleanArray::new(!matched.inner(), None);
                    let expected = arrow::compute::nullif(all, &unmatched).unwrap();
                    assert_eq!(found, &expected, "{rows} rows, each {step}th matched");
                }
            }
        }
    }

    #[test]
    fn where_nothing_matched_every_type_is_null() {
        for data_type in DataType::ALL {
            let values = column_from_json(&[json!(null), json!(null)], data_type).unwrap();
            let features = StoredFeatures {
                fields: vec![crate::wasm::testing::field("x", data_type, true)],
                make: Make::Take(vec!["x".to_owned()]),
            };
            let content = RecordBatch::try_from_iter_with_nullable([("x", values, true)]).unwrap();
            let evaluated = features.run_matched(&content, &NullBuffer::new_null(2)).unwrap();
            let column = &evaluated.columns[0];
            assert_eq!((column.len(), column.null_count()), (2, 2), "{data_type}");
            assert_eq!(column.data_type(), &data_type.to_arrow());
        }
    }

    #[test]
    fn a_row_that_fails_fails_all_where_the_view_says_so() {
        let content = amounts(vec![Some(1); 3]);
        let error = features("three_or_none", &["value"]).run(&content).unwrap_err();
        assert_eq!(error.kind(), Kind::Transform);
    }

    #[test]
    fn content_without_a_column_is_a_defect() {
        let content = amounts(vec![]).project(&[0]).unwrap();
        let error = features("taken", &["note"]).run(&content).unwrap_err();
        assert_eq!(error.to_string(), "the content of a source row lacks column \"note\"");
    }
}
