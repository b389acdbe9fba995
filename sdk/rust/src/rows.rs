//! Which rows of a batch a function is called for.

use crate::abi::{Batch, Failure, Values};
use crate::input::Input;
use crate::output::{Outputs, Returned};
use crate::reader::InputValue;
use crate::slot::Slot;
use crate::words::words;
use alloc::vec::Vec;

/// What is known of an input before its column is read.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    name: &'static str,
    nullable: bool,
    fixed_width: bool,
}

impl Wanted {
    /// The input of this type and name.
    pub const fn new<'a, T: Input<'a>>(name: &'static str) -> Self {
        let fixed_width = <T::Value as InputValue<'a>>::FIXED_WIDTH;
        Self { name, nullable: T::NULLABLE, fixed_width }
    }
}

/// The rows of a batch for which a function is called: those that are null in no input, but for
/// inputs of which the function is given nulls. A bit each.
#[derive(Debug)]
pub(crate) enum Called {
    /// All of them.
    All,
    /// These alone.
    Only(Vec<u64>),
    /// All of them, for [`fill`] has gone over the others, and what it gives counts for these alone.
    Filled(Vec<u64>),
}

impl Called {
    /// The rows of a batch, for a function that returns `R`.
    ///
    /// # Errors
    /// Where a bitmap is not of the batch's number of rows.
    pub(crate) fn of<R: Returned>(
        function: &'static str,
        batch: &mut Batch,
        inputs: &[Wanted],
    ) -> Result<Self, Failure> {
        let count = batch.rows as usize;
        let mut called = None;
        for (column, input) in batch.columns.iter().zip(inputs).filter(|(_, input)| !input.nullable)
        {
            let slot = Slot { function, kind: "input", name: input.name, column, rows: count };
            if let Some(valid) = slot.validity()? {
                called = Some(intersection(called, valid));
            }
        }
        let left_out = called.as_deref().map_or(0, |called| count - number(called, count));
        let Some(called) = called.filter(|_| left_out > 0) else {
            return Ok(Self::All);
        };
        let simple = |input: &Wanted| input.fixed_width && !input.nullable;
        let simple = R::Outputs::FIXED_WIDTH && inputs.iter().all(simple);
        // Few enough that it costs little, whatever the function does.
        if !simple || left_out > count / 8 {
            return Ok(Self::Only(called));
        }
        batch.columns.iter_mut().for_each(|column| fill(&mut column.values, &called));
        Ok(Self::Filled(called))
    }
}

/// The rows that are in both bitmaps, where no first bitmap stands for all rows.
fn intersection(called: Option<Vec<u64>>, valid: &[u8]) -> Vec<u64> {
    let valid = words(valid);
    let Some(mut called) = called else {
        return valid.collect();
    };
    called.iter_mut().zip(valid).for_each(|(word, valid)| *word &= valid);
    called
}

/// How many of so many rows these are; bits behind the last row do not count.
fn number(rows: &[u64], count: usize) -> usize {
    let ones = |word: u64| word.count_ones() as usize;
    let all = rows.iter().map(|word| ones(*word)).sum::<usize>();
    all - rows.get(count / 64).map_or(0, |last| ones(last >> (count % 64)))
}

/// Gives the rows that are left out what the called row before them has, or the first one. To call
/// a function for them is to call it again with what it is called with anyway: whatever it does, it
/// does nothing new. So a loop over simple numbers needs no branch where there are a few nulls, and
/// becomes SIMD from end to end.
fn fill(values: &mut Values, called: &[u64]) {
    match values {
        Values::Int32(items) | Values::Date(items) => fill_items(items, called),
        Values::Int64(items) | Values::Timestamp(items) => fill_items(items, called),
        Values::Float32(items) => fill_items(items, called),
        Values::Float64(items) => fill_items(items, called),
        _ => {}
    }
}

fn fill_items<T: Copy>(items: &mut [T], called: &[u64]) {
    let first = called.iter().position(|word| *word != 0);
    let first = first.map(|at| at * 64 + called[at].trailing_zeros() as usize);
    let Some(mut last) = first.and_then(|row| items.get(row).copied()) else {
        return;
    };
    for (items, called) in items.chunks_mut(64).zip(called) {
        let mut left_out = !called;
        while left_out != 0 {
            let at = left_out.trailing_zeros() as usize;
            // Behind the last row there are bits and no items.
            if at >= items.len() {
                break;
            }
            items[at] = if at == 0 { last } else { items[at - 1] };
            left_out &= left_out - 1;
        }
        last = *items.last().unwrap_or(&last);
    }
}
