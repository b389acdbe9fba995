//! Two versions of a function over the same rows: what changes, by how much, and for whom.

mod data;
mod outputs;
mod reach;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use serde::Serialize;

use crate::{
    error::{Error, Result},
    evaluate::Evaluation,
    value::{Field, show_row},
};
pub use data::Data;
pub use outputs::OutputChange;
use outputs::Outputs;
pub use reach::{Reach, reach};
use rows::{Given, run};

/// Rows of each kind of change that are shown.
const EXAMPLES: usize = 5;

/// What two functions give for the same rows.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Rows that both were given.
    pub rows: u64,
    /// Rows for which anything is different: a value, bit for bit, or an error.
    pub changed: u64,
    /// Rows that only the second one has no value for: a row error, or a call that fails.
    pub errors_appear: u64,
    /// Rows that only the first one has no value for.
    pub errors_vanish: u64,
    /// Rows that neither has a value for, in other words.
    pub errors_change: u64,
    /// The outputs that both have.
    pub outputs: Vec<OutputChange>,
    /// Outputs that only one has, or that are of another type, in words.
    pub signature: Vec<String>,
    /// Some of the rows that change: the first ones of each kind of change.
    pub examples: Vec<Example>,
}

/// A row that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Its place in the data, from 0.
    pub row: u64,
    /// What goes in: `input = value`, of the first function.
    pub inputs: String,
    /// What the first one gives.
    pub before: String,
    /// What the second one gives.
    pub after: String,
}

impl Difference {
    /// Whether both give the same, and have the same outputs.
    pub fn is_none(&self) -> bool {
        self.changed == 0 && self.signature.is_empty()
    }
}

/// Two functions that are compared, batch by batch.
#[derive(Debug)]
pub struct Comparison<'a> {
    before: &'a Evaluation,
    after: &'a Evaluation,
    outputs: Outputs,
    difference: Difference,
    /// How many examples there are of each kind of change.
    shown: BTreeMap<&'static str, usize>,
}

impl<'a> Comparison<'a> {
    /// A comparison of two functions, both of which give all their outputs under their names.
    pub fn new(before: &'a Evaluation, after: &'a Evaluation) -> Self {
        let (outputs, signature) = Outputs::of(before.fields(), after.fields());
        let difference = Difference { signature, ..Difference::default() };
        Self { before, after, outputs, difference, shown: BTreeMap::new() }
    }

    /// Gives both the rows of a batch.
    ///
    /// # Errors
    /// Those of [`Evaluation::run`], but for what fails because of a row.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let (before, after) = (run(self.before, batch)?, run(self.after, batch)?);
        if before.len() != after.len() {
            return Err(Error::internal("two functions gave different numbers of rows"));
        }
        for (row, (before, after)) in before.iter().zip(&after).enumerate() {
            let place = self.difference.rows;
            self.difference.rows += 1;
            if let Some(kind) = self.compare(before, after) {
                self.difference.changed += 1;
                self.example(place, kind, (batch, row), before, after)?;
            }
        }
        Ok(())
    }

    /// What was found.
    pub fn finish(self) -> Difference {
        Difference { outputs: self.outputs.finish(), ..self.difference }
    }

    /// Counts a row; its kind of change, if it changes.
    fn compare(&mut self, before: &Given, after: &Given) -> Option<&'static str> {
        match (before, after) {
            (Given::Values(before), Given::Values(after)) => {
                self.outputs.compare(before, after).then_some("values")
            }
            (Given::Values(_), Given::Nothing(_)) => {
                self.difference.errors_appear += 1;
                Some("an error appears")
            }
            (Given::Nothing(_), Given::Values(_)) => {
                self.difference.errors_vanish += 1;
                Some("an error vanishes")
            }
            (Given::Nothing(one), Given::Nothing(two)) if one != two => {
                self.difference.errors_change += 1;
                Some("an error changes")
            }
            _ => None,
        }
    }

    /// Keeps the row as an example, where there is room for one of its kind.
    fn example(
        &mut self,
        place: u64,
        kind: &'static str,
        (batch, row): (&RecordBatch, usize),
        before: &Given,
        after: &Given,
    ) -> Result<()> {
        let shown_before = self.shown.entry(kind).or_default();
        if *shown_before >= EXAMPLES {
            return Ok(());
        }
        *shown_before += 1;
        let inputs = rows::inputs(self.before, batch, row)?;
        let example = Example {
            row: place,
            inputs,
            before: shown(before, self.before.fields()),
            after: shown(after, self.after.fields()),
        };
        self.difference.examples.push(example);
        Ok(())
    }
}

fn shown(given: &Given, fields: &[Field]) -> String {
    match given {
        Given::Values(row) => show_row(fields, row),
        Given::Nothing(reason) => reason.clone(),
    }
}
