//! Columns under construction, and the values that can be written into them.

use crate::abi::{
    Column, DataType, Field, Values, VarBytes, VarFloat32, VarFloat64, VarInt64, VarUtf8,
};
use crate::bitmap::{self, Validity};
use crate::output::OutputField;
use crate::reader::StrList;
use crate::room::Room;
use crate::string_list::StringList;
use crate::time::{Date, Timestamp};
use crate::vector;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// A column under construction.
#[derive(Debug)]
pub struct ColumnWriter<T: OutputValue> {
    values: T::Builder,
    validity: Validity,
}

impl<T: OutputValue> ColumnWriter<T> {
    /// The description of such a column.
    pub fn field(name: &str, documentation: &str, nullable: bool) -> Field {
        Field {
            name: name.to_owned(),
            data_type: T::DATA_TYPE,
            nullable,
            documentation: documentation.to_owned(),
        }
    }

    /// A column with this room.
    #[inline]
    pub fn new(room: Room) -> Self {
        Self { values: Builder::new(room), validity: Validity::new(room.rows) }
    }

    /// Writes `row`. Rows come in order, each once.
    #[inline]
    pub fn put(&mut self, row: usize, field: impl OutputField<Value = T>) {
        match field.value() {
            Some(value) => value.put(&mut self.values, row),
            None => self.put_null(row),
        }
    }

    /// Makes `row` null.
    #[inline]
    pub fn put_null(&mut self, row: usize) {
        self.values.skip();
        self.validity.clear(row);
    }

    /// Makes all rows null that are not among these, a bit each.
    pub fn keep(&mut self, rows: &[u64]) {
        self.validity.keep(rows);
    }

    /// The finished column.
    ///
    /// # Errors
    /// The reason why it is not possible: it has grown past what offsets can count.
    pub fn finish(self) -> Result<Column, String> {
        let values = T::values(self.values);
        let count = items(&values);
        if i32::try_from(count).is_err() {
            let name = T::DATA_TYPE.name();
            return Err(format!(
                "a {name} column holds up to {} bytes or items, not {count}",
                i32::MAX
            ));
        }
        Ok(Column { values, validity: self.validity.finish() })
    }
}

/// What the offsets of a column count up to; zero where it has none.
fn items(values: &Values) -> usize {
    match values {
        Values::Utf8(var) | Values::Binary(var) => var.bytes.len(),
        Values::ListInt64(var) => var.items.len(),
        Values::ListFloat32(var) => var.items.len(),
        Values::ListFloat64(var) => var.items.len(),
        // No string is without an offset, so neither the bytes nor the strings may pass the limit.
        Values::ListUtf8(var) => var.items.bytes.len().max(var.items.offsets.len()),
        _ => 0,
    }
}

/// The storage of a column under construction.
pub trait Builder {
    /// Storage with this room.
    fn new(room: Room) -> Self;

    /// Passes over a row that has no value.
    fn skip(&mut self);
}

/// A value that can be written into a column.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an output of a transform",
    label = "not a type of the platform",
    note = "an output is one of `bool`, `i32`, `i64`, `f32`, `f64`, `&str`, `String`, `&[u8]`, `Vec<u8>`, `Date`, `Timestamp`, lists of `i64`, `f32`, `f64` or strings (`Vec` or borrowed, or `StringList`), or an `Option` of one"
)]
pub trait OutputValue: Sized {
    /// The type of the column.
    const DATA_TYPE: DataType;
    /// Whether the column has an item of so many bytes for each row.
    const FIXED_WIDTH: bool = false;
    /// The column's storage under construction.
    type Builder: Builder;

    /// Writes the value of `row`. Rows come in order; each is put or skipped once.
    fn put(self, builder: &mut Self::Builder, row: usize);

    /// The finished values.
    fn values(builder: Self::Builder) -> Values;
}

/// A slot for each row, filled by index: no growth, so that the loop has no branch.
impl<T: Default + Clone> Builder for Vec<T> {
    #[inline]
    fn new(room: Room) -> Self {
        vec![T::default(); room.rows]
    }

    #[inline]
    fn skip(&mut self) {}
}

/// Writes a type of fixed width.
macro_rules! fixed_width {
    ($($type:ty, $stored:ty, $variant:ident, $into:expr;)*) => {$(
        impl OutputValue for $type {
            const DATA_TYPE: DataType = DataType::$variant;
            const FIXED_WIDTH: bool = true;
            type Builder = Vec<$stored>;

            #[inline]
            fn put(self, builder: &mut Self::Builder, row: usize) {
                builder[row] = $into(self);
            }

            fn values(builder: Self::Builder) -> Values {
                Values::$variant(builder)
            }
        }
    )*};
}

fixed_width! {
    i32, i32, Int32, core::convert::identity;
    i64, i64, Int64, core::convert::identity;
    f32, f32, Float32, core::convert::identity;
    f64, f64, Float64, core::convert::identity;
    Date, i32, Date, Date::days;
    Timestamp, i64, Timestamp, Timestamp::micros;
}

/// A bit for each row.
#[derive(Debug)]
pub struct Bits(Vec<u8>);

impl Builder for Bits {
    fn new(room: Room) -> Self {
        Self(vec![0; bitmap::bytes_for(room.rows)])
    }

    #[inline]
    fn skip(&mut self) {}
}

impl OutputValue for bool {
    const DATA_TYPE: DataType = DataType::Boolean;
    type Builder = Bits;

    #[inline]
    fn put(self, builder: &mut Bits, row: usize) {
        if self {
            bitmap::set(&mut builder.0, row);
        }
    }

    fn values(builder: Bits) -> Values {
        Values::Boolean(builder.0)
    }
}

/// Values of varying length, laid end to end. Past 2³¹ − 1 items the offsets wrap, and
/// [`ColumnWriter::finish`] refuses the column.
#[derive(Debug)]
pub struct Spans<T> {
    offsets: Vec<i32>,
    items: Vec<T>,
}

impl<T> Spans<T> {
    /// Ends a row where the items end.
    #[inline]
    fn end_row(&mut self) {
        self.offsets.push(self.items.len() as i32);
    }
}

/// The offsets of no items, with room for so many.
fn offsets(items: usize) -> Vec<i32> {
    let mut offsets = Vec::with_capacity(items + 1);
    offsets.push(0);
    offsets
}

impl<T> Builder for Spans<T> {
    fn new(room: Room) -> Self {
        Self { offsets: offsets(room.rows), items: Vec::with_capacity(room.bytes / size_of::<T>()) }
    }

    #[inline]
    fn skip(&mut self) {
        self.end_row();
    }
}

/// Appends bytes. In WebAssembly a copy of a length that only shows at run time is a call of the
/// host, which takes longer than a short text; and every turn of a loop looks at the clock. So a
/// short text is copied in a few blocks of fixed length, of which the last may overlap.
#[inline]
pub(crate) fn append(items: &mut Vec<u8>, bytes: &[u8]) {
    let (start, count) = (items.len(), bytes.len());
    if count > SHORT {
        items.extend_from_slice(bytes);
        return;
    }
    if items.capacity() - start < count {
        items.reserve(count);
    }
    let (from, to) = (bytes.as_ptr(), items.spare_capacity_mut().as_mut_ptr().cast());
    // SAFETY: no block goes past the end of the bytes, for which there is room; together they
    // cover all bytes.
    unsafe {
        match count {
            0 => {}
            1..4 => copy::<1, 3>(from, to, [0, count / 2, count - 1]),
            4..8 => copy::<4, 2>(from, to, [0, count - 4]),
            8..16 => copy::<8, 2>(from, to, [0, count - 8]),
            16..=32 => copy::<16, 2>(from, to, [0, count - 16]),
            _ => copy::<16, 4>(from, to, [0, 16, count - 32, count - 16]),
        }
        items.set_len(start + count);
    }
}

/// Copies blocks of `SIZE` bytes, each to the place it has.
///
/// # Safety
/// As for copies of each of the blocks.
#[inline]
unsafe fn copy<const SIZE: usize, const BLOCKS: usize>(
    from: *const u8,
    to: *mut u8,
    blocks: [usize; BLOCKS],
) {
    for at in blocks {
        // SAFETY: as the caller has promised.
        unsafe { to.add(at).copy_from_nonoverlapping(from.add(at), SIZE) };
    }
}

/// Up to how many bytes a text is copied in blocks.
const SHORT: usize = 64;

/// Writes slices, and what can be seen as one; and says how it is dropped then.
macro_rules! slices {
    (
        $($type:ty, $item:ty, $variant:ident, $var:ident, $items:ident, $append:expr, $free:expr;)*
    ) => {$(
        impl OutputValue for $type {
            const DATA_TYPE: DataType = DataType::$variant;
            type Builder = Spans<$item>;

            #[inline]
            fn put(self, builder: &mut Self::Builder, _: usize) {
                $append(&mut builder.items, self.as_ref());
                builder.end_row();
                $free(self);
            }

            fn values(builder: Self::Builder) -> Values {
                Values::$variant($var { offsets: builder.offsets, $items: builder.items })
            }
        }
    )*};
}

slices! {
    &str, u8, Utf8, VarBytes, bytes, append, |_| {};
    String, u8, Utf8, VarBytes, bytes, append, |string: String| vector::free(string.into_bytes());
    &[u8], u8, Binary, VarBytes, bytes, append, |_| {};
    Vec<u8>, u8, Binary, VarBytes, bytes, append, vector::free;
    &[i64], i64, ListInt64, VarInt64, items, Vec::extend_from_slice, |_| {};
    Vec<i64>, i64, ListInt64, VarInt64, items, Vec::extend_from_slice, vector::free;
    &[f32], f32, ListFloat32, VarFloat32, items, Vec::extend_from_slice, |_| {};
    Vec<f32>, f32, ListFloat32, VarFloat32, items, Vec::extend_from_slice, vector::free;
    &[f64], f64, ListFloat64, VarFloat64, items, Vec::extend_from_slice, |_| {};
    Vec<f64>, f64, ListFloat64, VarFloat64, items, Vec::extend_from_slice, vector::free;
}

/// As many bytes of text as are one string of a list, for all that is known.
const WORD: usize = 4;

/// Lists of strings: rows over strings, strings over bytes.
#[derive(Debug)]
pub struct TextLists {
    offsets: Vec<i32>,
    strings: Spans<u8>,
}

impl TextLists {
    /// Adds the strings of a row.
    fn push<'a>(&mut self, strings: impl IntoIterator<Item = &'a str>) {
        for string in strings {
            append(&mut self.strings.items, string.as_bytes());
            self.strings.end_row();
        }
        self.skip();
    }
}

impl Builder for TextLists {
    fn new(room: Room) -> Self {
        let strings = Room { rows: room.bytes / WORD, bytes: room.bytes };
        Self { offsets: offsets(room.rows), strings: Spans::new(strings) }
    }

    #[inline]
    fn skip(&mut self) {
        self.offsets.push(self.strings.offsets.len().wrapping_sub(1) as i32);
    }
}

impl OutputValue for StringList {
    const DATA_TYPE: DataType = DataType::ListUtf8;
    type Builder = TextLists;

    #[inline]
    fn put(self, builder: &mut TextLists, _: usize) {
        let strings = &mut builder.strings;
        let start = strings.items.len();
        append(&mut strings.items, self.text().as_bytes());
        strings.offsets.extend(self.ends().map(|end| start.wrapping_add(end) as i32));
        builder.skip();
        self.free();
    }

    fn values(builder: TextLists) -> Values {
        <StrList<'_> as OutputValue>::values(builder)
    }
}

/// Writes lists of strings.
macro_rules! text_lists {
    ($($type:ty, $list:ident => $strings:expr;)*) => {$(
        impl OutputValue for $type {
            const DATA_TYPE: DataType = DataType::ListUtf8;
            type Builder = TextLists;

            fn put(self, builder: &mut TextLists, _: usize) {
                let $list = &self;
                builder.push($strings);
            }

            fn values(builder: TextLists) -> Values {
                let Spans { offsets, items: bytes } = builder.strings;
                let items = VarBytes { offsets, bytes };
                Values::ListUtf8(VarUtf8 { offsets: builder.offsets, items })
            }
        }
    )*};
}

text_lists! {
    StrList<'_>, list => list.iter();
    Vec<&str>, list => list.iter().copied();
    Vec<String>, list => list.iter().map(String::as_str);
}
