//! The names of partitions: `country=DE/day=2024-01-31`.

use std::{collections::HashMap, fmt::Write as _};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType as ArrowType, Schema},
    row::{OwnedRow, RowConverter, SortField},
};

use crate::{
    error::{Error, Result},
    offline::sources::HIVE_NULL,
    value::{DataType, conform},
};

/// The longest name of a folder that file systems take, in bytes.
const LONGEST: usize = 255;

/// The numbers of partitions, by the values of their columns, in the order in which they were met.
pub(super) struct Partitions {
    columns: Vec<String>,
    converter: RowConverter,
    numbers: HashMap<OwnedRow, usize>,
    /// The names, by number.
    pub(super) names: Vec<String>,
}

/// Whether values of a type can be the name of a folder, so that it says all of them.
pub(super) fn can_partition(arrow: &ArrowType) -> bool {
    matches!(
        DataType::of_arrow(arrow),
        Some(
            DataType::Boolean | DataType::Int32 | DataType::Int64 | DataType::Utf8 | DataType::Date
        )
    )
}

impl Partitions {
    /// No partition of rows of this schema, by these of its columns, so far.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when a column is missing.
    pub(super) fn new(schema: &Schema, columns: &[String]) -> Result<Self> {
        let fields = columns.iter().map(|column| {
            let field = schema.field_with_name(column).map_err(unusable)?;
            Ok(SortField::new(field.data_type().clone()))
        });
        let converter = RowConverter::new(fields.collect::<Result<_>>()?).map_err(unusable)?;
        let (numbers, names) = (HashMap::new(), Vec::new());
        Ok(Self { columns: columns.to_vec(), converter, numbers, names })
    }

    /// The number of each row's partition; new partitions get the next numbers.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when a value is too long for the name of a folder.
    pub(super) fn number(&mut self, batch: &RecordBatch) -> Result<Vec<usize>> {
        let column = |name: &String| {
            let column = batch.column_by_name(name).cloned();
            column.ok_or_else(|| Error::internal(format!("column \"{name}\" is gone")))
        };
        let columns = self.columns.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let rows = self.converter.convert_columns(&columns).map_err(unusable)?;
        let mut numbers = Vec::with_capacity(batch.num_rows());
        for (place, row) in rows.iter().enumerate() {
            let owned = row.owned();
            let number = match self.numbers.get(&owned) {
                Some(number) => *number,
                None => {
                    let number = self.names.len();
                    self.names.push(name(&self.columns, &columns, place)?);
                    self.numbers.insert(owned, number);
                    number
                }
            };
            numbers.push(number);
        }
        Ok(numbers)
    }
}

/// The name of the partition that a row is in.
fn name(names: &[String], columns: &[ArrayRef], row: usize) -> Result<String> {
    let parts = names.iter().zip(columns).map(|(name, column)| {
        let part = format!("{}={}", escaped(name), value(&column.slice(row, 1))?);
        match part.len() > LONGEST {
            true => Err(Error::invalid(format!(
                "a value of column \"{name}\" is too long for the name of a folder: {part}"
            ))
            .with_hint("partition by a column with short values")),
            false => Ok(part),
        }
    });
    Ok(parts.collect::<Result<Vec<String>>>()?.join("/"))
}

/// The one value of a column, as it stands in the name of a folder.
fn value(column: &ArrayRef) -> Result<String> {
    if column.logical_null_count() > 0 {
        return Ok(HIVE_NULL.to_owned());
    }
    let data_type = DataType::of_arrow(column.data_type()).unwrap_or(DataType::Utf8);
    let text = cast(&conform(column, data_type)?, &ArrowType::Utf8).map_err(|error| {
        Error::invalid(format!("a value cannot be the name of a folder: {error}"))
            .with_hint("partition by another column")
    })?;
    match text.as_string::<i32>().value(0) {
        HIVE_NULL => Err(Error::invalid(format!("a value is {HIVE_NULL}, which stands for null"))
            .with_hint("partition by another column")),
        text => Ok(escaped(text)),
    }
}

/// A text without the characters that are special in names of folders, as Hive writes them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        let special = character.is_ascii_control() || "\"#%'*/:=?\\{[]^".contains(character);
        match special {
            true => {
                let _ = write!(out, "%{:02X}", u32::from(character));
            }
            false => out.push(character),
        }
    }
    out
}

fn unusable(error: arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot partition: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Date32Array;

    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_day_that_no_calendar_has_is_refused() {
        let day: ArrayRef = Arc::new(Date32Array::from(vec![0, i32::MAX]));
        let names = ["day".to_owned()];
        assert_eq!(name(&names, &[Arc::clone(&day)], 0).unwrap(), "day=1970-01-01");
        let error = name(&names, &[day], 1).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error}");
    }
}
