//! The join of one partition, without any input or output: batches are pushed in, [`Merge::step`]
//! says what it wants next or gives a batch.

use std::{cmp::Ordering, sync::Arc};

use arrow::{
    array::{Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::SchemaRef,
};
use datafusion::common::{Result, exec_err};

use super::JoinSpec;
use crate::offline::{
    feature_rows::{
        Candidate, FeatureBatch, Hashes, Held, KeyConverter, Keys, Newest, Position, take_times,
    },
    operator::take_columns,
};

/// How many feature batches are kept for entity rows that were matched but not yet given out. Where
/// entity rows are few among the feature rows, smaller batches come out rather than more being
/// kept.
const MAX_HELD: usize = 32;

/// What [`Merge`] wants, or has.
pub(super) enum Step {
    /// It wants entity rows.
    Entities,
    /// It wants feature rows.
    Features,
    /// It has a batch; the next step says what comes after it.
    Output(RecordBatch),
    /// All entity rows have come out.
    Done,
}

/// Counts of what the join met.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// Entity rows that found a row.
    pub(super) matched: usize,
    /// Entity rows whose newest row was too old.
    pub(super) expired: usize,
}

impl Counts {
    /// Where the match of an entity row is: the newest row, unless it is older than `oldest`.
    fn count(&mut self, newest: Option<Candidate>, oldest: i64) -> Option<Position> {
        let newest = newest?;
        if newest.event < oldest {
            self.expired += 1;
            return None;
        }
        self.matched += 1;
        Some(newest.at)
    }
}

/// The join of two sorted sides.
pub(super) struct Merge {
    spec: Arc<JoinSpec>,
    schema: SchemaRef,
    converter: KeyConverter,
    entities: Entities,
    held: Held,
    cursor: Cursor,
    /// What comes out of feature rows, as indices of the layout's columns.
    outputs: Vec<usize>,
    newest: Newest,
    /// The key of the entity rows being joined.
    key: Vec<u8>,
    /// The matches of the entity rows from `entities.given` on.
    matches: Vec<Option<Position>>,
    /// Whether a match is in the slot.
    used: Vec<bool>,
    counts: Counts,
}

#[derive(Default)]
struct Entities {
    batch: Option<EntityBatch>,
    /// The next row to join.
    next: usize,
    /// The first row that has not come out.
    given: usize,
    ended: bool,
}

struct EntityBatch {
    batch: RecordBatch,
    keys: Keys,
    times: TimestampMicrosecondArray,
}

/// How far the feature rows have been read.
#[derive(Default)]
struct Cursor {
    /// The slot of the batch being read; none before the first and after the last.
    slot: Option<usize>,
    /// The next row in it.
    row: usize,
    ended: bool,
}

impl Cursor {
    /// Reads on to the rows of `key`, and lets those up to `moment` arrive; false where that takes
    /// more batches.
    fn read_to(
        &mut self,
        (key, moment): (&[u8], i64),
        held: &Held,
        newest: &mut Newest,
        hashes: &mut Hashes,
    ) -> Result<bool> {
        let batch = self.slot.and_then(|slot| Some((slot, held.get(slot)?)));
        let Some((slot, batch)) = batch else {
            return Ok(self.ended);
        };
        while self.row < batch.len() {
            match batch.keys.get(self.row).cmp(key) {
                Ordering::Less => self.row = batch.keys.seek(self.row + 1, key),
                Ordering::Equal if batch.event(self.row) <= moment => {
                    newest.arrive(Position { slot, row: self.row }, batch, hashes)?;
                    self.row += 1;
                }
                _ => return Ok(true),
            }
        }
        Ok(false)
    }
}

impl Merge {
    /// A join that gives batches of `schema`: the columns of the entity rows, then the outputs.
    pub(super) fn new(spec: Arc<JoinSpec>, schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            converter: spec.layout.key_converter()?,
            outputs: spec.output_columns()?,
            held: Held::new(Arc::clone(&spec.layout)),
            newest: Newest::visible(spec.visible),
            schema,
            entities: Entities::default(),
            cursor: Cursor::default(),
            key: Vec::new(),
            matches: Vec::new(),
            used: Vec::new(),
            counts: Counts::default(),
            spec,
        })
    }

    /// Takes entity rows, or hears that there are no more; after [`Step::Entities`].
    pub(super) fn push_entities(&mut self, batch: Option<RecordBatch>) -> Result<()> {
        let Some(batch) = batch else {
            self.entities.ended = true;
            return Ok(());
        };
        let times = take_times(&batch, &self.spec.time)?;
        if times.null_count() > 0 {
            return exec_err!("{} entity rows have no time", times.null_count());
        }
        let keys = self.converter.convert(&take_columns(&batch, self.spec.layout.keys.keys())?)?;
        (self.entities.next, self.entities.given) = (0, 0);
        self.entities.batch = (!times.is_empty()).then_some(EntityBatch { batch, keys, times });
        Ok(())
    }

    /// Takes feature rows, or hears that there are no more; after [`Step::Features`].
    pub(super) fn push_features(&mut self, batch: Option<RecordBatch>) -> Result<()> {
        let (newest, used) = (&self.newest, &self.used);
        self.held.release(|slot| used[slot] || newest.needs(slot));
        self.cursor = Cursor::default();
        let Some(batch) = batch else {
            self.cursor.ended = true;
            return Ok(());
        };
        let slot = self.held.insert(FeatureBatch::new(&batch, &self.spec.layout, &self.converter)?);
        self.used.resize(self.used.len().max(slot + 1), false);
        self.cursor.slot = Some(slot);
        Ok(())
    }

    /// The bytes of the feature rows that are kept.
    pub(super) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// What was met so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Joins until something is wanted or a batch has come out.
    pub(super) fn step(&mut self) -> Result<Step> {
        let wants_features = !self.join()?;
        let Some(entities) = &self.entities.batch else {
            return Ok(if self.entities.ended { Step::Done } else { Step::Entities });
        };
        let crowded = self.held.count() > MAX_HELD && !self.matches.is_empty();
        if wants_features && !crowded {
            return Ok(Step::Features);
        }
        let rows = entities.batch.slice(self.entities.given, self.matches.len());
        self.give(rows).map(Step::Output)
    }

    /// Joins the rows of the batch; false where that takes more feature rows.
    fn join(&mut self) -> Result<bool> {
        let Some(entities) = &self.entities.batch else {
            return Ok(true);
        };
        let mut hashes = self.held.hashes();
        for row in self.entities.next..entities.times.len() {
            let moment = entities.times.value(row);
            let mut found = None;
            if !entities.keys.is_null(row) {
                let key = entities.keys.get(row);
                if self.key != key {
                    self.newest.reset();
                    self.key.clear();
                    self.key.extend_from_slice(key);
                }
                if !self.cursor.read_to((key, moment), &self.held, &mut self.newest, &mut hashes)? {
                    return Ok(false);
                }
                found = self.newest.at(moment);
            }
            let found = self.counts.count(found, self.spec.oldest(moment));
            if let Some(at) = found {
                self.used[at.slot] = true;
            }
            self.matches.push(found);
            self.entities.next = row + 1;
        }
        Ok(true)
    }

    /// The entity rows that were joined, with what they matched.
    fn give(&mut self, rows: RecordBatch) -> Result<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        columns.extend(self.held.gather(&self.outputs, &self.matches)?);
        self.matches.clear();
        self.used.fill(false);
        self.entities.given = self.entities.next;
        self.entities.batch.take_if(|entities| entities.times.len() == self.entities.given);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
