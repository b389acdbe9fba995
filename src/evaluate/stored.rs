//! From the content of a source row to the features of a stored view.

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array},
    buffer::NullBuffer,
    compute::{filter_record_batch, take},
};

use super::{Binding, Evaluated, Evaluation, Library};
use crate::{
    definition::FeatureView,
    error::{Error, Result},
    value::{Field, conform},
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

    /// The features of every row of `content`, whose columns have the names and types of
    /// [`crate::definition::State::content`].
    ///
    /// # Errors
    /// Those of [`Evaluation::run`].
    pub fn run(&self, content: &RecordBatch) -> Result<Evaluated> {
        let mut evaluated = match &self.make {
            Make::Call(evaluation) => evaluation.run(content)?,
            Make::Take(columns) => Evaluated {
                columns: columns.iter().map(|name| column(content, name)).collect::<Result<_>>()?,
                errors: Vec::new(),
            },
        };
        // An output may be declared as a wider type than the function's.
        for (column, field) in evaluated.columns.iter_mut().zip(&self.fields) {
            *column = conform(column, field.data_type)?;
        }
        Ok(evaluated)
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
