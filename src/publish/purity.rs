//! The purity test: whatever way calls are made, a row gives what it gives alone.
//!
//! What it can prove is that a function is *not* pure, by a counterexample. That none was found
//! among the rows tried is evidence and no proof: a function could look for a value that no
//! generator makes. What makes such a function harmless all the same is the sandbox, which gives
//! every call a fresh instance and only the canonical NaN.

use super::{
    Budget,
    counterexample::Refusal,
    generate::{Random, other_nan, params, rows},
    shrink::shrink,
    subject::{Alone, Given, Profile, Scenario, Subject},
};
use crate::{
    value::{Cell, Row},
    wasm::Nan,
};

/// Rows under one set of params.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) params: Row,
    pub(super) rows: Vec<Row>,
}

/// A row alone, and what it gave.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) params: Row,
    pub(super) row: Row,
    pub(super) alone: Alone,
}

/// Runs the rows of the author's cases and generated ones in every way, and gives what they gave.
///
/// # Errors
/// The smallest counterexample found.
pub(super) fn test(
    subject: &mut Subject<'_>,
    budget: &Budget,
    cases: Vec<Sample>,
) -> Result<Vec<Tried>, Refusal> {
    let mut random = Random::new(budget.seed);
    let signature = subject.signature();
    let sets = params(&signature.params, budget.params, &mut random);
    let count = budget.rows.div_ceil(sets.len());
    let generated = sets.into_iter().map(|params| {
        let rows = rows(&signature.inputs, count, &mut random);
        Sample { params, rows }
    });
    let samples: Vec<_> = cases.into_iter().chain(generated.collect::<Vec<_>>()).collect();
    let mut tried = Vec::new();
    let each = budget.instructions / samples.len() as u64;
    for sample in samples {
        let alone = tried_alone(subject, budget, each, &sample)?;
        for scenario in scenarios(subject, budget, &alone, &mut random) {
            check(subject, budget, scenario)?;
        }
        tried.extend(alone);
    }
    Ok(tried)
}

/// Refuses the function if a scenario shows a fault.
fn check(subject: &mut Subject<'_>, budget: &Budget, scenario: Scenario) -> Result<(), Refusal> {
    match subject.judge(&scenario) {
        None => Ok(()),
        Some(fault) => {
            let (scenario, fault) = shrink(subject, scenario, fault, budget.shrinking);
            Err(Refusal::of(subject, scenario, fault))
        }
    }
}

/// How many times the instructions of all rows alone the ways to call take together, about.
const WAYS: u64 = 32;

/// Rows that are tried however much they take.
const LEAST_ROWS: usize = 8;

/// What rows give alone; of rows that take much, the first ones only.
fn tried_alone(
    subject: &mut Subject<'_>,
    budget: &Budget,
    instructions: u64,
    sample: &Sample,
) -> Result<Vec<Tried>, Refusal> {
    let Sample { params, rows } = sample;
    let mut used = 0;
    let mut tried = Vec::new();
    for row in rows {
        match subject.alone(params, row) {
            Ok(None) => continue,
            Ok(Some(alone)) => {
                used += alone.instructions.unwrap_or_default();
                let (params, row) = (params.clone(), row.clone());
                tried.push(Tried { params, row, alone });
            }
            Err(_) => {
                let calls = vec![vec![row.clone()]];
                check(subject, budget, scenario(Profile::Strict, false, params, calls))?;
            }
        }
        if used > instructions / WAYS && tried.len() >= LEAST_ROWS {
            break;
        }
    }
    Ok(tried)
}

fn scenario(profile: Profile, kept: bool, params: &Row, calls: Vec<Vec<Row>>) -> Scenario {
    Scenario { profile, nan: Nan::Canonical, kept, params: params.clone(), calls }
}

/// Every way to call, as far as the limits have room for the rows of a call.
fn scenarios(
    subject: &mut Subject<'_>,
    budget: &Budget,
    tried: &[Tried],
    random: &mut Random,
) -> Vec<Scenario> {
    let Some(Tried { params, .. }) = tried.first() else { return Vec::new() };
    let stops = |tried: &&Tried| matches!(tried.alone.given, Given::Stopped(_));
    let stopping: Vec<Row> = tried.iter().filter(stops).map(|tried| tried.row.clone()).collect();
    let ending = tried.iter().filter(|tried| !stops(tried));
    let rows: Vec<Row> = ending.clone().map(|tried| tried.row.clone()).collect();
    let all = tried.iter().map(|tried| vec![tried.row.clone()]).collect();
    let mut scenarios = vec![scenario(Profile::Standard, false, params, all)];
    for profile in [Profile::Standard, Profile::Strict] {
        let permuted: Vec<Row> =
            random.permutation(rows.len()).into_iter().map(|place| rows[place].clone()).collect();
        let doubled = rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
        let mut fresh = vec![rows.clone(), permuted.clone(), doubled];
        for size in budget.batches {
            fresh.extend(rows.chunks(size).map(<[Row]>::to_vec));
        }
        scenarios.push(scenario(profile, false, params, fresh));
        let mut used = vec![rows.clone(), rows.clone(), permuted.clone()];
        used.extend(permuted.iter().chain(&rows).map(|row| vec![row.clone()]));
        used.extend(permuted.chunks(budget.batches[0]).map(<[Row]>::to_vec));
        scenarios.push(scenario(profile, true, params, used));
        scenarios.extend(raw(profile, params, &rows, random));
        scenarios.extend(stopped(profile, params, &rows, &stopping, budget));
    }
    let instructions = ending.filter_map(|tried| tried.alone.instructions).sum::<u64>();
    let each = instructions / rows.len().max(1) as u64 + 1;
    let affordable = usize::try_from(budget.instructions / WAYS / each).unwrap_or(usize::MAX);
    let columns = subject.signature().inputs.len().max(1);
    let large = budget.large.min(affordable).min(16 * budget.large / columns);
    if large > rows.len() {
        let large = rows.iter().cycle().take(large).cloned().collect();
        scenarios.push(scenario(Profile::Standard, false, params, vec![large]));
    }
    for Scenario { profile, params, calls, .. } in &mut scenarios {
        let cut = |rows| subject.cut(*profile, params, rows);
        *calls = std::mem::take(calls).into_iter().flat_map(cut).collect();
    }
    scenarios
}

/// Rows with other NaNs than the canonical one, which are to make no difference.
fn raw(profile: Profile, params: &Row, rows: &[Row], random: &mut Random) -> Vec<Scenario> {
    let has_nan = |cells: &Row| cells.iter().any(Cell::has_nan);
    let nans: Vec<&Row> = rows.iter().filter(|row| has_nan(row) || has_nan(params)).collect();
    let mut other =
        |cells: &Row| -> Row { cells.iter().map(|cell| other_nan(cell, random)).collect() };
    let mut scenarios = Vec::new();
    for _ in 0..4 * usize::from(!nans.is_empty()) {
        let params = other(params);
        let whole: Vec<Row> = nans.iter().map(|row| other(row)).collect();
        let calls = std::iter::once(whole.clone()).chain(whole.into_iter().map(|row| vec![row]));
        let scenario = scenario(profile, false, &params, calls.collect());
        scenarios.push(Scenario { nan: Nan::Raw, ..scenario });
    }
    scenarios
}

/// Rows that are stopped alone are stopped among others too, and in an instance that was used.
fn stopped(
    profile: Profile,
    params: &Row,
    rows: &[Row],
    stopping: &[Row],
    budget: &Budget,
) -> Vec<Scenario> {
    let Some(good) = rows.first() else { return Vec::new() };
    let stopping = stopping.iter().take(budget.stopped);
    let calls = |stop: &Row| {
        let among = vec![vec![good.clone(), stop.clone(), good.clone()]];
        let after = vec![vec![good.clone()], vec![stop.clone()]];
        [scenario(profile, false, params, among), scenario(profile, true, params, after)]
    };
    stopping.flat_map(calls).collect()
}
