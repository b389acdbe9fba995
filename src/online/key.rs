//! What rows are found by: the id of a view and the key of an entity.

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Int32Array, Int64Array,
        StringArray, TimestampMicrosecondArray,
    },
    datatypes::DataType as ArrowType,
};

use crate::{
    digest::{Digest, Hasher},
    error::{Error, Result},
    value::{DataType, Field},
};

/// A feature view, by eight bytes of the SHA-256 of its project and its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ViewId([u8; 8]);

impl ViewId {
    /// The id of a view of a project.
    pub fn of(project: &str, view: &str) -> Self {
        Self(prefix(&Digest::of(format!("{project}\0{view}"))))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

fn prefix(digest: &Digest) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// The greatest length of an entity's key in bytes: what LMDB takes (511), less a [`ViewId`].
pub const MAX_ENTITY_KEY: usize = 503;

/// How much of a key that is too long is kept in front of its hash.
const KEPT: usize = 64;

const PLAIN: u8 = 0;
const HASHED: u8 = 1;

/// The join keys of some views: what the keys of their entities are made of.
///
/// ```text
/// key    := 0, schema, value*             one value for each join key, in the order of their names
///         | 1, schema, the first 64 bytes of value*, SHA-256 of value*
///                                         where the key would be longer than MAX_ENTITY_KEY
/// schema := the first 8 bytes of the SHA-256 of (name, NUL, type, NUL)*
/// value  := boolean: 1 byte · int32, date: 4 bytes · int64, timestamp: 8 bytes, big-endian with
///           the sign flipped · utf8, binary: bytes with 00 as 00 FF, then 00 01
/// ```
/// Different entities have different keys, and keys that are not hashed are in the order of their
/// values, so that neighbours are stored side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinKeys {
    fields: Vec<Field>,
    /// The places of the fields in the order of their names.
    order: Vec<usize>,
    schema: [u8; 8],
}

impl JoinKeys {
    /// The join keys that these fields are; their order does not matter.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when there is none, or one is there twice or is
    /// of a type that join keys cannot have.
    pub fn new(fields: Vec<Field>) -> Result<Self> {
        if fields.is_empty() {
            return Err(Error::invalid("an entity has no join key"));
        }
        let mut order: Vec<usize> = (0..fields.len()).collect();
        order.sort_by_key(|place| &fields[*place].name);
        let twin = order.windows(2).find(|pair| fields[pair[0]].name == fields[pair[1]].name);
        if let Some(twin) = twin {
            let name = &fields[twin[0]].name;
            return Err(Error::invalid(format!("the join key \"{name}\" is there twice")));
        }
        let mut hasher = Hasher::default();
        for field in order.iter().map(|place| &fields[*place]) {
            refuse_other_types(field)?;
            hasher.update(format!("{}\0{}\0", field.name, field.data_type));
        }
        let schema = prefix(&hasher.finish());
        Ok(Self { fields, order, schema })
    }

    /// The fields, as they were given.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The keys of the entities that have these join keys, in the order of the fields: one for each
    /// row of the columns. A row with a null among its join keys has no key.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::error::Kind::Internal) when a column is not of its field's type or
    /// the columns have different lengths.
    pub fn keys(&self, columns: &[ArrayRef]) -> Result<EntityKeys> {
        let rows = columns.first().map_or(0, |column| column.len());
        if columns.len() != self.fields.len() || columns.iter().any(|column| column.len() != rows) {
            return Err(Error::internal("the columns of join keys are not of one length"));
        }
        let part = |place: &usize| Part::new(&self.fields[*place], &columns[*place]);
        let parts: Vec<Part> = self.order.iter().map(part).collect::<Result<_>>()?;
        let mut keys = EntityKeys {
            bytes: Vec::with_capacity(rows * (1 + self.schema.len() + 8 * parts.len())),
            ends: Vec::with_capacity(rows),
        };
        for row in 0..rows {
            keys.push(self.schema, &parts, row);
        }
        Ok(keys)
    }
}

fn refuse_other_types(field: &Field) -> Result<()> {
    if field.data_type.is_join_key() {
        return Ok(());
    }
    let join_keys = DataType::ALL.into_iter().filter(|known| known.is_join_key());
    let names: Vec<_> = join_keys.map(DataType::name).collect();
    Err(Error::invalid(format!("the join key \"{}\" cannot be {}", field.name, field.data_type))
        .with_hint(format!("a join key is one of {}", names.join(", "))))
}

/// The keys of some entities ([`JoinKeys::keys`]), in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityKeys {
    bytes: Vec<u8>,
    /// Where each key ends. A null key is empty: no other is, for it has a schema.
    ends: Vec<usize>,
}

impl EntityKeys {
    /// How many there are, null ones included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The keys in order; `None` for a null one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let key = &self.bytes[start..*end];
            start = *end;
            (!key.is_empty()).then_some(key)
        })
    }

    fn push(&mut self, schema: [u8; 8], parts: &[Part<'_>], row: usize) {
        let start = self.bytes.len();
        if parts.iter().all(|part| part.is_valid(row)) {
            self.bytes.push(PLAIN);
            self.bytes.extend_from_slice(&schema);
            let values = self.bytes.len();
            for part in parts {
                part.write(row, &mut self.bytes);
            }
            if self.bytes.len() - start > MAX_ENTITY_KEY {
                let hash = Digest::of(&self.bytes[values..]);
                self.bytes[start] = HASHED;
                self.bytes.truncate(values + KEPT);
                self.bytes.extend_from_slice(hash.as_bytes());
            }
        }
        self.ends.push(self.bytes.len());
    }
}

enum Part<'a> {
    Boolean(&'a BooleanArray),
    Int32(&'a Int32Array),
    Int64(&'a Int64Array),
    Utf8(&'a StringArray),
    Binary(&'a BinaryArray),
    Date(&'a Date32Array),
    Timestamp(&'a TimestampMicrosecondArray),
}

impl<'a> Part<'a> {
    fn new(field: &Field, column: &'a ArrayRef) -> Result<Self> {
        let held: &ArrowType = column.data_type();
        if *held != field.data_type.to_arrow() {
            return Err(Error::internal(format!(
                "the join key \"{}\" is {held} and should be {}",
                field.name, field.data_type
            )));
        }
        Ok(match field.data_type {
            DataType::Boolean => Self::Boolean(column.as_boolean()),
            DataType::Int32 => Self::Int32(column.as_primitive()),
            DataType::Int64 => Self::Int64(column.as_primitive()),
            DataType::Utf8 => Self::Utf8(column.as_string()),
            DataType::Binary => Self::Binary(column.as_binary()),
            DataType::Date => Self::Date(column.as_primitive()),
            DataType::Timestamp => Self::Timestamp(column.as_primitive()),
            // None is made of such a field.
            other => return Err(Error::internal(format!("a join key of type {other}"))),
        })
    }

    fn is_valid(&self, row: usize) -> bool {
        match self {
            Self::Boolean(column) => column.is_valid(row),
            Self::Int32(column) => column.is_valid(row),
            Self::Int64(column) => column.is_valid(row),
            Self::Utf8(column) => column.is_valid(row),
            Self::Binary(column) => column.is_valid(row),
            Self::Date(column) => column.is_valid(row),
            Self::Timestamp(column) => column.is_valid(row),
        }
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(column) => out.push(u8::from(column.value(row))),
            Self::Int32(column) => write_i32(column.value(row), out),
            Self::Int64(column) => write_i64(column.value(row), out),
            Self::Utf8(column) => write_escaped(column.value(row).as_bytes(), out),
            Self::Binary(column) => write_escaped(column.value(row), out),
            Self::Date(column) => write_i32(column.value(row), out),
            Self::Timestamp(column) => write_i64(column.value(row), out),
        }
    }
}

fn write_i32(value: i32, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.cast_unsigned() ^ (1 << 31)).to_be_bytes());
}

fn write_i64(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(&(value.cast_unsigned() ^ (1 << 63)).to_be_bytes());
}

fn write_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    for (i, piece) in bytes.split(|byte| *byte == 0).enumerate() {
        if i > 0 {
            out.extend_from_slice(&[0x00, 0xff]);
        }
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(&[0x00, 0x01]);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::{error::Kind, value::tests::any_column};

    fn field(name: &str, data_type: DataType) -> Field {
        Field { name: name.into(), data_type, nullable: true, documentation: String::new() }
    }

    fn encode(fields: &[Field], columns: &[ArrayRef]) -> Result<EntityKeys> {
        JoinKeys::new(fields.to_vec())?.keys(columns)
    }

    fn int64(values: Vec<Option<i64>>) -> ArrayRef {
        Arc::new(Int64Array::from(values))
    }

    fn text(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }

    /// Pairs of short byte strings over an alphabet in which escapes and terminators are common.
    fn any_pairs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
        let bytes =
            || proptest::collection::vec(proptest::sample::select(vec![0, 1, 2, 0xff]), 0..4);
        proptest::collection::vec((bytes(), bytes()), 2..8)
    }

    proptest! {
        #[test]
        fn keys_are_in_the_order_of_their_values(pairs in any_pairs()) {
            let column = |values: Vec<&[u8]>| Arc::new(BinaryArray::from(values)) as ArrayRef;
            let first = column(pairs.iter().map(|pair| pair.0.as_slice()).collect());
            let second = column(pairs.iter().map(|pair| pair.1.as_slice()).collect());
            let fields = [field("a", DataType::Binary), field("b", DataType::Binary)];
            let keys = encode(&fields, &[first, second]).unwrap();
            let keys: Vec<_> = keys.iter().collect();
            for (i, a) in pairs.iter().enumerate() {
                for (j, b) in pairs.iter().enumerate() {
                    prop_assert_eq!(keys[i].cmp(&keys[j]), a.cmp(b));
                }
            }
        }

        #[test]
        fn every_type_of_join_key_has_keys(
            columns in DataType::ALL.iter().copied().filter(|t| t.is_join_key())
                .map(|data_type| any_column(data_type, 5)).collect::<Vec<_>>(),
        ) {
            let types = DataType::ALL.into_iter().filter(|t| t.is_join_key());
            for (data_type, column) in types.zip(&columns) {
                let keys = encode(&[field("a", data_type)], std::slice::from_ref(column)).unwrap();
                for (row, key) in keys.iter().enumerate() {
                    prop_assert_eq!(key.is_none(), column.is_null(row));
                    prop_assert!(key.is_none_or(|key| key.len() <= MAX_ENTITY_KEY));
                }
            }
        }

        #[test]
        fn numbers_are_in_order(a: i64, b: i64) {
            let keys = encode(&[field("a", DataType::Int64)], &[int64(vec![Some(a), Some(b)])]).unwrap();
            let keys: Vec<_> = keys.iter().collect();
            prop_assert_eq!(keys[0].cmp(&keys[1]), a.cmp(&b));
        }
    }

    #[test]
    fn the_order_of_fields_does_not_matter_but_names_and_types_do() {
        let one = |fields: &[Field], columns: &[ArrayRef]| encode(fields, columns).unwrap();
        let (a, b) = (int64(vec![Some(1)]), text(vec![Some("x")]));
        let (fa, fb) = (field("a", DataType::Int64), field("b", DataType::Utf8));
        let key = one(&[fa.clone(), fb.clone()], &[a.clone(), b.clone()]);
        assert_eq!(key, one(&[fb.clone(), fa], &[b.clone(), a.clone()]));
        assert_ne!(key, one(&[field("c", DataType::Int64), fb], &[a, b.clone()]));
        let binary: ArrayRef = Arc::new(BinaryArray::from(vec![b"x".as_slice()]));
        assert_ne!(
            one(&[field("b", DataType::Utf8)], &[b]),
            one(&[field("b", DataType::Binary)], &[binary])
        );
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let columns = [text(vec![Some("a\0b")]), int64(vec![Some(-2)])];
        let keys = encode(&[field("name", DataType::Utf8), field("id", DataType::Int64)], &columns)
            .unwrap();
        let schema = Digest::of("id\0int64\0name\0utf8\0");
        let values = b"\x7f\xff\xff\xff\xff\xff\xff\xfea\x00\xffb\x00\x01";
        let expected = [&[0], &schema.as_bytes()[..8], values].concat();
        assert_eq!(keys.iter().collect::<Vec<_>>(), [Some(expected.as_slice())]);
    }

    #[test]
    fn a_null_join_key_has_no_key() {
        let fields = [field("a", DataType::Int64), field("b", DataType::Utf8)];
        let columns = [int64(vec![Some(1), None, Some(1)]), text(vec![Some(""), Some("x"), None])];
        let keys = encode(&fields, &columns).unwrap();
        assert_eq!(keys.iter().map(|key| key.is_some()).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn long_keys_are_hashed_and_stay_apart() {
        let longest = "x".repeat(MAX_ENTITY_KEY - 9 - 2);
        let texts = [longest.clone(), longest.clone() + "x", longest.clone() + "y", longest + "xx"];
        let column = text(texts.iter().map(|text| Some(text.as_str())).collect());
        let keys = encode(&[field("a", DataType::Utf8)], &[column]).unwrap();
        let keys: Vec<_> = keys.iter().flatten().collect();
        let lengths: Vec<_> = keys.iter().map(|key| (key[0], key.len())).collect();
        let hashed = (HASHED, 9 + KEPT + 32);
        assert_eq!(lengths, [(PLAIN, MAX_ENTITY_KEY), hashed, hashed, hashed]);
        assert!(keys[1] != keys[2] && keys[1] != keys[3]);
    }

    #[test]
    fn what_is_no_join_key_is_refused() {
        let refused = |fields: &[Field], columns: &[ArrayRef]| encode(fields, columns).unwrap_err();
        let float: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.0]));
        let error = refused(&[field("a", DataType::Float64)], &[float]);
        assert_eq!(error.message(), "the join key \"a\" cannot be float64");
        assert_eq!(refused(&[], &[]).kind(), Kind::Invalid);
        let twice = refused(
            &[field("a", DataType::Int64), field("a", DataType::Int64)],
            &[int64(vec![]), int64(vec![])],
        );
        assert_eq!(twice.message(), "the join key \"a\" is there twice");
        let uneven = [int64(vec![Some(1)]), int64(vec![])];
        assert_eq!(
            refused(&[field("a", DataType::Int64), field("b", DataType::Int64)], &uneven).kind(),
            Kind::Internal
        );
    }
}
