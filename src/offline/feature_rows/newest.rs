//! Which row is the newest: the one place that decides between rows.

use std::collections::VecDeque;

use datafusion::common::Result;

use super::{FeatureBatch, Hashes, Position};
use crate::definition::Visible;

/// A feature row that may be the newest.
#[derive(Debug, Clone, Copy)]
pub(in crate::offline) struct Candidate {
    pub(in crate::offline) at: Position,
    pub(in crate::offline) event: i64,
    created: Option<i64>,
    visible: i64,
}

/// Finds the newest row of one entity that can be seen at a moment, for moments that only grow:
/// the one with the greatest event time, among equals the greatest created time (none being the
/// least), among equals still the greatest hash of its content.
///
/// Rows arrive in the order of [`super::Layout::ordering`], so that each is newer than all before it but
/// for the ties that its hash decides. A row that cannot be seen yet waits; it stops waiting when
/// a newer one can be seen no later than itself. So those that wait are ever newer and ever later
/// to be seen, and both arriving and asking take constant time on average.
pub(in crate::offline) struct Newest {
    /// From when on a row can be seen, given its event and created times.
    visible: fn(i64, Option<i64>) -> i64,
    waiting: VecDeque<Candidate>,
    newest: Option<Candidate>,
}

impl Newest {
    /// The newest of the rows that can be seen at a moment.
    pub(in crate::offline) fn visible(mode: Visible) -> Self {
        Self::new(match mode {
            Visible::Event => |event, _| event,
            Visible::Created => {
                |event, created| created.map_or(event, |created| created.max(event))
            }
        })
    }

    /// The newest of all rows, whenever they can be seen.
    pub(in crate::offline) fn of_all() -> Self {
        Self::new(|_, _| i64::MIN)
    }

    fn new(visible: fn(i64, Option<i64>) -> i64) -> Self {
        Self { visible, waiting: VecDeque::new(), newest: None }
    }

    /// Forgets all rows: the next ones are of another entity.
    pub(in crate::offline) fn reset(&mut self) {
        self.waiting.clear();
        self.newest = None;
    }

    /// Takes the row at `at`, which is in `batch`.
    pub(in crate::offline) fn arrive(
        &mut self,
        at: Position,
        batch: &FeatureBatch,
        hashes: &mut Hashes,
    ) -> Result<()> {
        let (event, created) = (batch.event(at.row), batch.created(at.row));
        let visible = (self.visible)(event, created);
        while let Some(last) = self.waiting.back().filter(|last| last.visible >= visible) {
            let tie = (last.event, last.created) == (event, created);
            if tie && hashes.of(last.at)? >= hashes.of(at)? {
                return Ok(());
            }
            self.waiting.pop_back();
        }
        self.waiting.push_back(Candidate { at, event, created, visible });
        Ok(())
    }

    /// The newest row that can be seen at `moment`; all rows with an event time up to it have
    /// arrived, and it is no earlier than the last one asked for.
    pub(in crate::offline) fn at(&mut self, moment: i64) -> Option<Candidate> {
        while let Some(next) = self.waiting.pop_front_if(|next| next.visible <= moment) {
            self.newest = Some(next);
        }
        self.newest
    }

    /// Whether a row of the slot may still be asked for.
    pub(in crate::offline) fn needs(&self, slot: usize) -> bool {
        self.waiting.iter().chain(&self.newest).any(|row| row.at.slot == slot)
    }
}
