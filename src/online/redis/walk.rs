//! Walks over the keys of a store, for what is asked of a view as a whole.
//!
//! Redis has no list of the entities that have a row in a view: `SCAN` goes through the keys in the
//! order of a hash table, a page at a time, while everybody else goes on.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
};

use bytes::Bytes;
use redis::{Cmd, cmd};

use super::{
    super::{FingerprintPrefix, RowBatch, Rows, StoredRow, ViewId, scatter::scatter},
    RedisStore,
    answer::Answer,
    layout::Tag,
    router::Commands,
    scripts::DELETE_OUTDATED,
    server::{Lane, Server},
};
use crate::error::{Error, Result};

/// About how many keys a page has: what Redis looks at in one go.
const PAGE: usize = 1000;

/// A walk over the keys of one server.
struct Walk<'a> {
    store: &'a RedisStore,
    server: &'a Server,
    cursor: u64,
}

impl<'a> Walk<'a> {
    fn from(store: &'a RedisStore, server: &'a Server, cursor: u64) -> Self {
        Self { store, server, cursor }
    }

    /// The next keys of entities, and whether there are more: a key that is there all the time is
    /// met at least once between the cursor 0 and the end.
    async fn page(&mut self) -> Result<(Vec<Bytes>, bool)> {
        let mut scan = cmd("SCAN");
        scan.arg(self.cursor).arg("MATCH").arg(self.store.layout.pattern());
        scan.arg("COUNT").arg(PAGE);
        let answer = self.store.router.ask(self.server, scan).await?;
        let Some((cursor, keys)) = read_page(answer) else {
            return Err(self.store.strange(&Answer::Nil));
        };
        self.cursor = cursor;
        let mut keys = keys;
        keys.retain(|key| self.store.layout.entity(key).is_some());
        Ok((keys, cursor != 0))
    }
}

fn read_page(answer: Answer) -> Option<(u64, Vec<Bytes>)> {
    let Answer::Array(parts) = answer else { return None };
    let [Answer::Text(cursor), Answer::Array(keys)] = <[Answer; 2]>::try_from(parts).ok()? else {
        return None;
    };
    let key = |key| match key {
        Answer::Text(key) => Some(key),
        _ => None,
    };
    let cursor = str::from_utf8(&cursor).ok()?.parse().ok()?;
    Some((cursor, keys.into_iter().map(key).collect::<Option<_>>()?))
}

/// Asks the same of every key, one at a time; the answers in the order of the keys.
async fn of_each(
    store: &RedisStore,
    keys: &[Bytes],
    command: impl Fn(&[u8]) -> Cmd,
) -> Result<Vec<Answer>> {
    let mut commands = Commands::with_capacity(keys.len());
    for key in keys {
        let entity = store.layout.entity(key);
        let entity = entity.ok_or_else(|| Error::internal("a key is of no entity"))?;
        commands.push(Tag::of(entity), &command(key));
    }
    match commands.is_empty() {
        true => Ok(Vec::new()),
        false => store.router.run(Lane::Bulk, commands).await,
    }
}

/// A command about one field of a key.
fn of_field(command: &str, key: &[u8], view: ViewId) -> Cmd {
    let mut one = Cmd::new();
    one.arg(command).arg(key).arg(view.as_bytes());
    one
}

/// Whether an answer about one field says yes.
fn is_one(store: &RedisStore, answer: &Answer, view: ViewId, key: &[u8]) -> Result<bool> {
    match answer {
        Answer::Int(count) => Ok(*count == 1),
        Answer::Error(said) => Err(store.explain(said, view, store.layout.entity(key))),
        other => Err(store.strange(other)),
    }
}

/// The keys among these whose row of the view is one of `rows`.
async fn among(
    store: &RedisStore,
    keys: Vec<Bytes>,
    view: ViewId,
    rows: Rows,
) -> Result<Vec<Bytes>> {
    let command = match rows {
        Rows::All => "HEXISTS",
        Rows::Outdated(_) => "HGET",
    };
    let answers = of_each(store, &keys, |key| of_field(command, key, view)).await?;
    let mut among = Vec::with_capacity(keys.len());
    for (key, answer) in keys.into_iter().zip(&answers) {
        let is_among = match answer {
            Answer::Nil => false,
            Answer::Text(row) => StoredRow::parse(row).is_none_or(|row| row.is_among(rows)),
            other => is_one(store, other, view, &key)?,
        };
        if is_among {
            among.push(key);
        }
    }
    Ok(among)
}

pub(super) async fn count(store: &RedisStore, view: ViewId, rows: Rows) -> Result<u64> {
    // A key may be met more than once while the table grows.
    let mut counted: HashSet<u64, BuildHasherDefault<DefaultHasher>> = HashSet::default();
    for server in store.router.masters().await? {
        let mut walk = Walk::from(store, &server, 0);
        let mut more = true;
        while more {
            let (keys, rest) = walk.page().await?;
            more = rest;
            counted.extend(among(store, keys, view, rows).await?.iter().map(|key| hash(key)));
        }
    }
    Ok(counted.len() as u64)
}

pub(super) async fn delete(store: &RedisStore, view: ViewId, rows: Rows) -> Result<u64> {
    let mut deleted = 0;
    for server in store.router.masters().await? {
        let mut walk = Walk::from(store, &server, 0);
        let mut more = true;
        while more {
            let (mut keys, rest) = walk.page().await?;
            more = rest;
            // Most rows are of the definition in force: what is none of them is decided where it is.
            if rows != Rows::All {
                keys = among(store, keys, view, rows).await?;
            }
            let answers = of_each(store, &keys, |key| match rows {
                Rows::All => of_field("HDEL", key, view),
                Rows::Outdated(definition) => delete_outdated(key, view, definition),
            });
            for (key, answer) in keys.iter().zip(&answers.await?) {
                deleted += u64::from(is_one(store, answer, view, key)?);
            }
        }
    }
    Ok(deleted)
}

/// The call of the script that deletes a row unless this definition made it.
fn delete_outdated(key: &[u8], view: ViewId, definition: FingerprintPrefix) -> Cmd {
    let mut call = Cmd::new();
    call.arg("EVALSHA").arg(DELETE_OUTDATED.hash()).arg(1).arg(key);
    call.arg(view.as_bytes()).arg(&definition.start_of_values());
    call
}

/// Begins somewhere in each server's table and goes on until enough rows are met, or every key is.
/// What stands side by side in a table of hashes has nothing else in common.
pub(super) async fn sample(
    store: &RedisStore,
    view: ViewId,
    limit: usize,
    seed: u64,
) -> Result<RowBatch> {
    // By how they are drawn: those with the least numbers are taken.
    let mut drawn: BTreeMap<(u64, Bytes), Bytes> = BTreeMap::new();
    let servers = if limit == 0 { Vec::new() } else { store.router.masters().await? };
    for server in servers {
        let mut found: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        let mut walk = Walk::from(store, &server, scatter(seed));
        // To the end of the table, and then from its beginning: at the worst all of it twice.
        for _ in 0..2 {
            let mut more = true;
            while more && found.len() < limit {
                let (keys, rest) = walk.page().await?;
                more = rest;
                let answers = of_each(store, &keys, |key| of_field("HGET", key, view)).await?;
                for (key, answer) in keys.into_iter().zip(answers) {
                    match answer {
                        Answer::Text(value) => drop(found.insert(key, value)),
                        Answer::Nil => {}
                        other => drop(is_one(store, &other, view, &key)?),
                    }
                }
            }
        }
        let lots = found.into_iter().map(|(key, value)| ((scatter(seed ^ hash(&key)), key), value));
        drawn.extend(lots);
    }
    let mut rows = RowBatch::default();
    for ((_, key), value) in drawn.iter().take(limit) {
        if let Some(entity) = store.layout.entity(key) {
            let row = store.row(value, view, entity)?;
            rows.push(entity, row.version, |out| out.extend_from_slice(row.value));
        }
    }
    Ok(rows)
}

fn hash(key: &[u8]) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(key)
}
