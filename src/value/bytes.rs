//! A row as bytes: what the online store keeps, and what breaks ties between rows.
//!
//! ```text
//! row   := entry*
//! entry := tag: u32 le, length + 1: LEB128 (0 = null), bytes
//! bytes := boolean: 1 byte · numbers, dates, timestamps: little-endian · utf8, binary: as they are
//!        · lists of numbers: items little-endian · list<utf8>: (length: u32 le, bytes)*
//! ```
//! The tag is the first four bytes of the SHA-256 of the column's name, a NUL and its type, so
//! that a reader finds its columns although others were added, dropped or reordered, and takes
//! nothing for a value that was written under another type.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, ArrowPrimitiveType, AsArray, BinaryBuilder, BooleanArray, BooleanBuilder,
        ListArray, ListBuilder, PrimitiveArray, PrimitiveBuilder, StringBuilder,
    },
    datatypes::{
        Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    },
};

use super::{DataType, Field};
use crate::{
    digest::Digest,
    error::{Error, Result},
};

fn tag(field: &Field) -> [u8; 4] {
    let digest = Digest::of(format!("{}\0{}", field.name, field.data_type));
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

fn tags(fields: &[Field]) -> Result<Vec<[u8; 4]>> {
    let tags: Vec<_> = fields.iter().map(tag).collect();
    let twin =
        (1..tags.len()).find_map(|i| Some((tags[..i].iter().position(|t| *t == tags[i])?, i)));
    match twin {
        Some((a, b)) => Err(Error::invalid(format!(
            "the columns \"{}\" and \"{}\" cannot be told apart in a row: their tags are equal",
            fields[a].name, fields[b].name
        ))
        .with_hint("rename one of them")),
        None => Ok(tags),
    }
}

/// Writes rows of some columns.
pub struct RowEncoder<'a> {
    columns: Vec<([u8; 4], Source<'a>)>,
}

enum Source<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a PrimitiveArray<Int32Type>),
    Int64(&'a PrimitiveArray<Int64Type>),
    Float32(&'a PrimitiveArray<Float32Type>),
    Float64(&'a PrimitiveArray<Float64Type>),
    Utf8(&'a arrow::array::StringArray),
    Binary(&'a arrow::array::BinaryArray),
    Date(&'a PrimitiveArray<Date32Type>),
    Timestamp(&'a PrimitiveArray<TimestampMicrosecondType>),
    List(&'a ListArray),
}

impl<'a> RowEncoder<'a> {
    /// An encoder for columns of these names and types, in any order: it writes them in the order
    /// of their names, so that the bytes of a row depend on its content alone.
    ///
    /// # Errors
    /// Those of [`RowSchema::new`] and [`RowSchema::encoder`].
    pub fn new(fields: &[Field], columns: &'a [ArrayRef]) -> Result<Self> {
        RowSchema::new(fields)?.encoder(columns)
    }

    /// Appends the bytes of a row.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        for (tag, column) in &self.columns {
            out.extend_from_slice(tag);
            column.write(row, out);
        }
    }

    /// The first eight bytes of the SHA-256 of a row's bytes: a fixed total order over content.
    /// `scratch` is a buffer to reuse.
    pub fn hash(&self, row: usize, scratch: &mut Vec<u8>) -> u64 {
        scratch.clear();
        self.encode(row, scratch);
        let digest = Digest::of(&scratch);
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// [`RowEncoder::hash`] of one row, for callers with a single one.
///
/// # Errors
/// Those of [`RowEncoder::new`].
pub fn content_hash(fields: &[Field], columns: &[ArrayRef], row: usize) -> Result<u64> {
    Ok(RowEncoder::new(fields, columns)?.hash(row, &mut Vec::new()))
}

impl<'a> Source<'a> {
    fn new(column: &'a ArrayRef, data_type: DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int32 => Self::Int32(column.as_primitive()),
            DataType::Int64 => Self::Int64(column.as_primitive()),
            DataType::Float32 => Self::Float32(column.as_primitive()),
            DataType::Float64 => Self::Float64(column.as_primitive()),
            DataType::Utf8 => Self::Utf8(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::Date => Self::Date(column.as_primitive()),
            DataType::Timestamp => Self::Timestamp(column.as_primitive()),
            DataType::ListInt64
            | DataType::ListFloat32
            | DataType::ListFloat64
            | DataType::ListUtf8 => Self::List(column.as_list()),
        }
    }

    fn array(&self) -> &dyn Array {
        match self {
            Self::Boolean(column) => *column,
            Self::Int32(column) => *column,
            Self::Int64(column) => *column,
            Self::Float32(column) => *column,
            Self::Float64(column) => *column,
            Self::Utf8(column) => *column,
            Self::Binary(column) => *column,
            Self::Date(column) => *column,
            Self::Timestamp(column) => *column,
            Self::List(column) => *column,
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.array().is_null(row) {
            out.push(0);
            return;
        }
        match self {
            Self::Boolean(column) => write_sized(out, &[u8::from(column.value(row))]),
            Self::Int32(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Int64(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Float32(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Float64(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Utf8(column) => write_sized(out, column.value(row).as_bytes()),
            Self::Binary(column) => write_sized(out, column.value(row)),
            Self::Date(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::Timestamp(column) => write_sized(out, &column.value(row).to_le_bytes()),
            Self::List(column) => write_list(out, &column.value(row)),
        }
    }
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length as u64 + 1;
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn write_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn write_list(out: &mut Vec<u8>, items: &ArrayRef) {
    if let Some(items) = items.as_primitive_opt::<Int64Type>() {
        write_numbers(out, items, |x| x.to_le_bytes());
    } else if let Some(items) = items.as_primitive_opt::<Float32Type>() {
        write_numbers(out, items, |x| x.to_le_bytes());
    } else if let Some(items) = items.as_primitive_opt::<Float64Type>() {
        write_numbers(out, items, |x| x.to_le_bytes());
    } else {
        let items = items.as_string::<i32>();
        let total: usize = (0..items.len()).map(|i| 4 + items.value(i).len()).sum();
        write_length(out, total);
        for i in 0..items.len() {
            let item = items.value(i).as_bytes();
            out.extend_from_slice(&(item.len() as u32).to_le_bytes());
            out.extend_from_slice(item);
        }
    }
}

fn write_numbers<T: ArrowPrimitiveType, const N: usize>(
    out: &mut Vec<u8>,
    items: &PrimitiveArray<T>,
    to_bytes: impl Fn(T::Native) -> [u8; N],
) {
    write_length(out, items.len() * N);
    for item in items.values() {
        out.extend_from_slice(&to_bytes(*item));
    }
}

/// Which columns rows have: made once, for many decoders and encoders.
#[derive(Debug, Clone)]
pub struct RowSchema {
    /// The columns in the order of their names, which is that of a row's entries.
    columns: Vec<Wanted>,
}

#[derive(Debug, Clone)]
struct Wanted {
    tag: [u8; 4],
    name: String,
    data_type: DataType,
    /// Its place among the columns that are given.
    place: usize,
}

impl RowSchema {
    /// Columns of these names and types, in this order.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when two columns share a tag (two equal names, or one pair
    /// in four thousand million).
    pub fn new(fields: &[Field]) -> Result<Self> {
        let wanted = |(place, (field, tag)): (usize, (&Field, [u8; 4]))| Wanted {
            tag,
            name: field.name.clone(),
            data_type: field.data_type,
            place,
        };
        let columns = fields.iter().zip(tags(fields)?).enumerate().map(wanted);
        let mut columns: Vec<_> = columns.collect();
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { columns })
    }

    /// An encoder for rows of these columns, which are in the order in which they were named.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when a column is missing or not of its type.
    pub fn encoder<'a>(&self, columns: &'a [ArrayRef]) -> Result<RowEncoder<'a>> {
        let source = |Wanted { tag, name, data_type, place }: &Wanted| {
            let column = columns.get(*place);
            match column.filter(|column| *column.data_type() == data_type.to_arrow()) {
                Some(column) => Ok((*tag, Source::new(column, *data_type))),
                None => Err(Error::internal(format!(
                    "column \"{name}\" is {} and should be {data_type}",
                    column.map_or("missing".to_owned(), |column| column.data_type().to_string()),
                ))),
            }
        };
        Ok(RowEncoder { columns: self.columns.iter().map(source).collect::<Result<_>>()? })
    }

    /// No rows yet of so many, to be found where they lie.
    pub fn places(&self, rows: usize) -> RowPlaces {
        let mut columns: Vec<_> =
            self.columns.iter().map(|wanted| (wanted.place, wanted.data_type)).collect();
        columns.sort_unstable_by_key(|(place, _)| *place);
        let places = Vec::with_capacity(rows * columns.len());
        RowPlaces { columns: columns.into_iter().map(|(_, kind)| (kind, 0)).collect(), places }
    }

    /// A decoder that expects about `rows` rows.
    pub fn decoder(&self, rows: usize) -> RowDecoder<'_> {
        let builder = |wanted: &Wanted| Builder::new(wanted.data_type, rows);
        RowDecoder { columns: &self.columns, builders: self.columns.iter().map(builder).collect() }
    }
}

/// Values of rows where they lie: found and checked, and not decoded. What is only written into an
/// answer never becomes an array.
#[derive(Debug)]
pub struct RowPlaces {
    /// The type of each column, and how many rows have no value in it although they are there.
    columns: Vec<(DataType, usize)>,
    /// Where each value is among the bytes that hold the rows, row by row.
    places: Vec<Option<Range<usize>>>,
}

impl RowPlaces {
    /// Adds a row that is null in every column, and is not there.
    pub fn push_null(&mut self) {
        self.places.resize(self.places.len() + self.columns.len(), None);
    }

    /// Adds the row that lies at `start`; see [`RowDecoder::push`].
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when the bytes are no row. The places are of no use then.
    pub fn push(&mut self, schema: &RowSchema, start: usize, row: &[u8]) -> Result<()> {
        let first = self.places.len();
        self.push_null();
        let (places, columns) = (&mut self.places[first..], &mut self.columns);
        locate(&schema.columns, row, |wanted, found| {
            match &found {
                Some(place) if !is_sound(wanted.data_type, &row[place.clone()]) => {
                    return Err(bad_bytes(wanted));
                }
                Some(_) => {}
                None => columns[wanted.place].1 += 1,
            }
            places[wanted.place] = found.map(|place| start + place.start..start + place.end);
            Ok(())
        })
    }

    /// Whether a row that is there has no value in this column.
    pub fn has_nulls(&self, column: usize) -> bool {
        self.columns[column].1 > 0
    }

    /// The values of a column, row by row, as their places in the bytes.
    pub fn column(&self, column: usize) -> impl ExactSizeIterator<Item = Option<Range<usize>>> {
        self.places.iter().skip(column).step_by(self.columns.len().max(1)).cloned()
    }

    /// The type of a column.
    pub fn data_type(&self, column: usize) -> DataType {
        self.columns[column].0
    }
}

/// Whether bytes are a value of a type: whether [`Builder::push`] takes them.
fn is_sound(data_type: DataType, bytes: &[u8]) -> bool {
    match data_type {
        DataType::Boolean => matches!(bytes, [0 | 1]),
        DataType::Int32 | DataType::Float32 | DataType::Date => bytes.len() == 4,
        DataType::Int64 | DataType::Float64 | DataType::Timestamp => bytes.len() == 8,
        DataType::Utf8 => std::str::from_utf8(bytes).is_ok(),
        DataType::Binary => true,
        DataType::ListFloat32 => bytes.len().is_multiple_of(4),
        DataType::ListInt64 | DataType::ListFloat64 => bytes.len().is_multiple_of(8),
        DataType::ListUtf8 => texts(bytes, |_| ()).is_some(),
    }
}

/// Does something with each item of a list of texts; `None` where the bytes are none.
pub(super) fn texts<'a>(bytes: &'a [u8], mut item: impl FnMut(&'a str)) -> Option<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (length, tail) = rest.split_first_chunk::<4>()?;
        let (text, behind) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        item(std::str::from_utf8(text).ok()?);
        rest = behind;
    }
    Some(())
}

/// Reads rows into columns.
pub struct RowDecoder<'a> {
    columns: &'a [Wanted],
    builders: Vec<Builder>,
}

enum Builder {
    Boolean(BooleanBuilder),
    Int32(PrimitiveBuilder<Int32Type>),
    Int64(PrimitiveBuilder<Int64Type>),
    Float32(PrimitiveBuilder<Float32Type>),
    Float64(PrimitiveBuilder<Float64Type>),
    Utf8(StringBuilder),
    Binary(BinaryBuilder),
    Date(PrimitiveBuilder<Date32Type>),
    Timestamp(PrimitiveBuilder<TimestampMicrosecondType>),
    ListInt64(ListBuilder<PrimitiveBuilder<Int64Type>>),
    ListFloat32(ListBuilder<PrimitiveBuilder<Float32Type>>),
    ListFloat64(ListBuilder<PrimitiveBuilder<Float64Type>>),
    ListUtf8(ListBuilder<StringBuilder>),
}

impl RowDecoder<'_> {
    /// Adds a row that is null in every column.
    pub fn push_null(&mut self) {
        for builder in &mut self.builders {
            builder.push_null();
        }
    }

    /// Adds a row. A column that the bytes do not have is null in it; one that nobody asked for is
    /// passed over.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when the bytes are no row. The decoder is of no use then.
    pub fn push(&mut self, row: &[u8]) -> Result<()> {
        let mut builders = self.builders.iter_mut();
        locate(self.columns, row, |wanted, found| {
            let Some(builder) = builders.next() else { return Ok(()) };
            match found.map(|place| &row[place]) {
                Some(bytes) => builder.push(bytes).ok_or_else(|| bad_bytes(wanted)),
                None => {
                    builder.push_null();
                    Ok(())
                }
            }
        })
    }

    /// The columns.
    pub fn finish(self) -> Vec<ArrayRef> {
        let mut columns: Vec<(usize, ArrayRef)> = self
            .columns
            .iter()
            .zip(self.builders)
            .map(|(wanted, builder)| (wanted.place, builder.finish()))
            .collect();
        columns.sort_unstable_by_key(|(place, _)| *place);
        columns.into_iter().map(|(_, column)| column).collect()
    }
}

fn bad_bytes(wanted: &Wanted) -> Error {
    corrupt(&format!("bad bytes for column \"{}\"", wanted.name))
}

/// Says of each column, in their order, where in the row its value is: nowhere, where it is null or
/// missing.
fn locate(
    columns: &[Wanted],
    row: &[u8],
    mut tell: impl FnMut(&Wanted, Option<Range<usize>>) -> Result<()>,
) -> Result<()> {
    // Entries and columns are both in the order of names: each is looked for where the one before
    // was found, and only one that is missing makes for another look from the start.
    let mut rest = row;
    for wanted in columns {
        let found = match find(rest, wanted.tag)? {
            None => find(row, wanted.tag)?,
            found => found,
        };
        let value = found.and_then(|(value, behind)| {
            rest = behind;
            let end = row.len() - behind.len();
            value.map(|value| end - value.len()..end)
        });
        tell(wanted, value)?;
    }
    Ok(())
}

fn corrupt(what: &str) -> Error {
    Error::corrupt(format!("a stored row cannot be read: {what}"))
}

/// What the entry with this tag holds, null or bytes, and what stands behind it; `None` where there
/// is no such entry.
type Found<'a> = Option<(Option<&'a [u8]>, &'a [u8])>;

fn find(mut row: &[u8], tag: [u8; 4]) -> Result<Found<'_>> {
    while !row.is_empty() {
        let (found, rest) =
            row.split_first_chunk::<4>().ok_or_else(|| corrupt("it ends in a tag"))?;
        let (length, rest) = read_length(rest).ok_or_else(|| corrupt("it ends in a length"))?;
        let (bytes, behind) = match length {
            Some(length) => {
                let split = rest.split_at_checked(length);
                let (bytes, behind) = split.ok_or_else(|| corrupt("it ends in a value"))?;
                (Some(bytes), behind)
            }
            None => (None, rest),
        };
        if *found == tag {
            return Ok(Some((bytes, behind)));
        }
        row = behind;
    }
    Ok(None)
}

fn read_length(bytes: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            let length = match value.checked_sub(1) {
                Some(length) => Some(usize::try_from(length).ok()?),
                None => None,
            };
            return Some((length, &bytes[i + 1..]));
        }
    }
    None
}

macro_rules! number {
    ($builder:expr, $bytes:expr, $native:ty) => {
        $builder.append_value(<$native>::from_le_bytes($bytes.try_into().ok()?))
    };
}

macro_rules! numbers {
    ($builder:expr, $bytes:expr, $native:ty) => {{
        let (items, rest) = $bytes.as_chunks::<{ size_of::<$native>() }>();
        if !rest.is_empty() {
            return None;
        }
        for item in items {
            $builder.values().append_value(<$native>::from_le_bytes(*item));
        }
        $builder.append(true);
    }};
}

macro_rules! each {
    ($self:expr, $builder:ident => $do:expr) => {
        match $self {
            Builder::Boolean($builder) => $do,
            Builder::Int32($builder) => $do,
            Builder::Int64($builder) => $do,
            Builder::Float32($builder) => $do,
            Builder::Float64($builder) => $do,
            Builder::Utf8($builder) => $do,
            Builder::Binary($builder) => $do,
            Builder::Date($builder) => $do,
            Builder::Timestamp($builder) => $do,
            Builder::ListInt64($builder) => $do,
            Builder::ListFloat32($builder) => $do,
            Builder::ListFloat64($builder) => $do,
            Builder::ListUtf8($builder) => $do,
        }
    };
}

impl Builder {
    fn new(data_type: DataType, rows: usize) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean(BooleanBuilder::with_capacity(rows)),
            DataType::Int32 => Self::Int32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Int64 => Self::Int64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float32 => Self::Float32(PrimitiveBuilder::with_capacity(rows)),
            DataType::Float64 => Self::Float64(PrimitiveBuilder::with_capacity(rows)),
            DataType::Utf8 => Self::Utf8(StringBuilder::with_capacity(rows, rows * 8)),
            DataType::Binary => Self::Binary(BinaryBuilder::with_capacity(rows, rows * 8)),
            DataType::Date => Self::Date(PrimitiveBuilder::with_capacity(rows)),
            DataType::Timestamp => Self::Timestamp(
                PrimitiveBuilder::with_capacity(rows).with_data_type(data_type.to_arrow()),
            ),
            DataType::ListInt64 => Self::ListInt64(ListBuilder::default()),
            DataType::ListFloat32 => Self::ListFloat32(ListBuilder::default()),
            DataType::ListFloat64 => Self::ListFloat64(ListBuilder::default()),
            DataType::ListUtf8 => Self::ListUtf8(ListBuilder::default()),
        }
    }

    fn push_null(&mut self) {
        each!(self, builder => builder.append_null());
    }

    /// `None` where the bytes are no value of the type.
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        match self {
            Self::Boolean(builder) => match bytes {
                [0] => builder.append_value(false),
                [1] => builder.append_value(true),
                _ => return None,
            },
            Self::Int32(builder) => number!(builder, bytes, i32),
            Self::Int64(builder) => number!(builder, bytes, i64),
            Self::Float32(builder) => number!(builder, bytes, f32),
            Self::Float64(builder) => number!(builder, bytes, f64),
            Self::Date(builder) => number!(builder, bytes, i32),
            Self::Timestamp(builder) => number!(builder, bytes, i64),
            Self::Utf8(builder) => builder.append_value(std::str::from_utf8(bytes).ok()?),
            Self::Binary(builder) => builder.append_value(bytes),
            Self::ListInt64(builder) => numbers!(builder, bytes, i64),
            Self::ListFloat32(builder) => numbers!(builder, bytes, f32),
            Self::ListFloat64(builder) => numbers!(builder, bytes, f64),
            Self::ListUtf8(builder) => {
                texts(bytes, |text| builder.values().append_value(text))?;
                builder.append(true);
            }
        }
        Some(())
    }

    fn finish(mut self) -> ArrayRef {
        each!(&mut self, builder => Arc::new(builder.finish()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::tests::any_columns, *};

    proptest! {
        #[test]
        fn rows_round_trip((fields, columns) in any_columns(0..20)) {
            let rows = columns[0].len();
            let encoder = RowEncoder::new(&fields, &columns).unwrap();
            let schema = RowSchema::new(&fields).unwrap();
            let mut decoder = schema.decoder(rows);
            let mut bytes = Vec::new();
            for row in 0..rows {
                bytes.clear();
                encoder.encode(row, &mut bytes);
                decoder.push(&bytes).unwrap();
            }
            for (decoded, column) in decoder.finish().iter().zip(&columns) {
                prop_assert_eq!(&decoded.to_data(), &column.to_data());
            }
        }

        /// The same row through decoders of some of its columns, in any order.
        #[test]
        fn some_columns_are_those_of_all(
            (fields, columns) in any_columns(1..4),
            chosen in proptest::collection::vec(any::<proptest::sample::Index>(), 0..4),
        ) {
            let mut places: Vec<_> = chosen.iter().map(|index| index.index(fields.len())).collect();
            let mut seen = std::collections::BTreeSet::new();
            places.retain(|place| seen.insert(*place));
            let some: Vec<_> = places.iter().map(|place| fields[*place].clone()).collect();
            let schema = RowSchema::new(&some).unwrap();
            let mut decoder = schema.decoder(1);
            let encoder = RowEncoder::new(&fields, &columns).unwrap();
            let mut bytes = Vec::new();
            for row in 0..columns[0].len() {
                bytes.clear();
                encoder.encode(row, &mut bytes);
                decoder.push(&bytes).unwrap();
            }
            for (decoded, place) in decoder.finish().iter().zip(&places) {
                prop_assert_eq!(&decoded.to_data(), &columns[*place].to_data());
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(fuzz_cases()))]

        /// Whatever the bytes: cut, changed, moved or made up. `UNSKEW_FUZZ` is the number of cases.
        #[test]
        fn garbage_is_an_error_or_a_row_but_never_a_panic(
            garbage in proptest::collection::vec(any::<u8>(), 0..64),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<proptest::sample::Index>(),
            (fields, columns) in any_columns(1..2),
        ) {
            let schema = RowSchema::new(&fields).unwrap();
            let mut row = Vec::new();
            RowEncoder::new(&fields, &columns).unwrap().encode(0, &mut row);
            let decode = |bytes: &[u8]| {
                let mut decoder = schema.decoder(1);
                if decoder.push(bytes).is_ok() {
                    assert!(decoder.finish().iter().all(|column| column.len() == 1));
                }
            };
            decode(&garbage);
            decode(&row[..cut.index(row.len() + 1)]);
            for (place, byte) in changes {
                if !row.is_empty() {
                    let place = place.index(row.len());
                    row[place] = byte;
                }
            }
            decode(&row);
            row.extend_from_slice(&garbage);
            decode(&row);
        }
    }

    fn fuzz_cases() -> u32 {
        std::env::var("UNSKEW_FUZZ").map_or(256, |cases| cases.parse().unwrap())
    }

    #[test]
    fn columns_that_came_or_went_are_null_or_passed_over() {
        let field = |name: &str, data_type| Field {
            name: name.into(),
            data_type,
            nullable: true,
            documentation: String::new(),
        };
        let old = [field("a", DataType::Int64), field("b", DataType::Utf8)];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(arrow::array::Int64Array::from(vec![7])),
            Arc::new(arrow::array::StringArray::from(vec!["x"])),
        ];
        let mut row = Vec::new();
        RowEncoder::new(&old, &columns).unwrap().encode(0, &mut row);
        let new = [
            field("c", DataType::Int64),
            field("a", DataType::Float64),
            field("b", DataType::Utf8),
        ];
        let schema = RowSchema::new(&new).unwrap();
        let mut decoder = schema.decoder(1);
        decoder.push(&row).unwrap();
        let decoded = decoder.finish();
        assert!(decoded[0].is_null(0), "added");
        assert!(decoded[1].is_null(0), "another type");
        assert_eq!(decoded[2].as_string::<i32>().value(0), "x");
    }

    #[test]
    fn the_hash_depends_on_content_not_on_order() {
        let field = |name: &str| Field {
            name: name.into(),
            data_type: DataType::Int64,
            nullable: true,
            documentation: String::new(),
        };
        let column = |value: i64| Arc::new(arrow::array::Int64Array::from(vec![value])) as ArrayRef;
        let hash = content_hash(&[field("a"), field("b")], &[column(1), column(2)], 0).unwrap();
        assert_eq!(
            content_hash(&[field("b"), field("a")], &[column(2), column(1)], 0).unwrap(),
            hash
        );
        assert_ne!(
            content_hash(&[field("a"), field("b")], &[column(2), column(1)], 0).unwrap(),
            hash
        );
    }
}
