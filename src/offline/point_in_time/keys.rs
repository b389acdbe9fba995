//! Distinct keys and their numbers.

use std::hash::{BuildHasher, Hash};

use arrow::{
    array::{Array, ArrayRef, AsArray},
    buffer::NullBuffer,
    datatypes::{ArrowPrimitiveType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType},
    row::{RowConverter, Rows, SortField},
};
use datafusion::common::{Result, hash_utils::RandomState, internal_err};

use crate::value::DataType;

/// The number of a key that is not in the table, or of which a part is null.
pub(super) const NO_KEY: u32 = u32::MAX;

/// Distinct keys, numbered from 0 in the order in which they came.
///
/// An open-addressing hash table of numbers; what they stand for is kept apart, keys of up to 16
/// bytes as numbers, others as bytes.
#[derive(Debug)]
pub(super) struct KeyTable {
    types: Vec<DataType>,
    /// Makes bytes of keys; none where they are numbers.
    converter: Option<RowConverter>,
    hasher: RandomState,
    /// As many as a power of two, at most half of them taken.
    slots: Vec<Slot>,
    keys: Packed,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    number: u32,
}

const FREE: Slot = Slot { hash: 0, number: NO_KEY };

/// The keys of some rows.
#[derive(Debug)]
enum Packed {
    Numbers(Vec<u128>),
    Bytes(Rows),
}

/// What a hash table asks of keys.
trait Values {
    fn len(&self) -> usize;
    fn hash(&self, row: usize, hasher: &RandomState) -> u32;
    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool;
    fn push(&mut self, other: &Self, row: usize);
}

impl Values for Vec<u128> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn hash(&self, row: usize, hasher: &RandomState) -> u32 {
        upper(hasher, self[row])
    }

    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self[row] == other[other_row]
    }

    fn push(&mut self, other: &Self, row: usize) {
        Vec::push(self, other[row]);
    }
}

impl Values for Rows {
    fn len(&self) -> usize {
        self.num_rows()
    }

    fn hash(&self, row: usize, hasher: &RandomState) -> u32 {
        upper(hasher, self.row(row).data())
    }

    fn same(&self, row: usize, other: &Self, other_row: usize) -> bool {
        self.row(row).data() == other.row(other_row).data()
    }

    fn push(&mut self, other: &Self, row: usize) {
        Rows::push(self, other.row(row));
    }
}

fn upper(hasher: &RandomState, value: impl Hash) -> u32 {
    (hasher.hash_one(value) >> 32) as u32
}

impl KeyTable {
    /// No keys so far; they will be of these types.
    pub(super) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        let types: Vec<DataType> = types.into_iter().collect();
        let bits: Option<Vec<u32>> = types.iter().map(|key| bits(*key)).collect();
        let is_number = bits.is_some_and(|bits| bits.iter().sum::<u32>() <= u128::BITS);
        let converter = match is_number {
            true => None,
            false => {
                let fields = types.iter().map(|key| SortField::new(key.to_arrow()));
                Some(RowConverter::new(fields.collect())?)
            }
        };
        let keys = match &converter {
            None => Packed::Numbers(Vec::new()),
            Some(converter) => Packed::Bytes(converter.empty_rows(0, 0)),
        };
        // Another seed in every process: nobody can make files of keys that all collide.
        let seed = std::hash::RandomState::new().hash_one(0);
        let hasher = RandomState::with_seed(seed);
        Ok(Self { types, converter, hasher, slots: vec![FREE; 16], keys })
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        match &self.keys {
            Packed::Numbers(keys) => Values::len(keys),
            Packed::Bytes(keys) => Values::len(keys),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let keys = match &self.keys {
            Packed::Numbers(keys) => keys.capacity() * size_of::<u128>(),
            Packed::Bytes(keys) => keys.size(),
        };
        self.slots.capacity() * size_of::<Slot>() + keys
    }

    /// The numbers of the keys of rows, given as their columns; new keys are added.
    pub(super) fn insert(&mut self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let (keys, nulls) = self.pack(columns)?;
        let (hasher, slots) = (&self.hasher, &mut self.slots);
        let rows = columns.first().map_or(0, |column| column.len());
        match (&mut self.keys, &keys) {
            (Packed::Numbers(held), Packed::Numbers(keys)) => {
                Ok(insert(slots, held, keys, (rows, nulls), hasher))
            }
            (Packed::Bytes(held), Packed::Bytes(keys)) => {
                Ok(insert(slots, held, keys, (rows, nulls), hasher))
            }
            _ => internal_err!("keys of two kinds"),
        }
    }

    /// The numbers of the keys of rows, given as their columns.
    pub(super) fn find(&self, columns: &[ArrayRef]) -> Result<Vec<u32>> {
        let (keys, nulls) = self.pack(columns)?;
        let rows = columns.first().map_or(0, |column| column.len());
        match (&self.keys, &keys) {
            (Packed::Numbers(held), Packed::Numbers(keys)) => {
                Ok(find(&self.slots, held, keys, (rows, nulls), &self.hasher))
            }
            (Packed::Bytes(held), Packed::Bytes(keys)) => {
                Ok(find(&self.slots, held, keys, (rows, nulls), &self.hasher))
            }
            _ => internal_err!("keys of two kinds"),
        }
    }

    fn pack(&self, columns: &[ArrayRef]) -> Result<(Packed, Option<NullBuffer>)> {
        let nulls = columns.iter().fold(None, |nulls: Option<NullBuffer>, column| {
            NullBuffer::union(nulls.as_ref(), column.nulls())
        });
        let keys = match &self.converter {
            Some(converter) => Packed::Bytes(converter.convert_columns(columns)?),
            None => Packed::Numbers(numbers(&self.types, columns)?),
        };
        Ok((keys, nulls))
    }
}

/// How many bits a key of this type takes as a number; `None` where it is none.
fn bits(key: DataType) -> Option<u32> {
    match key {
        DataType::Boolean => Some(8),
        DataType::Int32 | DataType::Date => Some(32),
        DataType::Int64 | DataType::Timestamp => Some(64),
        _ => None,
    }
}

/// Each row's key as one number; what a null part comes to does not matter.
fn numbers(types: &[DataType], columns: &[ArrayRef]) -> Result<Vec<u128>> {
    let mut numbers = vec![0; columns.first().map_or(0, |column| column.len())];
    for (key, column) in types.iter().zip(columns) {
        if *column.data_type() != key.to_arrow() {
            return internal_err!("a key of type {} and not {key}", column.data_type());
        }
        match key {
            DataType::Boolean => {
                append(&mut numbers, 8, column.as_boolean().values().iter().map(u128::from));
            }
            DataType::Int32 => {
                append(&mut numbers, 32, native::<Int32Type>(column).map(|v| u128::from(v as u32)));
            }
            DataType::Date => {
                append(
                    &mut numbers,
                    32,
                    native::<Date32Type>(column).map(|v| u128::from(v as u32)),
                );
            }
            DataType::Int64 => {
                append(&mut numbers, 64, native::<Int64Type>(column).map(|v| u128::from(v as u64)));
            }
            DataType::Timestamp => {
                let values = native::<TimestampMicrosecondType>(column);
                append(&mut numbers, 64, values.map(|v| u128::from(v as u64)));
            }
            other => return internal_err!("a key of type {other} is no number"),
        }
    }
    Ok(numbers)
}

fn native<T: ArrowPrimitiveType>(column: &ArrayRef) -> impl Iterator<Item = T::Native> + '_ {
    column.as_primitive::<T>().values().iter().copied()
}

fn append(numbers: &mut [u128], bits: u32, values: impl Iterator<Item = u128>) {
    for (number, value) in numbers.iter_mut().zip(values) {
        *number = (*number << bits) | value;
    }
}

/// Where a key is, or the free slot where it is to be.
#[inline]
fn slot(slots: &[Slot], hash: u32, is_same: impl Fn(usize) -> bool) -> usize {
    let mask = slots.len() - 1;
    let mut at = hash as usize & mask;
    while slots[at].number != NO_KEY
        && (slots[at].hash != hash || !is_same(slots[at].number as usize))
    {
        at = (at + 1) & mask;
    }
    at
}

fn insert<K: Values>(
    slots: &mut Vec<Slot>,
    held: &mut K,
    keys: &K,
    (rows, nulls): (usize, Option<NullBuffer>),
    hasher: &RandomState,
) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(rows);
    for row in 0..rows {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            numbers.push(NO_KEY);
            continue;
        }
        let hash = keys.hash(row, hasher);
        let at = slot(slots, hash, |number| held.same(number, keys, row));
        if slots[at].number == NO_KEY {
            slots[at] = Slot { hash, number: held.len() as u32 };
            held.push(keys, row);
            numbers.push(slots[at].number);
            if held.len() * 2 > slots.len() {
                *slots = grown(slots);
            }
        } else {
            numbers.push(slots[at].number);
        }
    }
    numbers
}

/// The same slots among twice as many.
fn grown(slots: &[Slot]) -> Vec<Slot> {
    let mut grown = vec![FREE; slots.len() * 2];
    for slot in slots.iter().filter(|slot| slot.number != NO_KEY) {
        let free = self::slot(&grown, slot.hash, |_| false);
        grown[free] = *slot;
    }
    grown
}

fn find<K: Values>(
    slots: &[Slot],
    held: &K,
    keys: &K,
    (rows, nulls): (usize, Option<NullBuffer>),
    hasher: &RandomState,
) -> Vec<u32> {
    let number = |row: usize| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return NO_KEY;
        }
        let hash = keys.hash(row, hasher);
        slots[slot(slots, hash, |number| held.same(number, keys, row))].number
    };
    (0..rows).map(number).collect()
}
