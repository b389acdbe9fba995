//! How columns are encoded in the Parquet files that are written.

use std::collections::HashSet;

use arrow::{
    array::{Array, ArrayRef, RecordBatch},
    row::{RowConverter, SortField},
};
use parquet::{
    basic::{Compression, ZstdLevel},
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};

/// From how many values on the first ones say something of the others.
const TELLING: usize = 256;

/// Zstandard, and for columns in which values come again, as far as the first rows tell, a
/// dictionary. For others it takes longer to make than to write them, and makes the file larger.
pub(super) fn properties(first: Option<&RecordBatch>) -> WriterProperties {
    let compression = Compression::ZSTD(ZstdLevel::default());
    let mut properties = WriterProperties::builder().set_compression(compression);
    if let Some(rows) = first {
        for (field, _) in rows
            .schema_ref()
            .fields()
            .iter()
            .zip(rows.columns())
            .filter(|(_, column)| !repeats(column))
        {
            let path = ColumnPath::new(vec![field.name().clone()]);
            properties = properties.set_column_dictionary_enabled(path, false);
        }
    }
    properties.build()
}

/// Whether at least half of the values are equal to one before. Of few or nested ones it is taken
/// for granted.
fn repeats(column: &ArrayRef) -> bool {
    let values = column.len() - column.null_count();
    if values < TELLING || column.data_type().is_nested() {
        return true;
    }
    let fields = vec![SortField::new(column.data_type().clone())];
    let rows = RowConverter::new(fields)
        .and_then(|converter| converter.convert_columns(std::slice::from_ref(column)));
    rows.is_ok_and(|rows| {
        let distinct: HashSet<_> = rows.iter().collect();
        2 * distinct.len() <= values
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    #[test]
    fn columns_whose_values_come_again_have_a_dictionary() {
        let rows = 1000;
        let texts = |modulo: usize| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(
                (0..rows).map(|row| format!("{}", row % modulo)),
            ))
        };
        let check = |column: ArrayRef, expect: bool| {
            let batch = RecordBatch::try_from_iter([("a.b", column)]).unwrap();
            let path = ColumnPath::new(vec!["a.b".to_owned()]);
            assert_eq!(properties(Some(&batch)).dictionary_enabled(&path), expect);
        };
        check(texts(1000), false);
        check(texts(501), false);
        check(texts(500), true);
        check(Arc::new((0..rows as i64).collect::<Int64Array>()), false);
        check(Arc::new((0..TELLING as i64 - 1).collect::<Int64Array>()), true);
        // Among the values that are there.
        let sparse = (0..rows).map(|row| (row % 100 == 0).then_some(row as f64));
        check(Arc::new(sparse.collect::<Float64Array>()), true);
        let sparse = (0..rows).map(|row| (row % 2 == 0).then_some(row as f64));
        check(Arc::new(sparse.collect::<Float64Array>()), false);
        assert!(properties(None).dictionary_enabled(&ColumnPath::from("x")));
    }
}
