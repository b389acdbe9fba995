//! One call of a function over a batch: arguments in, the loop, results out.

use crate::abi::{Batch, Column, Failure, Outcome, RowError};
use crate::bitmap;
use crate::input::{Input, Param};
use crate::output::{Outputs, Returned};
use crate::room::Room;
use crate::rows::{Called, Wanted};
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
    called: Called,
    room: Room,
}

impl<'a> Call<'a> {
    /// A call of `function`, which returns `R`, and whose signature has so many parameters and these
    /// inputs.
    ///
    /// # Errors
    /// Where another number was given, or a bitmap is not of the batch's number of rows.
    #[inline]
    pub fn new<R: Returned>(
        function: &'static str,
        (params, wanted_params): (&'a [Column], usize),
        (batch, wanted_inputs): (&'a mut Batch, &[Wanted]),
    ) -> Result<Self, Failure> {
        let given = (params.len(), batch.columns.len());
        let wanted = (wanted_params, wanted_inputs.len());
        if given != wanted {
            return Err(wrong_number(function, wanted, given));
        }
        let called = Called::of::<R>(function, batch, wanted_inputs)?;
        let room = Room::of(batch);
        let (params, inputs) = (params.iter(), batch.columns.iter());
        Ok(Self { function, params, inputs, called, room })
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

    /// A view of the next input.
    ///
    /// # Errors
    /// Where the column given is not of `T` or not of the batch's number of rows.
    #[inline]
    pub fn input<T: Input<'a>>(&mut self, name: &'static str) -> Result<T::Reader, Failure> {
        T::open(&Slot {
            function: self.function,
            kind: "input",
            name,
            column: self.inputs.next().ok_or_else(|| missing(self.function, name))?,
            rows: self.room.rows,
        })
    }

    /// Calls `function` for every row that is not left out, in runs of such rows: within a run there
    /// is no branch, so that simple arithmetic becomes SIMD.
    ///
    /// # Errors
    /// Where the results do not fit into columns.
    #[inline]
    pub fn run<R: Returned>(self, function: impl Fn(usize) -> R) -> Result<Outcome, Failure> {
        let mut writers = R::Outputs::writers(self.room);
        let mut errors = Vec::new();
        let only = match &self.called {
            Called::Only(rows) => Some(rows.as_slice()),
            Called::All | Called::Filled(_) => None,
        };
        run_rows(only, self.room.rows, function, &mut writers, &mut errors);
        if let Called::Filled(rows) = &self.called {
            R::Outputs::keep(&mut writers, rows);
            errors.retain(|error| bitmap::is_set(rows, error.row as usize));
        }
        finish(self.function, R::Outputs::columns(writers), errors)
    }
}

/// The loop over the rows. It is a function of its own, for then it has the registers to itself.
#[inline(never)]
fn run_rows<R: Returned>(
    called: Option<&[u64]>,
    rows: usize,
    function: impl Fn(usize) -> R,
    writers: &mut <R::Outputs as Outputs>::Writers,
    errors: &mut Vec<RowError>,
) {
    let mut next = 0;
    while next < rows {
        let (run, is_called) = match called {
            None => (next..rows, true),
            Some(called) => bitmap::run(called, next, rows),
        };
        next = run.end;
        if !is_called {
            run.for_each(|row| R::Outputs::put_null(writers, row));
            continue;
        }
        // The one place that calls the function, so that it becomes part of the loop.
        run.for_each(|row| match function(row).resolve() {
            Ok(Some(outputs)) => outputs.put(writers, row),
            Ok(None) => R::Outputs::put_null(writers, row),
            Err(message) => {
                R::Outputs::put_null(writers, row);
                put_error(errors, row, message);
            }
        });
    }
}

/// The outcome of a call that ran to its end.
fn finish(
    function: &str,
    columns: Result<Vec<Column>, String>,
    errors: Vec<RowError>,
) -> Result<Outcome, Failure> {
    let failure = |reason| Failure { message: format!("`{function}` has no result: {reason}") };
    Ok(Outcome { columns: columns.map_err(failure)?, errors })
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

#[cold]
fn put_error(errors: &mut Vec<RowError>, row: usize, message: String) {
    // A batch counts its rows in 32 bits.
    errors.push(RowError { row: row as u32, message });
}
