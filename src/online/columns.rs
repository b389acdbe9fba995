//! Which columns a stored row has.

use std::collections::BTreeSet;

use arrow::array::ArrayRef;
use serde_json::json;

use crate::{
    digest::Digest,
    error::Result,
    value::{DataType, Field},
};

/// The columns that the features of a view are stored as.
///
/// A row is stored by the columns that its features are read from (columns of the source, outputs
/// of the view's function), not by the features' names: it is then exactly what the fingerprint of
/// the view's rows speaks of. A feature that is bound to another column is another value, and is
/// found under the other column or not at all.
#[derive(Debug, Clone)]
pub struct StoredColumns {
    fields: Vec<Field>,
    /// For each feature, the place of its column.
    places: Vec<usize>,
}

impl StoredColumns {
    /// The columns of features that are read from these columns as these types, in their order.
    pub fn new<'a>(features: impl IntoIterator<Item = (&'a str, DataType)>) -> Self {
        let mut columns = Self { fields: Vec::new(), places: Vec::new() };
        for (name, data_type) in features {
            let known = columns
                .fields
                .iter()
                .position(|field| field.name == name && field.data_type == data_type);
            columns.places.push(known.unwrap_or(columns.fields.len()));
            if known.is_none() {
                columns.fields.push(Field {
                    name: name.to_owned(),
                    data_type,
                    nullable: true,
                    documentation: String::new(),
                });
            }
        }
        columns
    }

    /// The columns; each once, though several features may be read from one.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The digest of all that decides what is stored for a source row: the fingerprint of the
    /// view's rows, and which columns of them are kept.
    ///
    /// # Errors
    /// Those of [`Digest::of_canonical_json`].
    pub fn definition(&self, rows: &Digest) -> Result<Digest> {
        let columns = self.fields.iter().map(|field| (&field.name, field.data_type));
        let columns: BTreeSet<_> = columns.collect();
        Digest::of_canonical_json(&json!({ "rows": rows, "columns": columns }))
    }

    /// The columns, out of one array for each feature.
    pub fn pick(&self, features: &[ArrayRef]) -> Vec<ArrayRef> {
        let first = |column| self.places.iter().position(|place| *place == column);
        (0..self.fields.len()).filter_map(|column| features.get(first(column)?).cloned()).collect()
    }

    /// For each feature, the place of its column.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// One array for each feature, out of the columns.
    pub fn spread<'a>(&'a self, columns: &'a [ArrayRef]) -> impl Iterator<Item = ArrayRef> + 'a {
        self.places.iter().filter_map(|place| columns.get(*place).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    #[test]
    fn features_of_one_column_share_it() {
        let columns = StoredColumns::new([
            ("b", DataType::Int64),
            ("a", DataType::Int64),
            ("b", DataType::Int64),
        ]);
        let names: Vec<_> = columns.fields().iter().map(|field| field.name.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        let array = |value| Arc::new(Int64Array::from(vec![value])) as ArrayRef;
        let features = [array(1), array(2), array(1)];
        assert_eq!(columns.pick(&features), [array(1), array(2)]);
        assert_eq!(columns.spread(&[array(1), array(2)]).collect::<Vec<_>>(), features);
    }
}
