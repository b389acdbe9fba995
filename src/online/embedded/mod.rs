//! The online store in a folder of this machine: LMDB.
//!
//! Readers take no lock and see one state; there is one writer at a time, in whatever process. So
//! another process can materialize while the server reads. A commit is on the disk when it
//! returns, and a crash leaves the state of the last one.

mod environment;
mod gate;
mod sample;
#[cfg(test)]
mod tests;

use std::{cmp::Reverse, ops::Bound, path::Path, sync::Arc};

use async_trait::async_trait;
use environment::{Environment, Tables};
use heed::{RoTxn, RwTxn, types::Bytes};

use super::{
    Lookup, MAX_ENTITY_KEY, OnlineStore, ReadRows, RowBatch, Rows, StoredRow, ViewId, WriteReport,
};
use crate::{
    error::{Error, Result},
    time::Span,
};

/// How many rows are written or deleted in one transaction: enough to spread the price of a
/// commit (the disk is waited for), few enough that other writers get their turn.
const ROWS_PER_TRANSACTION: usize = 16_384;

/// How an [`EmbeddedStore`] is opened.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Bytes of address space that the store begins with. They cost no memory and no disk; when
    /// they are used up the map is doubled, for which readers of this process wait a moment.
    pub map_size: u64,
    /// Where the doubling ends: the greatest size of the store in bytes.
    pub max_map_size: u64,
    /// How many threads, of all processes together, may have read from the store. The process
    /// that opens it first decides.
    pub max_readers: u32,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self { map_size: 16 << 30, max_map_size: 1 << 40, max_readers: 1024 }
    }
}

/// An [`OnlineStore`] in a folder. Any number of processes may have it open.
#[derive(Debug, Clone)]
pub struct EmbeddedStore {
    environment: Arc<Environment>,
}

impl EmbeddedStore {
    /// Opens the store in a folder of a local disk (a network's file system does not do), and
    /// makes it if it is not there. Where this process has it open already, both share it, with
    /// the options of the first.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) when the folder is none, may not be written
    /// or has a store of another format; [`Kind::Corrupt`](crate::error::Kind::Corrupt) when its
    /// files are no store; [`Kind::Unavailable`](crate::error::Kind::Unavailable) when the disk
    /// fails.
    pub fn open(folder: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self> {
        Environment::open(folder.as_ref(), options).map(|environment| Self { environment })
    }

    /// Does something that waits for the disk where waiting is allowed.
    async fn unhurried<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Environment) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let environment = Arc::clone(&self.environment);
        let done = tokio::task::spawn_blocking(move || work(&environment)).await;
        done.map_err(|error| Error::internal(format!("the online store did not finish: {error}")))?
    }
}

#[async_trait]
impl OnlineStore for EmbeddedStore {
    async fn read(&self, lookups: &[Lookup<'_>]) -> Result<Vec<ReadRows>> {
        // Without spawn_blocking: a read of rows that are in memory is over before another thread
        // would have begun with it.
        read(&self.environment, lookups)
    }

    fn reads_on_the_spot(&self) -> bool {
        true
    }

    /// Rows stay whatever their view's ttl: a disk has room for them.
    async fn write(&self, view: ViewId, rows: RowBatch, _ttl: Option<Span>) -> Result<WriteReport> {
        self.unhurried(move |environment| write(environment, view, &rows)).await
    }

    async fn sample(&self, view: ViewId, limit: usize, seed: u64) -> Result<RowBatch> {
        let sampled = move |environment: &Environment| {
            environment.read(|txn, tables| sample::sample(txn, tables, view, limit, seed))
        };
        self.unhurried(sampled).await
    }

    async fn count(&self, view: ViewId, rows: Rows) -> Result<u64> {
        self.unhurried(move |environment| match rows {
            Rows::All => environment.read(|txn, tables| counted(txn, tables, view)),
            Rows::Outdated(_) => {
                environment.read(|txn, tables| count_among(txn, tables, view, rows))
            }
        })
        .await
    }

    async fn delete(&self, view: ViewId, rows: Rows) -> Result<u64> {
        self.unhurried(move |environment| delete(environment, view, rows)).await
    }
}

fn read(environment: &Environment, lookups: &[Lookup<'_>]) -> Result<Vec<ReadRows>> {
    environment
        .read(|txn, tables| lookups.iter().map(|lookup| look_up(txn, tables, lookup)).collect())
}

/// Finds an entity once, and walks over what it has from the first of the views to the last.
fn look_up(txn: &RoTxn, tables: Tables, lookup: &Lookup<'_>) -> heed::Result<ReadRows> {
    let mut found = ReadRows::nothing(lookup.views.len(), lookup.keys.len());
    let (Some(first), Some(last)) = (lookup.views.iter().min(), lookup.views.iter().max()) else {
        return Ok(found);
    };
    let rows = tables.rows.lazily_decode_data();
    let (mut from, mut to) = (FullKey::default(), FullKey::default());
    for (place, entity) in lookup.keys.iter().enumerate() {
        let Some(entity) = entity else { continue };
        let from = Bound::Included(from.row(entity, *first));
        let range = (from, Bound::Included(to.row(entity, *last)));
        for row in rows.range(txn, &range)? {
            let (key, row) = row?;
            let view = &key[entity.len()..];
            for (at, _) in lookup.views.iter().enumerate().filter(|(_, id)| id.as_bytes() == view) {
                found.put(at, place, row.decode().map_err(heed::Error::Decoding)?);
            }
        }
    }
    Ok(found)
}

fn write(environment: &Environment, view: ViewId, rows: &RowBatch) -> Result<WriteReport> {
    if let Some((key, _)) = rows.iter().find(|(key, _)| key.len() > MAX_ENTITY_KEY) {
        return Err(Error::limit(
            "an entity's key in bytes",
            MAX_ENTITY_KEY as u64,
            0,
            key.len() as u64,
        ));
    }
    // In the order of the keys, the pages of the tree are visited once each. The newest row of a
    // key goes first, so that the report does not depend on the order within the batch.
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_unstable_by_key(|(key, row)| (*key, Reverse(row.version), row.value));
    let mut report = WriteReport::default();
    for chunk in sorted.chunks(ROWS_PER_TRANSACTION) {
        report += environment.write(|txn, tables| write_chunk(txn, tables, view, chunk))?;
    }
    Ok(report)
}

fn write_chunk(
    txn: &mut RwTxn,
    tables: Tables,
    view: ViewId,
    rows: &[(&[u8], StoredRow<'_>)],
) -> heed::Result<WriteReport> {
    let mut report = WriteReport::default();
    let mut added = 0;
    let mut full_key = FullKey::default();
    for (entity, row) in rows {
        let key = full_key.row(entity, view);
        match tables.rows.get(txn, key)? {
            Some(stored) if stored.outlives(row) => report.stale += 1,
            Some(stored) if stored == *row => report.unchanged += 1,
            stored => {
                let is_new = stored.is_none();
                report.written += 1;
                put(txn, tables, key, row)?;
                if is_new {
                    added += 1;
                    tables.entities.put(txn, full_key.entity(view, entity), &())?;
                }
            }
        }
    }
    if added > 0 {
        let count = counted(txn, tables, view)?;
        tables.counts.put(txn, view.as_bytes(), &(count + added))?;
    }
    Ok(report)
}

fn put(txn: &mut RwTxn, tables: Tables, key: &[u8], row: &StoredRow<'_>) -> heed::Result<()> {
    let bytes = tables.rows.remap_data_type::<Bytes>();
    bytes.put_reserved(txn, key, row.stored_len(), |space| row.write_to(space))
}

fn counted(txn: &RoTxn, tables: Tables, view: ViewId) -> heed::Result<u64> {
    Ok(tables.counts.get(txn, view.as_bytes())?.unwrap_or(0))
}

fn count_among(txn: &RoTxn, tables: Tables, view: ViewId, rows: Rows) -> heed::Result<u64> {
    let (mut count, mut full_key) = (0, FullKey::default());
    for entry in tables.entities.prefix_iter(txn, view.as_bytes())? {
        let key = full_key.row(entity_of(entry?.0), view);
        count += u64::from(tables.rows.get(txn, key)?.is_some_and(|row| row.is_among(rows)));
    }
    Ok(count)
}

fn delete(environment: &Environment, view: ViewId, rows: Rows) -> Result<u64> {
    let (mut deleted, mut after) = (0, Some(view.as_bytes().to_vec()));
    while let Some(last) = after {
        let chunk = |txn: &mut RwTxn, tables| delete_chunk(txn, tables, view, rows, &last);
        let (more, next) = environment.write(chunk)?;
        deleted += more;
        after = next;
    }
    Ok(deleted)
}

/// Deletes those that are `rows` out of the first rows of the view after this key of its entities;
/// gives how many, and the last key that was looked at, where there are more.
fn delete_chunk(
    txn: &mut RwTxn,
    tables: Tables,
    view: ViewId,
    rows: Rows,
    after: &[u8],
) -> heed::Result<(u64, Option<Vec<u8>>)> {
    let (mut last, mut looked_at, mut found) = (None, 0, Vec::new());
    let mut full_key = FullKey::default();
    let from = (Bound::Excluded(after), Bound::Unbounded);
    for entry in tables.entities.range(txn, &from)?.take(ROWS_PER_TRANSACTION) {
        let (key, ()) = entry?;
        if !key.starts_with(view.as_bytes()) {
            break;
        }
        looked_at += 1;
        last = Some(key);
        let row = tables.rows.get(txn, full_key.row(entity_of(key), view))?;
        if row.is_some_and(|row| row.is_among(rows)) {
            found.push(key.to_vec());
        }
    }
    let last = last.filter(|_| looked_at == ROWS_PER_TRANSACTION).map(<[u8]>::to_vec);
    for key in &found {
        tables.entities.delete(txn, key)?;
        tables.rows.delete(txn, full_key.row(entity_of(key), view))?;
    }
    let deleted = found.len() as u64;
    let left = counted(txn, tables, view)?.saturating_sub(deleted);
    match (deleted, left) {
        (0, _) => {}
        (_, 0) => drop(tables.counts.delete(txn, view.as_bytes())?),
        _ => tables.counts.put(txn, view.as_bytes(), &left)?,
    }
    Ok((deleted, last))
}

/// A key of the tables, in one buffer after the other.
#[derive(Debug, Default)]
struct FullKey(Vec<u8>);

impl FullKey {
    /// The key of the row that an entity has in a view. No entity's key is the beginning of
    /// another's, so that the rows of an entity lie together.
    fn row(&mut self, entity: &[u8], view: ViewId) -> &[u8] {
        self.join(entity, view.as_bytes())
    }

    /// The key that says that an entity has a row in a view.
    fn entity(&mut self, view: ViewId, entity: &[u8]) -> &[u8] {
        self.join(view.as_bytes(), entity)
    }

    fn join(&mut self, first: &[u8], second: &[u8]) -> &[u8] {
        self.0.clear();
        self.0.extend_from_slice(first);
        self.0.extend_from_slice(second);
        &self.0
    }
}

/// The entity's part of a [`FullKey::entity`].
fn entity_of(key: &[u8]) -> &[u8] {
    key.get(size_of::<ViewId>()..).unwrap_or_default()
}
