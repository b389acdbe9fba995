//! One call of a function over a batch: arguments in, the loop, results out.

use crate::abi::{Batch, Column, Failure, Outcome, RowError};
use crate::bitmap;
use crate::input::{Input, Param};
use crate::output::{Outputs, Returned};
use crate::slot::Slot;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The arguments of a call, taken one after the other in the order of the signature.
#[derive(Debug)]
pub struct Call<'a> {
    function: &'static str,
    params: core::slice::Iter<'a, Column>,
    inputs: core::slice::Iter<'a, Column>,
    rows: usize,
    /// The rows for which the function is called, or `None` for all.
    called: Option<Vec<u8>>,
}

impl<'a> Call<'a> {
    /// A call of `function`, whose signature has so many parameters and inputs.
    ///
    /// # Errors
    /// Where another number was given.
    #[inline]
    pub fn new(
        function: &'static str,
        (params, wanted_params): (&'a [Column], usize),
        (batch, wanted_inputs): (&'a Batch, usize),
    ) -> Result<Self, Failure> {
        let (given_params, given_inputs) = (params.len(), batch.columns.len());
        if (given_params, given_inputs) != (wanted_params, wanted_inputs) {
            let (wanted, given) = ((wanted_params, wanted_inputs), (given_params, given_inputs));
            return Err(wrong_number(function, wanted, given));
        }
        let (params, inputs) = (params.iter(), batch.columns.iter());
        Ok(Self { function, params, inputs, rows: batch.rows as usize, called: None })
    }

    /// The next parameter.
    ///
    /// # Errors
    /// Where the column given is not one row of `T`.
    pub fn param<T: Param<'a>>(&mut self, name: &'static str) -> Result<T, Failure> {
        T::read(&Slot {
            function: self.function,
            kind: "parameter",
            name,
            column: self.params.next().ok_or_else(|| missing(self.function, name))?,
            rows: 1,
        })
    }

    /// A view of the next input. Unless the function is given nulls, rows that are null here are
    /// left out.
    ///
    /// # Errors
    /// Where the column given is not of `T` or not of the batch's number of rows.
    #[inline]
    pub fn input<T: Input<'a>>(&mut self, name: &'static str) -> Result<T::Reader, Failure> {
        let slot = Slot {
            function: self.function,
            kind: "input",
            name,
            column: self.inputs.next().ok_or_else(|| missing(self.function, name))?,
            rows: self.rows,
        };
        if !T::NULLABLE
            && let Some(valid) = slot.validity()?
        {
            self.called = Some(intersection(self.called.take(), valid));
        }
        T::open(&slot)
    }

    /// Calls `function` for every row that is not left out. The two loops are one in meaning; the
    /// first has no branch, so that simple arithmetic becomes SIMD.
    ///
    /// # Errors
    /// Where the results do not fit into columns.
    #[inline]
    pub fn run<R: Returned>(self, function: impl Fn(usize) -> R) -> Result<Outcome, Failure> {
        let mut results = Results::<R::Outputs>::new(self.rows);
        let Some(called) = self.called else {
            (0..self.rows).for_each(|row| results.put(row, function(row)));
            return results.finish(self.function);
        };
        for (index, byte) in called.iter().enumerate() {
            let start = index * 8;
            if *byte == 0xff && start + 8 <= self.rows {
                (start..start + 8).for_each(|row| results.put(row, function(row)));
                continue;
            }
            for row in start..self.rows.min(start + 8) {
                if bitmap::get(&called, row) {
                    results.put(row, function(row));
                } else {
                    R::Outputs::put_null(&mut results.writers, row);
                }
            }
        }
        results.finish(self.function)
    }
}

/// The rows that are in both bitmaps, where no first bitmap stands for all rows.
fn intersection(called: Option<Vec<u8>>, valid: &[u8]) -> Vec<u8> {
    let Some(mut called) = called else {
        return valid.to_vec();
    };
    called.iter_mut().zip(valid).for_each(|(byte, valid)| *byte &= valid);
    called
}

/// The failure of a call that was given another number of parameters and inputs than it takes.
#[cold]
fn wrong_number(function: &str, wanted: (usize, usize), given: (usize, usize)) -> Failure {
    let (params, inputs) = wanted;
    let (given_params, given_inputs) = given;
    let message = format!(
        "`{function}` was not run: it takes {params} parameters and {inputs} inputs, but was given \
         {given_params} and {given_inputs}"
    );
    Failure { message }
}

/// The failure of a call that was given fewer columns than it takes.
#[cold]
fn missing(function: &str, name: &str) -> Failure {
    Failure { message: format!("`{function}` was not run: `{name}` is missing") }
}

/// The results of the rows so far.
struct Results<O: Outputs> {
    writers: O::Writers,
    errors: Vec<RowError>,
}

impl<O: Outputs> Results<O> {
    #[inline]
    fn new(rows: usize) -> Self {
        Self { writers: O::writers(rows), errors: Vec::new() }
    }

    #[inline]
    fn put(&mut self, row: usize, returned: impl Returned<Outputs = O>) {
        match returned.resolve() {
            Ok(Some(outputs)) => outputs.put(&mut self.writers, row),
            Ok(None) => O::put_null(&mut self.writers, row),
            Err(message) => self.put_error(row, message),
        }
    }

    #[cold]
    fn put_error(&mut self, row: usize, message: String) {
        O::put_null(&mut self.writers, row);
        // A batch counts its rows in 32 bits.
        self.errors.push(RowError { row: row as u32, message });
    }

    fn finish(self, function: &str) -> Result<Outcome, Failure> {
        let columns = O::columns(self.writers).map_err(|reason| Failure {
            message: format!("`{function}` has no result: {reason}"),
        })?;
        Ok(Outcome { columns, errors: self.errors })
    }
}
