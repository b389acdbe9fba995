//! What a function gives, row by row, also where a row ends the whole call.

use arrow::array::{Array, RecordBatch};

use crate::{
    error::{Kind, Result},
    evaluate::{Evaluated, Evaluation},
    value::{Cell, DataType, Row, conform},
};

/// What a function gives for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// A value for each output.
    Values(Row),
    /// Nothing, and why: a row error, or a call that fails because of the row.
    Nothing(String),
}

/// What it gives for each row. Where a call fails, its halves are tried, down to the row that it
/// fails for.
pub(super) fn run(evaluation: &Evaluation, batch: &RecordBatch) -> Result<Vec<Given>> {
    match evaluation.run(batch) {
        Ok(evaluated) => Ok(rows(evaluation, &evaluated, batch.num_rows())),
        Err(error) if error.kind() != Kind::Transform => Err(error),
        Err(error) if batch.num_rows() <= 1 => {
            let reason = error.message().split_once(" failed: ");
            let reason = reason.map_or(error.message(), |(_, reason)| reason);
            Ok(vec![Given::Nothing(format!("the call fails: {reason}")); batch.num_rows()])
        }
        Err(_) => {
            let middle = batch.num_rows() / 2;
            let mut given = run(evaluation, &batch.slice(0, middle))?;
            given.extend(run(evaluation, &batch.slice(middle, batch.num_rows() - middle))?);
            Ok(given)
        }
    }
}

fn rows(evaluation: &Evaluation, evaluated: &Evaluated, count: usize) -> Vec<Given> {
    let mut errors = evaluated.errors.iter().peekable();
    let given = |row: usize| match errors.next_if(|error| error.row as usize == row) {
        Some(error) => Given::Nothing(format!("row error {:?}", error.message)),
        None => {
            let columns = evaluated.columns.iter().zip(evaluation.fields());
            let cells = columns.map(|(column, field)| Cell::of(column, row, field.data_type));
            Given::Values(cells.collect())
        }
    };
    (0..count).map(given).collect()
}

/// The inputs of a row: `column = value`.
pub(super) fn inputs(evaluation: &Evaluation, batch: &RecordBatch, row: usize) -> Result<String> {
    let mut shown = Vec::new();
    for (name, data_type) in evaluation.inputs() {
        if let Some(column) = batch.column_by_name(name) {
            let cell = cell(column, data_type, row)?;
            shown.push(format!("{name} = {cell}"));
        }
    }
    Ok(shown.join(", "))
}

fn cell(column: &std::sync::Arc<dyn Array>, data_type: DataType, row: usize) -> Result<Cell> {
    Ok(Cell::of(&conform(&column.slice(row, 1), data_type)?, 0, data_type))
}
