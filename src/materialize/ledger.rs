//! What was materialized, from what, and how far.
//!
//! Ledgers are objects of the registry, one after the other for each view and store. The store
//! itself names the one that speaks of its rows, in a **mark**: a row that is written after the
//! rows and after the ledger. So a ledger never claims rows that are not there: a store that is
//! emptied has no mark, one that is set back to an earlier state names the ledger of that time, and
//! projects with stores of their own may share a registry.

use std::collections::BTreeSet;

use rand::{TryRng as _, rngs::SysRng};
use serde::{Deserialize, Serialize};

use super::{DEFAULT_STORE, PlannedFile};
use crate::{
    digest::Digest,
    error::{Error, Kind, Result},
    offline::SourceFile,
    online::{EntityKeys, JoinKeys, Lookup, OnlineStore, RowBatch, RowVersion, Rows, ViewId},
    registry::{LedgerKey, Registry},
    time::{Span, Timestamp},
    value::{DataType, Field, column_from_json},
};

/// The version of the format.
const FORMAT: u32 = 1;

/// How often a ledger is tried to be written when other runs are faster.
const ATTEMPTS: u32 = 32;

/// How far a view is materialized, and from what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// What was stored: [`super::ViewWriter::definition`]. What was stored under another one is
    /// stale, or lacks columns.
    pub definition: Digest,
    /// How often it was begun anew because another definition may have replaced rows, or rows were
    /// pruned: a run that began before does not add to it.
    #[serde(default)]
    pub resets: u64,
    /// The watermark: every row with an event time up to here was read. None, where no run has
    /// ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<Timestamp>,
    /// When the last run began that ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeded_at: Option<Timestamp>,
    /// After which time what was written may have left the store by itself. None, where it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// The files that were read, as they were.
    pub files: Vec<ReadFile>,
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// The file, as it was.
    #[serde(flatten)]
    pub file: SourceFile,
    /// Every row of it that is visible at this moment was read.
    pub through: Timestamp,
    /// No row of it becomes visible after this moment, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
}

impl ReadFile {
    /// A file that was read up to a moment.
    pub(super) fn of(planned: &PlannedFile, through: Timestamp) -> Self {
        Self { file: planned.file.clone(), through, last: planned.last }
    }

    /// Whether every row that is visible at a moment was read.
    pub(super) fn is_read_up_to(&self, moment: Timestamp) -> bool {
        self.through >= moment || self.last.is_some_and(|last| last <= self.through)
    }
}

impl Ledger {
    /// The ledger of a run that begins with nothing: no file is said to be read. How far the view
    /// was materialized before stays true, if that was by the same definition.
    pub(super) fn begun(definition: Digest, was: Option<&Self>) -> Self {
        let same = was.filter(|was| was.definition == definition);
        let resets = was.map_or(0, |was| was.resets.wrapping_add(u64::from(same.is_none())));
        Self {
            definition,
            resets,
            through: same.and_then(|was| was.through),
            succeeded_at: same.and_then(|was| was.succeeded_at),
            ttl: None,
            files: Vec::new(),
        }
    }

    /// What stays of it where another definition may have replaced rows that it speaks of, or kept
    /// them from being written.
    pub(super) fn reset(&self) -> Self {
        Self { resets: self.resets.wrapping_add(1), ..Self::begun(self.definition, None) }
    }

    /// Whether a run that began with `began` may add to it.
    pub(super) fn goes_on_from(&self, began: &Self) -> bool {
        (self.definition, self.resets) == (began.definition, began.resets)
    }

    /// Whether rows may have left the store that would still be there, had all been written with
    /// this ttl.
    pub(super) fn may_lack_rows(&self, ttl: Option<Span>) -> bool {
        self.ttl.is_some_and(|was| ttl.is_none_or(|now| now.0 > was.0))
    }

    /// Takes down that files were read up to a moment. One that was read from another moment on is
    /// left as it is, unless it is said to be read up to there: a run that began from nothing
    /// meanwhile says so of none.
    pub(super) fn add(&mut self, group: &[PlannedFile], through: Timestamp) {
        let is_whole = |planned: &&PlannedFile| {
            planned.from.is_none_or(|from| {
                let same = self.files.iter().find(|read| read.file == planned.file);
                same.is_some_and(|read| read.is_read_up_to(from))
            })
        };
        let read = group.iter().filter(is_whole).map(|planned| ReadFile::of(planned, through));
        let read: Vec<_> = read.collect();
        self.files.retain(|file| read.iter().all(|read| read.file.path != file.file.path));
        self.files.extend(read);
        self.files.sort_by(|one, other| one.file.path.cmp(&other.file.path));
    }

    /// Takes down that a run is at its end, which began at `now` and found these files.
    pub(super) fn finish(&mut self, found: &BTreeSet<&str>, to: Timestamp, now: Timestamp) {
        self.files.retain(|read| found.contains(read.file.path.as_str()));
        for read in &mut self.files {
            if read.is_read_up_to(to) {
                read.through = read.through.max(to);
            }
        }
        // Another run may have begun from nothing meanwhile, and not be at its end.
        if self.files.len() == found.len() {
            self.through = self.files.iter().map(|read| read.through).min();
            self.succeeded_at = Some(now);
        }
    }
}

/// A ledger as the registry has it.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    format: u32,
    /// Random: the mark that names this ledger has it too.
    id: String,
    #[serde(flatten)]
    ledger: Ledger,
}

/// What a store says of the ledger that speaks of it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    sequence: u64,
    id: String,
}

/// The ledgers of one view in one store.
#[derive(Debug)]
pub struct Ledgers<'a> {
    registry: &'a Registry,
    store: &'a dyn OnlineStore,
    key: LedgerKey,
    mark: ViewId,
    /// The number of the last ledger that the store named: it never names an older one, unless it
    /// lost what was written to it.
    seen: u64,
}

impl<'a> Ledgers<'a> {
    /// The ledgers of a view in the store called `name`; `None` is the one of views that name none.
    pub fn new(
        project: &str,
        view: &str,
        registry: &'a Registry,
        name: Option<&str>,
        store: &'a dyn OnlineStore,
    ) -> Self {
        Self {
            registry,
            store,
            key: key(view, name),
            // No view can be called so.
            mark: ViewId::of(project, &format!("{view}:ledger")),
            seen: 0,
        }
    }

    /// The ledger that speaks of what is stored, if there is one.
    ///
    /// # Errors
    /// Those of the store and of the registry; [`crate::error::Kind::Corrupt`] when it is no
    /// ledger, [`crate::error::Kind::Unavailable`] when the store lost what was written to it since
    /// it was asked the last time.
    pub async fn current(&mut self) -> Result<Option<Ledger>> {
        match self.mark().await? {
            Some(mark) => self.of(&mark).await,
            None => Ok(None),
        }
    }

    /// Writes the ledger that `next` makes of the current one, and gives it back. Where another run
    /// was faster, or may have been, `next` is asked again about what that one wrote.
    ///
    /// # Errors
    /// Those of `next`, and of [`Ledgers::current`], but for ledgers that are none: `next` is told
    /// of those; [`crate::error::Kind::Conflict`] when others were faster time and again.
    pub async fn write(
        &mut self,
        mut next: impl FnMut(Result<Option<Ledger>>) -> Result<Ledger>,
    ) -> Result<Ledger> {
        for _ in 0..ATTEMPTS {
            let last = self.registry.last_ledger(&self.key).await?;
            let mark = self.mark().await?;
            let current = match &mark {
                Some(mark) => self.of(mark).await,
                None => Ok(None),
            };
            let entry = Entry { format: FORMAT, id: random_id()?, ledger: next(current)? };
            let sequence = 1 + last.max(self.seen);
            // A ledger that was made of an older one must not be named after one that was made of
            // the same. So of two runs, each shows its ledger before it looks for the other's mark,
            // and its mark before it looks for the other's ledger: one of them sees the other.
            let created = self.registry.create_ledger(&self.key, sequence, &entry).await?;
            if created && self.mark().await? == mark {
                self.set_mark(&Mark { sequence, id: entry.id }).await?;
                if self.registry.last_ledger(&self.key).await? == sequence {
                    self.registry.prune_ledgers(&self.key, sequence).await?;
                    return Ok(entry.ledger);
                }
            }
        }
        Err(Error::conflict(format!(
            "the ledger of view {} not written: other runs were faster {ATTEMPTS} times",
            self.key.view
        )))
    }

    /// Makes the store name no ledger: a run starts from the beginning then.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn forget(&mut self) -> Result<()> {
        self.store.delete(self.mark, Rows::All).await?;
        self.seen = 0;
        Ok(())
    }

    async fn of(&self, mark: &Mark) -> Result<Option<Ledger>> {
        let entry = self.registry.ledger(&self.key, mark.sequence).await;
        let entry: Option<Entry> = entry.map_err(|error: Error| match error.kind() {
            Kind::Corrupt => {
                error.with_hint("unskew materialize without --incremental writes it anew")
            }
            _ => error,
        })?;
        // One with another id speaks of another store.
        let entry = entry.filter(|entry| entry.id == mark.id && entry.format == FORMAT);
        Ok(entry.map(|entry| entry.ledger))
    }

    async fn mark(&mut self) -> Result<Option<Mark>> {
        let (views, keys) = ([self.mark], mark_key()?);
        let found = self.store.read(&[Lookup { views: &views, keys: &keys }]).await?;
        // Whatever else is there names no ledger.
        let row = found.first().and_then(|rows| rows.view(0).next().flatten());
        let mark: Option<Mark> = row.and_then(|row| serde_json::from_slice(row.value).ok());
        let sequence = mark.as_ref().map_or(0, |mark| mark.sequence);
        if sequence < self.seen {
            return Err(Error::unavailable(format!(
                "the online store lost rows of view {} while they were written",
                self.key.view
            ))
            .with_hint("run it again: it starts from what the store still has"));
        }
        self.seen = sequence;
        Ok(mark)
    }

    /// Of several marks the one with the greatest number stays.
    async fn set_mark(&mut self, mark: &Mark) -> Result<()> {
        let value = serde_json::to_vec(mark)
            .map_err(|error| Error::internal(format!("a mark cannot be written: {error}")))?;
        let event = Timestamp(i64::try_from(mark.sequence).unwrap_or(i64::MAX));
        let version = RowVersion { event, created: None, content: 0 };
        let keys = mark_key()?;
        let mut rows = RowBatch::with_capacity(1, value.len());
        for key in keys.iter().flatten() {
            rows.push(key, version, |out| out.extend_from_slice(&value));
        }
        self.store.write(self.mark, rows, None).await?;
        self.seen = self.seen.max(mark.sequence);
        Ok(())
    }
}

/// What the ledgers of a view in a store are kept under.
pub(super) fn key(view: &str, store: Option<&str>) -> LedgerKey {
    LedgerKey { store: store.unwrap_or(DEFAULT_STORE).to_owned(), view: view.to_owned() }
}

/// The key under which a store keeps a mark.
fn mark_key() -> Result<EntityKeys> {
    let field = Field {
        name: "ledger".to_owned(),
        data_type: DataType::Utf8,
        nullable: false,
        documentation: String::new(),
    };
    let column = column_from_json(&["mark".into()], DataType::Utf8)?;
    JoinKeys::new(vec![field])?.keys(&[column])
}

fn random_id() -> Result<String> {
    let random = SysRng.try_next_u64();
    random
        .map(|random| format!("{random:016x}"))
        .map_err(|error| Error::unavailable(format!("this machine gives no randomness: {error}")))
}
