//! Entity rows by key and time.

use std::ops::Range;

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use datafusion::common::Result;

use super::keys::{KeyTable, NO_KEY};
use crate::value::DataType;

/// Entity rows in the order of their keys and times. A row's place is where it is in that order;
/// a row with a null key has none.
#[derive(Debug)]
pub(super) struct EntityIndex {
    keys: KeyTable,
    /// Where the places of each key begin; behind the last, where they end.
    starts: Vec<u32>,
    /// The time at each place.
    times: Vec<i64>,
    /// The row at each place.
    rows: Vec<u32>,
}

/// Takes in entity rows, batch by batch.
pub(super) struct IndexBuilder {
    keys: KeyTable,
    /// The number of each row's key.
    numbers: Vec<u32>,
    times: Vec<i64>,
}

impl IndexBuilder {
    pub(super) fn new(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        Ok(Self { keys: KeyTable::new(types)?, numbers: Vec::new(), times: Vec::new() })
    }

    /// Adds rows, given their key columns and their times.
    pub(super) fn add(
        &mut self,
        keys: &[ArrayRef],
        times: &TimestampMicrosecondArray,
    ) -> Result<()> {
        self.numbers.extend(self.keys.insert(keys)?);
        self.times.extend_from_slice(times.values());
        Ok(())
    }

    pub(super) fn finish(self) -> EntityIndex {
        let Self { keys, numbers, times: by_row } = self;
        let mut starts = vec![0; keys.len() + 1];
        for number in numbers.iter().filter(|number| **number != NO_KEY) {
            starts[*number as usize + 1] += 1;
        }
        for key in 1..starts.len() {
            starts[key] += starts[key - 1];
        }
        let places = starts[keys.len()] as usize;
        let (mut times, mut rows) = (vec![0; places], vec![0; places]);
        let mut next = starts.clone();
        for (row, number) in numbers.iter().enumerate().filter(|(_, number)| **number != NO_KEY) {
            let place = &mut next[*number as usize];
            times[*place as usize] = by_row[row];
            rows[*place as usize] = row as u32;
            *place += 1;
        }
        let index = EntityIndex { keys, starts, times, rows };
        index.sorted()
    }
}

impl EntityIndex {
    /// Puts the places of each key into the order of their times; among equals the rows keep theirs.
    fn sorted(mut self) -> Self {
        let mut pairs: Vec<(i64, u32)> = Vec::new();
        for key in 0..self.keys.len() {
            let places = self.places(key);
            let (times, rows) = (&mut self.times[places.clone()], &mut self.rows[places]);
            if times.is_sorted() {
                continue;
            }
            pairs.clear();
            pairs.extend(times.iter().copied().zip(rows.iter().copied()));
            pairs.sort_unstable();
            for (place, (time, row)) in pairs.iter().enumerate() {
                (times[place], rows[place]) = (*time, *row);
            }
        }
        self
    }

    pub(super) fn keys(&self) -> &KeyTable {
        &self.keys
    }

    /// The places of a key.
    pub(super) fn places(&self, key: usize) -> Range<usize> {
        self.starts[key] as usize..self.starts[key + 1] as usize
    }

    /// How many places there are.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    pub(super) fn time(&self, place: usize) -> i64 {
        self.times[place]
    }

    pub(super) fn row(&self, place: usize) -> usize {
        self.rows[place] as usize
    }

    /// The first place of a key whose time is not before `moment`.
    pub(super) fn seek(&self, key: u32, moment: i64) -> Option<usize> {
        let places = self.places(key as usize);
        let place =
            places.start + self.times[places.clone()].partition_point(|time| *time < moment);
        (place < places.end).then_some(place)
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes()
            + 4 * (self.starts.capacity() + self.rows.capacity())
            + 8 * self.times.capacity()
    }
}
