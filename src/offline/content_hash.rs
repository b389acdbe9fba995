//! The hash of a table's content: of its values in row order, however they were encoded, batched
//! or laid out in files.
//!
//! ```text
//! content := sha256("unskew content 1", rows: u64, (name, type, column)*)
//! column  := sha256(sha256(nulls), sha256(values), column of the items or fields*)
//! nulls   := the numbers of the rows that are null: u64 each
//! values  := of the rows that are not null: numbers as they are in memory · booleans a byte each
//!          · utf8, binary: length: u64, bytes · lists: length: u64
//! ```
//! Names and types are written as their length (u64) and their bytes; all numbers are
//! little-endian.

use std::sync::Arc;

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, GenericListArray, OffsetSizeTrait, RecordBatch,
    },
    compute::{cast, filter},
    datatypes::{DataType as ArrowType, Field as ArrowField, Schema},
};

use crate::{
    digest::{Digest, Hasher},
    error::{Error, Result},
    value::DataType,
};

/// The hash of a table in the making.
pub struct ContentHasher {
    names: Vec<(String, String)>,
    columns: Vec<Column>,
    rows: u64,
}

impl ContentHasher {
    /// The hash of a table of these columns, without rows so far.
    pub fn new(schema: &Schema) -> Self {
        let name = |field: &Arc<ArrowField>| (field.name().clone(), type_name(field.data_type()));
        Self {
            names: schema.fields().iter().map(name).collect(),
            columns: schema.fields().iter().map(|_| Column::default()).collect(),
            rows: 0,
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when a column is of a type that no Parquet file holds.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let named = self.names.iter().zip(&mut self.columns).zip(batch.columns());
        for (((name, _), column), values) in named {
            let added = column.update(values);
            added
                .map_err(|error| error.context(format!("column \"{name}\" has no content hash")))?;
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// The hash of all rows added.
    pub fn finish(self) -> Digest {
        let mut hasher = Hasher::default();
        write_bytes(&mut hasher, b"unskew content 1");
        hasher.update(self.rows.to_le_bytes());
        for ((name, data_type), column) in self.names.into_iter().zip(self.columns) {
            write_bytes(&mut hasher, name.as_bytes());
            write_bytes(&mut hasher, data_type.as_bytes());
            hasher.update(column.finish().as_bytes());
        }
        hasher.finish()
    }
}

/// The name of a type, apart from how its values are encoded.
fn type_name(arrow: &ArrowType) -> String {
    match arrow {
        ArrowType::Dictionary(_, values) => type_name(values),
        ArrowType::RunEndEncoded(_, values) => type_name(values.data_type()),
        _ => match DataType::of_arrow(arrow).filter(|own| own.to_arrow() == *arrow) {
            Some(own) => own.name().to_owned(),
            None => arrow.to_string(),
        },
    }
}

#[derive(Default)]
struct Column {
    rows: u64,
    nulls: Hasher,
    values: Hasher,
    /// Of a list: its items. Of a struct: its fields.
    children: Vec<Column>,
}

impl Column {
    fn update(&mut self, column: &ArrayRef) -> Result<()> {
        let first = self.rows;
        self.rows += column.len() as u64;
        let Some(nulls) = column.logical_nulls().filter(|nulls| nulls.null_count() > 0) else {
            return self.update_values(column);
        };
        let null = !nulls.inner();
        let places = null.set_indices().map(|place| first + place as u64);
        self.nulls.update(places.flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
        if is_text(column.data_type()) {
            return self.update_values(column);
        }
        let valid = BooleanArray::new(nulls.into_inner(), None);
        self.update_values(&filter(column, &valid).map_err(unhashable)?)
    }

    /// Adds the values of rows none of which is null, but for text and bytes: of these, rows that
    /// are null are passed over.
    fn update_values(&mut self, column: &ArrayRef) -> Result<()> {
        let out = &mut self.values;
        match column.data_type() {
            ArrowType::Null => {}
            ArrowType::Dictionary(_, values) => {
                return self.update_values(&cast(column, values).map_err(unhashable)?);
            }
            ArrowType::RunEndEncoded(_, values) => {
                return self.update_values(&cast(column, values.data_type()).map_err(unhashable)?);
            }
            ArrowType::Boolean => {
                let bytes: Vec<u8> = column.as_boolean().values().iter().map(u8::from).collect();
                out.update(bytes);
            }
            ArrowType::Utf8 => write_all(out, column.as_string::<i32>().iter()),
            ArrowType::LargeUtf8 => write_all(out, column.as_string::<i64>().iter()),
            ArrowType::Utf8View => write_all(out, column.as_string_view().iter()),
            ArrowType::Binary => write_all(out, column.as_binary::<i32>().iter()),
            ArrowType::LargeBinary => write_all(out, column.as_binary::<i64>().iter()),
            ArrowType::BinaryView => write_all(out, column.as_binary_view().iter()),
            ArrowType::FixedSizeBinary(width) => return write_fixed(out, column, *width as usize),
            ArrowType::List(_) => return self.update_lists(column.as_list::<i32>()),
            ArrowType::LargeList(_) => return self.update_lists(column.as_list::<i64>()),
            ArrowType::Struct(_) => return self.update_children(column.as_struct().columns()),
            other => match other.primitive_width() {
                Some(width) => return write_fixed(out, column, width),
                None => return Err(Error::invalid(format!("Arrow type {other} is not supported"))),
            },
        }
        Ok(())
    }

    fn update_lists<O: OffsetSizeTrait>(&mut self, lists: &GenericListArray<O>) -> Result<()> {
        let lengths = lists.offsets().lengths().map(|length| length as u64);
        self.values.update(lengths.flat_map(u64::to_le_bytes).collect::<Vec<u8>>());
        let offsets = lists.value_offsets();
        let (start, end) = (offsets[0].as_usize(), offsets[lists.len()].as_usize());
        self.update_children(&[lists.values().slice(start, end - start)])
    }

    fn update_children(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.children.resize_with(columns.len(), Column::default);
        let mut children = self.children.iter_mut().zip(columns);
        children.try_for_each(|(child, column)| child.update(column))
    }

    fn finish(self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(self.nulls.finish().as_bytes());
        hasher.update(self.values.finish().as_bytes());
        for child in self.children {
            hasher.update(child.finish().as_bytes());
        }
        hasher.finish()
    }
}

/// Whether the values are text or bytes, each of a length of its own.
fn is_text(arrow: &ArrowType) -> bool {
    use ArrowType as A;
    matches!(
        arrow,
        A::Utf8 | A::LargeUtf8 | A::Utf8View | A::Binary | A::LargeBinary | A::BinaryView
    )
}

fn unhashable(error: arrow::error::ArrowError) -> Error {
    Error::invalid(error.to_string())
}

fn write_bytes(out: &mut Hasher, bytes: &[u8]) {
    out.update((bytes.len() as u64).to_le_bytes());
    out.update(bytes);
}

/// How many bytes are gathered before they are hashed: short values one by one take longer.
const GATHERED: usize = 1 << 14;

fn write_all<T: AsRef<[u8]>>(out: &mut Hasher, values: impl Iterator<Item = Option<T>>) {
    let mut gathered = Vec::with_capacity(2 * GATHERED);
    for value in values.flatten() {
        let value = value.as_ref();
        gathered.extend_from_slice(&(value.len() as u64).to_le_bytes());
        gathered.extend_from_slice(value);
        if gathered.len() >= GATHERED {
            out.update(&gathered);
            gathered.clear();
        }
    }
    out.update(gathered);
}

/// Values of `width` bytes each, as they are in memory.
fn write_fixed(out: &mut Hasher, column: &ArrayRef, width: usize) -> Result<()> {
    let data = column.to_data();
    let (start, end) = (data.offset() * width, (data.offset() + data.len()) * width);
    let values = data.buffers().first().and_then(|buffer| buffer.get(start..end));
    out.update(values.ok_or_else(|| Error::internal("an array is shorter than it says"))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{DictionaryArray, Int8Array, StringArray, StructArray},
        datatypes::Int32Type,
    };
    use proptest::prelude::*;

    use super::*;
    use crate::value::tests::any_columns;

    fn hash(batches: &[RecordBatch]) -> Digest {
        let mut hasher = ContentHasher::new(batches[0].schema_ref());
        for batch in batches {
            hasher.update(batch).unwrap();
        }
        hasher.finish()
    }

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap()
    }

    proptest! {
        #[test]
        fn batches_do_not_matter((fields, columns) in any_columns(1..20), cut in 0..20_usize) {
            let names = fields.iter().map(|field| field.name.as_str());
            let whole = batch(names.zip(columns).collect());
            let cut = cut.min(whole.num_rows());
            let parts = [whole.slice(0, cut), whole.slice(cut, whole.num_rows() - cut)];
            prop_assert_eq!(hash(&parts), hash(&[whole]));
        }

        #[test]
        fn every_row_and_its_place_matter((fields, columns) in any_columns(2..20)) {
            let names = fields.iter().map(|field| field.name.as_str());
            for (name, column) in names.zip(columns) {
                let whole = batch(vec![(name, Arc::clone(&column))]);
                let last = whole.num_rows() - 1;
                let turned = [whole.slice(last, 1), whole.slice(0, last)];
                let rotated: Vec<usize> = [last].into_iter().chain(0..last).collect();
                let same = rotated.iter().enumerate().all(|(to, from)| column.slice(to, 1).to_data() == column.slice(*from, 1).to_data());
                prop_assert_eq!(hash(&turned) == hash(std::slice::from_ref(&whole)), same);
                prop_assert_ne!(hash(&[whole.slice(0, last)]), hash(&[whole]));
            }
        }
    }

    /// The description at the head of this file, word for word.
    #[test]
    fn the_hash_is_what_is_written_above() {
        let number = |number: u64| number.to_le_bytes().to_vec();
        let text = |text: &str| [number(text.len() as u64), text.as_bytes().to_vec()].concat();
        let long = "x".repeat(GATHERED);
        let values = [Some("a"), None, Some(long.as_str()), Some(""), None];
        let column = [
            Digest::of([number(1), number(4)].concat()),
            Digest::of([text("a"), text(&long), text("")].concat()),
        ];
        let column = Digest::of(column.map(|digest| digest.as_bytes().to_vec()).concat());
        let table = [text("unskew content 1"), number(5), text("t"), text("utf8")].concat();
        let expected = Digest::of([table, column.as_bytes().to_vec()].concat());
        let column: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        assert_eq!(hash(&[batch(vec![("t", column)])]), expected);
    }

    #[test]
    fn encodings_do_not_matter() {
        let values = [Some("a"), None, Some("b"), Some("a")];
        let plain: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
        let dictionary: DictionaryArray<Int32Type> = values.into_iter().collect();
        assert_eq!(
            hash(&[batch(vec![("x", plain)])]),
            hash(&[batch(vec![("x", Arc::new(dictionary))])])
        );
    }

    #[test]
    fn names_types_and_structure_matter() {
        let column = |values: Vec<Option<i8>>| Arc::new(Int8Array::from(values)) as ArrayRef;
        let one = column(vec![Some(1), None]);
        let wide = cast(&one, &ArrowType::Int16).unwrap();
        let nested = StructArray::try_from(vec![("x", Arc::clone(&one))]).unwrap();
        let hashes = [
            hash(&[batch(vec![("x", Arc::clone(&one))])]),
            hash(&[batch(vec![("y", Arc::clone(&one))])]),
            hash(&[batch(vec![("x", wide)])]),
            hash(&[batch(vec![("x", Arc::new(nested))])]),
            hash(&[batch(vec![("x", column(vec![None, Some(1)]))])]),
            hash(&[batch(vec![("x", column(vec![Some(1), Some(0)]))])]),
        ];
        for (i, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..i].contains(hash), "{i}");
        }
    }
}
