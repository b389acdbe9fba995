//! What was materialized, from what, and how far.
//!
//! Ledgers are objects of the registry, one after the other for each view and store. The store
//! itself names the one that speaks of its rows, in a **mark**: a row that is written after the
//! rows and after the ledger. So a ledger never claims rows that are not there: a store that is
//! emptied has no mark, one that is set back to an earlier state names the ledger of that time, and
//! projects with stores of their own may share a registry.

use rand::{TryRng as _, rngs::SysRng};
use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    error::{Error, Kind, Result},
    offline::SourceFile,
    online::{EntityKeys, Lookup, OnlineStore, RowBatch, RowVersion, ViewId},
    registry::{LedgerKey, Registry},
    time::Timestamp,
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
    /// Every row with an event time up to here was read; none, where no run has ended.
    pub through: Option<Timestamp>,
    /// The files the rows came from, as they were.
    pub files: Vec<SourceFile>,
}

impl Ledger {
    /// A ledger that nothing can be resumed from: for the time in which rows of another definition
    /// are stored beside those that the ledger before spoke of.
    pub fn unfinished(definition: Digest) -> Self {
        Self { definition, through: None, files: Vec::new() }
    }

    /// From where an incremental run up to `to` may start: the end of the last one (or `to`, if
    /// that is earlier), if neither the definition nor any file has changed since; `None`, the
    /// beginning, otherwise.
    pub fn resume(
        &self,
        definition: &Digest,
        files: &[SourceFile],
        to: Timestamp,
    ) -> Option<Timestamp> {
        let unchanged = self.definition == *definition && self.files == files;
        self.through.filter(|_| unchanged).map(|through| through.min(to))
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
#[derive(Debug, Serialize, Deserialize)]
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
    /// The ledgers of a view in the store called `name`.
    pub fn new(
        project: &str,
        view: &str,
        registry: &'a Registry,
        name: &str,
        store: &'a dyn OnlineStore,
    ) -> Self {
        Self {
            registry,
            store,
            key: LedgerKey { store: name.to_owned(), view: view.to_owned() },
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

    /// Writes the ledger that `next` makes of the current one. Where another run was faster, it is
    /// asked again about what that one wrote.
    ///
    /// # Errors
    /// Those of `next`, and of [`Ledgers::current`], but for ledgers that are none: `next` is told
    /// of those; [`crate::error::Kind::Conflict`] when others were faster time and again.
    pub async fn write(
        &mut self,
        mut next: impl FnMut(Result<Option<Ledger>>) -> Result<Ledger>,
    ) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let mark = self.mark().await?;
            let current = match &mark {
                Some(mark) => self.of(mark).await,
                None => Ok(None),
            };
            let entry = Entry { format: FORMAT, id: random_id()?, ledger: next(current)? };
            let last = self.registry.last_ledger(&self.key).await?;
            let sequence = 1 + last.max(self.seen);
            if self.registry.create_ledger(&self.key, sequence, &entry).await? {
                self.set_mark(&Mark { sequence, id: entry.id }).await?;
                return self.registry.prune_ledgers(&self.key, sequence).await;
            }
        }
        Err(Error::conflict(format!(
            "the ledger of view {} not written: other runs were faster {ATTEMPTS} times",
            self.key.view
        )))
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

/// The key under which a store keeps a mark.
fn mark_key() -> Result<EntityKeys> {
    let field = Field {
        name: "ledger".to_owned(),
        data_type: DataType::Utf8,
        nullable: false,
        documentation: String::new(),
    };
    let column = column_from_json(&["mark".into()], DataType::Utf8)?;
    EntityKeys::encode(&[field], &[column])
}

fn random_id() -> Result<String> {
    let random = SysRng.try_next_u64();
    random
        .map(|random| format!("{random:016x}"))
        .map_err(|error| Error::unavailable(format!("this machine gives no randomness: {error}")))
}
