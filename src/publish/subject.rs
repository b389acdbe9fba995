//! A function under test: run in every way that calls can be made, one oracle for all of them.

use std::collections::HashMap;

use arrow::array::ArrayRef;

use super::load::Load;
use crate::{
    error::{Error, Kind, Result},
    value::{Cell, Field, Function, Row, column_from_cells},
    wasm::{Nan, Outcome, Stop, Transform, Trial},
};

/// Which engine runs a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    /// That of every path of a value.
    Standard,
    /// That of the check: NaN canonical in every operation, instructions counted.
    Strict,
}

/// Calls to make, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Scenario {
    pub(super) profile: Profile,
    pub(super) nan: Nan,
    /// Whether all calls are made in one instance; each has its own otherwise.
    pub(super) kept: bool,
    pub(super) params: Row,
    /// The rows of each call.
    pub(super) calls: Vec<Vec<Row>>,
}

/// What a function gives for a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    /// A value for each output.
    Values(Row),
    /// A row error.
    Error(String),
    /// Nothing: the call was stopped.
    Stopped(String),
}

/// A row alone in a fresh instance under the strict profile: what every other way has to give.
#[derive(Debug, Clone)]
pub(super) struct Alone {
    pub(super) given: Given,
    /// Nothing where the call was stopped.
    pub(super) instructions: Option<u64>,
    /// Nothing is known, and 0, where the call was stopped.
    pub(super) memory_bytes: u64,
}

/// A call takes as much as so many rows, and one without an end as so many.
const CALL: u64 = 16;
const ENDLESS: u64 = 100_000;

/// The reason of a failed call, without the name of the function.
pub(super) fn reason(error: &Error) -> String {
    let message = error.message();
    message.split_once(" failed: ").map_or(message, |(_, reason)| reason).to_owned()
}

fn is_full(trial: &Trial<'_>) -> bool {
    trial.stopped() == Some(Stop::Full)
}

/// What is wrong with a function.
#[derive(Debug, Clone)]
pub(super) enum Fault {
    /// A row has another result than alone.
    Differs { call: usize, row: usize, given: Given, alone: Given },
    /// A call is answered with what is no answer.
    NoAnswer { call: usize, error: Error },
    /// A row alone does not end.
    Endless { call: usize, row: usize },
}

/// The function, in both engines.
pub(super) struct Subject<'a> {
    pub(super) standard: &'a Transform,
    pub(super) strict: &'a Transform,
    pub(super) function: usize,
    /// What a call may take under the strict profile.
    instructions: u64,
    /// What is known of rows alone, by params and row.
    known: HashMap<Row, std::result::Result<Alone, Fault>>,
    /// The calls made so far.
    pub(super) calls: u64,
    /// What they took, about, in rows.
    pub(super) work: u64,
    /// The most memory that one of them took.
    pub(super) memory_bytes: u64,
}

impl<'a> Subject<'a> {
    /// The function of this place; its calls may take so many instructions under the strict
    /// profile.
    pub(super) fn new(
        standard: &'a Transform,
        strict: &'a Transform,
        function: usize,
        instructions: u64,
    ) -> Self {
        let known = HashMap::new();
        Self { standard, strict, function, instructions, known, calls: 0, work: 0, memory_bytes: 0 }
    }

    pub(super) fn signature(&self) -> &'a Function {
        &self.standard.functions()[self.function]
    }

    /// A row alone; none where it is over the limits of a call.
    pub(super) fn alone(
        &mut self,
        params: &Row,
        row: &Row,
    ) -> std::result::Result<Option<Alone>, Fault> {
        let key: Row = params.iter().chain(row).cloned().collect();
        if let Some(known) = self.known.get(&key) {
            return known.clone().map(Some);
        }
        let alone = match self.call_alone(params, row) {
            Err(error) if error.kind() == Kind::Limit => return Ok(None),
            Err(error) => Err(Fault::NoAnswer { call: 0, error }),
            Ok((_, Some(Stop::Endless), _)) => Err(Fault::Endless { call: 0, row: 0 }),
            Ok((given, _, outcome)) => Ok(Alone {
                given,
                instructions: outcome.as_ref().and_then(|outcome| outcome.instructions),
                memory_bytes: outcome.map_or(0, |outcome| outcome.memory_bytes),
            }),
        };
        self.known.insert(key, alone.clone());
        alone.map(Some)
    }

    fn call_alone(
        &mut self,
        params: &Row,
        row: &Row,
    ) -> Result<(Given, Option<Stop>, Option<Outcome>)> {
        let mut trial = self.strict.trial(Nan::Canonical)?;
        let rows = std::slice::from_ref(row);
        let (mut given, outcome) = self.call(&mut trial, params, rows)?;
        let given = given.pop().ok_or_else(|| Error::internal("a row has no result"))?;
        Ok((given, trial.stopped(), outcome))
    }

    /// Cuts rows into calls that the limits have room for: as few as can be, and none without rows.
    /// Under the standard profile there is always room for two.
    pub(super) fn cut(&mut self, profile: Profile, params: &Row, rows: Vec<Row>) -> Vec<Vec<Row>> {
        let instructions = match profile {
            // Nobody counts them there.
            Profile::Standard => self.instructions.saturating_mul(2),
            Profile::Strict => self.instructions / 2,
        };
        let empty = Load::of_params(params);
        let mut calls: Vec<Vec<Row>> = Vec::new();
        let mut load = empty;
        for row in rows {
            let alone = self.alone(params, &row).ok().flatten();
            let more = load.with(&row, alone.as_ref());
            let limits = self.standard.limits();
            let is_pair =
                |call: &[Row]| profile == Profile::Standard && call.len() == 1 && limits.rows > 1;
            match calls.last_mut() {
                Some(call) if is_pair(call) || more.fits(limits, instructions) => {
                    load = more;
                    call.push(row);
                }
                _ => {
                    load = empty.with(&row, alone.as_ref());
                    calls.push(vec![row]);
                }
            }
        }
        calls
    }

    /// Whether a call of several rows may end for want of room though none of them alone does.
    fn may_lack_room(&mut self, params: &Row, rows: &[Row]) -> bool {
        let mut load = Load::of_params(params);
        for row in rows {
            let alone = self.alone(params, row).ok().flatten();
            load = load.with(row, alone.as_ref());
        }
        let limits = self.standard.limits();
        rows.len() > 1 && !(load.has_memory(limits) && load.fits(limits, u64::MAX))
    }

    /// The instructions of a call in a fresh instance under the strict profile; none where it is
    /// stopped.
    pub(super) fn instructions(&mut self, params: &Row, rows: &[Row]) -> Result<Option<u64>> {
        let mut trial = self.strict.trial(Nan::Canonical)?;
        let (_, outcome) = self.call(&mut trial, params, rows)?;
        Ok(outcome.and_then(|outcome| outcome.instructions))
    }

    /// One call: what it gives for each row, and the outcome unless it was stopped.
    fn call(
        &mut self,
        trial: &mut Trial<'_>,
        params: &Row,
        rows: &[Row],
    ) -> Result<(Vec<Given>, Option<Outcome>)> {
        let signature = self.signature();
        let (params, inputs) = arrays(signature, params, &rows.iter().collect::<Vec<_>>());
        self.calls += 1;
        self.work += CALL + rows.len() as u64;
        match trial.call(self.function, &params, &inputs, rows.len()) {
            Ok(outcome) => {
                self.memory_bytes = self.memory_bytes.max(outcome.memory_bytes);
                Ok((given(&outcome, &signature.outputs, rows.len()), Some(outcome)))
            }
            Err(error) if trial.stopped().is_some() => {
                if trial.stopped() == Some(Stop::Endless) {
                    self.work += ENDLESS;
                }
                let stopped = Given::Stopped(reason(&error));
                Ok((vec![stopped; rows.len()], None))
            }
            Err(error) => Err(error),
        }
    }

    /// What is wrong, if anything is, when calls are made in this way: every row has to give what
    /// it gives alone, and a call is stopped where a row of it alone is. A call that is over the
    /// limits says nothing, and neither does one that ends for want of room and may have too little.
    pub(super) fn judge(&mut self, scenario: &Scenario) -> Option<Fault> {
        let Scenario { profile, nan, kept, params, calls } = scenario;
        if let (Profile::Strict, Nan::Canonical, [rows]) = (profile, nan, calls.as_slice())
            && let [row] = rows.as_slice()
        {
            return self.alone(params, row).err();
        }
        let transform = match profile {
            Profile::Standard => self.standard,
            Profile::Strict => self.strict,
        };
        let mut trial = None;
        for (place, rows) in calls.iter().enumerate() {
            let fault = |error| Some(Fault::NoAnswer { call: place, error });
            let mut opened = match trial.take().map_or_else(|| transform.trial(*nan), Ok) {
                Ok(opened) => opened,
                Err(error) => return fault(error),
            };
            let given = match self.call(&mut opened, params, rows) {
                Ok(_) if is_full(&opened) && self.may_lack_room(params, rows) => None,
                Ok((given, _)) => Some(given),
                Err(error) if error.kind() == Kind::Limit => None,
                Err(error) => return fault(error),
            };
            trial = (*kept && opened.stopped().is_none()).then_some(opened);
            if let Some(given) = given
                && let Some(fault) = self.compare(place, params, rows, &given)
            {
                return Some(fault);
            }
        }
        None
    }

    fn compare(
        &mut self,
        call: usize,
        params: &Row,
        rows: &[Row],
        given: &[Given],
    ) -> Option<Fault> {
        let mut expected = Vec::with_capacity(rows.len());
        for (row, cells) in rows.iter().enumerate() {
            match self.alone(params, cells) {
                Ok(Some(alone)) => expected.push(alone.given),
                Ok(None) => return None,
                Err(Fault::Endless { .. }) => return Some(Fault::Endless { call, row }),
                Err(Fault::NoAnswer { error, .. }) => return Some(Fault::NoAnswer { call, error }),
                Err(fault) => return Some(fault),
            }
        }
        let stops = |given: &&Given| matches!(given, Given::Stopped(_));
        let expected_stop = expected.iter().find(stops);
        if let (Some(stop), Some(first)) = (expected_stop, given.first())
            && matches!(first, Given::Stopped(_))
            && (expected.contains(first) || stop == first)
        {
            return None;
        }
        let row = (0..rows.len()).find(|row| given[*row] != expected[*row])?;
        let (given, alone) = (given[row].clone(), expected[row].clone());
        Some(Fault::Differs { call, row, given, alone })
    }
}

/// Params and rows as the columns of a call.
pub(super) fn arrays(
    signature: &Function,
    params: &Row,
    rows: &[&Row],
) -> (Vec<ArrayRef>, Vec<ArrayRef>) {
    let params = signature.params.iter().zip(params);
    let params = params.map(|(field, cell)| column_from_cells([cell], field.data_type));
    let inputs = signature.inputs.iter().enumerate();
    let inputs = inputs.map(|(place, field)| {
        column_from_cells(rows.iter().map(|row| &row[place]), field.data_type)
    });
    (params.collect(), inputs.collect())
}

/// What an outcome gives for each row.
pub(super) fn given(outcome: &Outcome, outputs: &[Field], rows: usize) -> Vec<Given> {
    let mut errors = outcome.errors.iter().peekable();
    let given = |row: usize| match errors.next_if(|error| error.row as usize == row) {
        Some(error) => Given::Error(error.message.clone()),
        None => {
            let columns = outcome.columns.iter().zip(outputs);
            Given::Values(
                columns.map(|(array, field)| Cell::of(array, row, field.data_type)).collect(),
            )
        }
    };
    (0..rows).map(given).collect()
}
