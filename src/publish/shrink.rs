//! The smallest scenario that still shows a fault: fewest calls, fewest rows, simplest values.

use super::{
    generate::{one, simplest},
    subject::{Fault, Scenario, Subject},
};
use crate::value::{Cell, DataType, Field, NAN_32, NAN_64};

/// Takes away what the fault does not need, until nothing more can go or so much work was done.
pub(super) fn shrink(
    subject: &mut Subject<'_>,
    scenario: Scenario,
    fault: Fault,
    work: u64,
) -> (Scenario, Fault) {
    let end = subject.work.saturating_add(work);
    let mut search = Search { subject, scenario, fault, end };
    search.drop_what_came_after();
    while search.fewer_calls() | search.fewer_rows() | search.simpler_values() {}
    (search.scenario, search.fault)
}

struct Search<'a, 'b> {
    subject: &'a mut Subject<'b>,
    scenario: Scenario,
    fault: Fault,
    /// The work at which the search ends.
    end: u64,
}

impl Search<'_, '_> {
    /// Goes on with the candidate if it shows a fault of the same kind.
    fn accept(&mut self, candidate: Scenario) -> bool {
        if self.is_over() {
            return false;
        }
        let same = std::mem::discriminant(&self.fault);
        match self.subject.judge(&candidate) {
            Some(fault) if std::mem::discriminant(&fault) == same => {
                (self.scenario, self.fault) = (candidate, fault);
                true
            }
            _ => false,
        }
    }

    fn is_over(&self) -> bool {
        self.subject.work >= self.end
    }

    /// Calls in instances of their own need no others; what comes behind is not needed at all.
    fn drop_what_came_after(&mut self) {
        let (Fault::Differs { call, .. }
        | Fault::NoAnswer { call, .. }
        | Fault::Endless { call, .. }) = self.fault;
        let mut candidate = self.scenario.clone();
        candidate.calls.truncate(call + 1);
        if !candidate.kept {
            candidate.calls.drain(..call);
        }
        self.accept(candidate);
        let fault_row = match self.fault {
            Fault::Differs { row, .. } | Fault::Endless { row, .. } => row,
            Fault::NoAnswer { .. } => return,
        };
        let mut alone = self.scenario.clone();
        if let Some(last) = alone.calls.last_mut() {
            last.truncate(fault_row + 1);
            last.drain(..fault_row);
        }
        self.accept(alone);
    }

    fn fewer_calls(&mut self) -> bool {
        let mut better = false;
        let mut size = self.scenario.calls.len() / 2;
        while size > 0 {
            let mut start = 0;
            let calls = |search: &Self| search.scenario.calls.len();
            while start < calls(self) && calls(self) > size && !self.is_over() {
                let mut candidate = self.scenario.clone();
                let stop = (start + size).min(candidate.calls.len());
                candidate.calls.drain(start..stop);
                match self.accept(candidate) {
                    true => better = true,
                    false => start += size,
                }
            }
            size /= 2;
        }
        better
    }

    fn fewer_rows(&mut self) -> bool {
        let mut better = false;
        for call in 0..self.scenario.calls.len() {
            let mut size = self.scenario.calls[call].len() / 2;
            while size > 0 {
                let mut start = 0;
                let rows = |search: &Self| search.scenario.calls[call].len();
                while start < rows(self) && rows(self) > size && !self.is_over() {
                    let mut candidate = self.scenario.clone();
                    let stop = (start + size).min(candidate.calls[call].len());
                    candidate.calls[call].drain(start..stop);
                    match self.accept(candidate) {
                        true => better = true,
                        false => start += size,
                    }
                }
                size /= 2;
            }
        }
        better
    }

    fn simpler_values(&mut self) -> bool {
        let signature = self.subject.signature();
        let mut better = false;
        for (place, field) in signature.params.iter().enumerate() {
            better |= self.simpler(field, |scenario| &mut scenario.params[place]);
        }
        for call in 0..self.scenario.calls.len() {
            for row in 0..self.scenario.calls[call].len() {
                for (place, field) in signature.inputs.iter().enumerate() {
                    better |= self.simpler(field, |scenario| &mut scenario.calls[call][row][place]);
                }
            }
        }
        better
    }

    fn simpler(&mut self, field: &Field, cell: impl Fn(&mut Scenario) -> &mut Cell) -> bool {
        // Looked at first: a candidate is a copy of all rows.
        if self.is_over() {
            return false;
        }
        let current = cell(&mut self.scenario).clone();
        candidates(&current, field.data_type).into_iter().any(|simpler| {
            let mut candidate = self.scenario.clone();
            *cell(&mut candidate) = simpler;
            self.accept(candidate)
        })
    }
}

/// Simpler values than this one, the simplest first.
fn candidates(cell: &Cell, data_type: DataType) -> Vec<Cell> {
    let mut candidates = vec![simplest(data_type), one(data_type)];
    match cell {
        Cell::Float32(bits) if f32::from_bits(*bits).is_nan() => {
            candidates.push(Cell::Float32(NAN_32))
        }
        Cell::Float64(bits) if f64::from_bits(*bits).is_nan() => {
            candidates.push(Cell::Float64(NAN_64))
        }
        Cell::Float32(bits) => {
            candidates.push(Cell::Float32(f32::from_bits(*bits).trunc().to_bits()));
        }
        Cell::Float64(bits) => {
            candidates.push(Cell::Float64(f64::from_bits(*bits).trunc().to_bits()));
            candidates.push(Cell::Float64((f64::from_bits(*bits) / 2.0).trunc().to_bits()));
        }
        Cell::Int32(x) => candidates.push(Cell::Int32(x / 2)),
        Cell::Int64(x) => candidates.push(Cell::Int64(x / 2)),
        Cell::Date(x) => candidates.push(Cell::Date(x / 2)),
        Cell::Timestamp(x) => candidates.push(Cell::Timestamp(x / 2)),
        Cell::Utf8(text) => {
            let middle = text.floor_char_boundary(text.len() / 2);
            let mut shorter = text.clone();
            shorter.pop();
            let halves = [&text[..middle], &text[middle..], &shorter];
            candidates.extend(halves.map(|half| Cell::Utf8(half.to_owned())));
        }
        Cell::Binary(bytes) => {
            let (one, two) = bytes.split_at(bytes.len() / 2);
            candidates.extend([one, two].map(|half| Cell::Binary(half.to_vec())));
        }
        Cell::List(items) => {
            let (one, two) = items.split_at(items.len() / 2);
            candidates.extend([one, two].map(|half| Cell::List(half.to_vec())));
            let first = items.first().zip(data_type.item());
            for item in first.map_or(vec![], |(item, of)| self::candidates(item, of)) {
                let rest = items[1..].iter().cloned();
                candidates.push(Cell::List(std::iter::once(item).chain(rest).collect()));
            }
        }
        Cell::Null | Cell::Boolean(_) => {}
    }
    // A value is simpler than itself nowhere, nor is one than the simplest: the search ends.
    let place = candidates.iter().position(|candidate| candidate == cell);
    candidates.truncate(place.unwrap_or(candidates.len()));
    candidates
}
