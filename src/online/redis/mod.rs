//! The online store in Redis: one server, one that sentinels watch over, or a Cluster.
//!
//! An entity is a hash, a view is a field of it, so that one command fetches an entity's rows of
//! all views, and a request is one round trip. Which of two rows stays is decided beside the data,
//! by a script. Redis keeps scripts by their hash, so that two versions of unskew which decide
//! otherwise do not meet in one name, as they would in a library of functions.

mod breaker;
mod cluster;
mod layout;
mod options;
mod router;
mod sentinel;
mod server;
mod walk;

use std::{cmp::Reverse, sync::LazyLock};

use async_trait::async_trait;
use layout::{Layout, Tag};
use redis::{Cmd, Script, ServerError, Value};
use router::{Commands, Router};
use server::Lane;

pub use options::{Address, Credentials, RedisOptions, RedisUrl, Secret, TlsOptions, Topology};

use super::{
    Lookup, MAX_ENTITY_KEY, OnlineStore, ReadRows, RowBatch, StoredRow, ViewId, WriteReport,
};
use crate::{
    error::{Error, Kind, Result},
    time::{Span, Timestamp},
};

/// Decides which rows stay.
const NEWEST_WINS: &str = include_str!("newest_wins.lua");

/// The hash by which Redis knows the script.
static SCRIPT_HASH: LazyLock<String> =
    LazyLock::new(|| Script::new(NEWEST_WINS).get_hash().to_owned());

/// How many rows one run of the script decides at the most, and about how many bytes: Redis does
/// nothing else meanwhile.
const ROWS_PER_CALL: usize = 256;
const BYTES_PER_CALL: usize = 256 << 10;

/// About how many bytes are sent in one piece.
const BYTES_PER_PIECE: usize = 4 << 20;

/// How much longer than its ttl a row is kept: clocks are not one.
const EXPIRY_SLACK: Span = Span(3_600_000_000);

/// An [`OnlineStore`] in Redis 7 or later. Connections are made when they are needed, and made
/// again when they are lost.
#[derive(Debug)]
pub struct RedisStore {
    router: Router,
    layout: Layout,
}

impl RedisStore {
    /// A store with these options. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the options cannot be used.
    pub fn new(options: RedisOptions) -> Result<Self> {
        let layout = Layout::new(&options.prefix);
        Ok(Self { router: Router::new(options)?, layout })
    }

    /// What an error that Redis answered means to the caller.
    fn explain(&self, error: &ServerError, view: ViewId, entity: Option<&[u8]>) -> Error {
        let url = &self.router.options().url;
        let said = format!("{} {}", error.code(), error.details().unwrap_or_default());
        match error.code() {
            "WRONGTYPE" | "CORRUPT" => self.corrupt(&said, view, entity),
            "OOM" => Error::new(Kind::Limit, format!("the online store {url} is full: {said}"))
                .with_hint("raise maxmemory, or give a view a store of its own"),
            "NOPERM" | "NOAUTH" | "WRONGPASS" => {
                Error::unavailable(format!("the online store {url} does not allow it: {said}"))
                    .with_hint(
                        "the documentation of the online store has the rights that its user needs",
                    )
            }
            _ => Error::unavailable(format!("the online store {url} failed: {said}")),
        }
    }

    /// What is stored was not written by us.
    fn corrupt(&self, what: &str, view: ViewId, entity: Option<&[u8]>) -> Error {
        let key = entity.map(|entity| self.layout.key(entity));
        let key = key.map_or_else(|| "?".to_owned(), |key| key.escape_ascii().to_string());
        Error::corrupt(format!(
            "the online store {} has no row under key \"{key}\", field \"{}\": {what}",
            self.router.options().url,
            view.as_bytes().escape_ascii()
        ))
        .with_hint("delete the key; materialize its views again")
    }

    fn row<'a>(&self, value: &'a [u8], view: ViewId, entity: &[u8]) -> Result<StoredRow<'a>> {
        StoredRow::parse(value).ok_or_else(|| self.corrupt("it has no version", view, Some(entity)))
    }

    /// Takes over what one entity has in the views.
    fn take(
        &self,
        answer: &Value,
        (views, entity, place): (&[ViewId], &[u8], usize),
        found: &mut ReadRows,
    ) -> Result<()> {
        let values = match answer {
            Value::Array(values) if values.len() == views.len() => values,
            Value::ServerError(error) => {
                let view = views.first().copied();
                let view = view.ok_or_else(|| Error::internal("a read of no view"))?;
                return Err(self.explain(error, view, Some(entity)));
            }
            _ => return Err(self.strange(answer)),
        };
        for (at, (value, view)) in values.iter().zip(views).enumerate() {
            match value {
                Value::BulkString(value) => {
                    found.put(at, place, self.row(value, *view, entity)?);
                }
                Value::Nil => {}
                other => return Err(self.strange(other)),
            }
        }
        Ok(())
    }

    fn strange(&self, answer: &Value) -> Error {
        let answer: String = format!("{answer:?}").chars().take(100).collect();
        Error::unavailable(format!(
            "the online store {} answered what Redis does not: {answer}",
            self.router.options().url
        ))
    }

    /// When rows may go that are written now; never, where it is `None`.
    fn expiry(&self, ttl: Option<Span>, newest: Timestamp, now: Timestamp) -> Option<i64> {
        let ttl = ttl.filter(|_| self.router.options().expire)?;
        let until = newest.max(now).0.saturating_add(ttl.0).saturating_add(EXPIRY_SLACK.0);
        Some(until / 1000 + 1)
    }
}

#[async_trait]
impl OnlineStore for RedisStore {
    async fn read(&self, lookups: &[Lookup<'_>]) -> Result<Vec<ReadRows>> {
        let entities = |lookup: &Lookup<'_>| -> usize {
            if lookup.views.is_empty() { 0 } else { lookup.keys.len() }
        };
        let mut commands = Commands::with_capacity(lookups.iter().map(entities).sum());
        for lookup in lookups.iter().filter(|lookup| !lookup.views.is_empty()) {
            for entity in lookup.keys.iter().flatten() {
                commands.push(Tag::of(entity), get(&self.layout.key(entity), lookup.views));
            }
        }
        let answers = match commands.is_empty() {
            true => Vec::new(),
            false => self.router.run(Lane::Read, &commands).await?,
        };
        let mut answers = answers.iter();
        let find = |lookup: &Lookup<'_>| {
            let mut found = ReadRows::nothing(lookup.views.len(), lookup.keys.len());
            if lookup.views.is_empty() {
                return Ok(found);
            }
            for (place, entity) in lookup.keys.iter().enumerate() {
                let Some(entity) = entity else { continue };
                let answer = answers.next();
                let answer = answer.ok_or_else(|| Error::internal("an answer is lost"))?;
                self.take(answer, (lookup.views, entity, place), &mut found)?;
            }
            Ok(found)
        };
        lookups.iter().map(find).collect()
    }

    async fn write(&self, view: ViewId, rows: RowBatch, ttl: Option<Span>) -> Result<WriteReport> {
        if let Some((key, _)) = rows.iter().find(|(key, _)| key.len() > MAX_ENTITY_KEY) {
            let (limit, length) = (MAX_ENTITY_KEY as u64, key.len() as u64);
            return Err(Error::limit("an entity's key in bytes", limit, 0, length));
        }
        // The newest row of a key goes first, so that the report does not depend on the order
        // within the batch.
        let mut sorted: Vec<_> =
            rows.iter().map(|(entity, row)| (Tag::of(entity), entity, row)).collect();
        sorted.sort_unstable_by_key(|(tag, entity, row)| {
            (*tag, *entity, Reverse(row.version), row.value)
        });
        let mut report = WriteReport::default();
        for (commands, calls) in self.pieces(view, &sorted, ttl) {
            let answers = self.router.run(Lane::Bulk, &commands).await?;
            for (answer, call) in answers.iter().zip(calls) {
                report += self.report(answer, view, call)?;
            }
        }
        Ok(report)
    }

    async fn sample(&self, view: ViewId, limit: usize, seed: u64) -> Result<RowBatch> {
        walk::sample(self, view, limit, seed).await
    }

    async fn count(&self, view: ViewId) -> Result<u64> {
        walk::count(self, view).await
    }

    async fn delete_view(&self, view: ViewId) -> Result<u64> {
        walk::delete_view(self, view).await
    }
}

/// A row to write, with the tag and key of its entity.
type Sorted<'a> = (Tag, &'a [u8], StoredRow<'a>);

/// About how many bytes rows are.
fn size(rows: &[Sorted<'_>]) -> usize {
    rows.iter().map(|(_, entity, row)| entity.len() + row.stored_len() + 64).sum()
}

/// The rows in runs of one tag, none of them too much for one run of the script.
fn calls<'a, 'b>(sorted: &'b [Sorted<'a>]) -> impl Iterator<Item = &'b [Sorted<'a>]> {
    sorted.chunk_by(|a, b| a.0 == b.0).flat_map(|tag| {
        let mut bytes = 0;
        tag.chunk_by(move |a, _| {
            bytes += size(std::slice::from_ref(a));
            let full = bytes > BYTES_PER_CALL;
            if full {
                bytes = 0;
            }
            !full
        })
        .flat_map(|run| run.chunks(ROWS_PER_CALL))
    })
}

/// `HMGET`: what an entity has in these views.
fn get(key: &[u8], views: &[ViewId]) -> Cmd {
    let mut command = Cmd::with_capacity(2 + views.len(), key.len() + 8 * views.len() + 5);
    command.arg("HMGET").arg(key);
    for view in views {
        command.arg(view.as_bytes());
    }
    command
}

impl RedisStore {
    /// The calls of the script that write all the rows, in pieces that are sent one after the other.
    fn pieces<'a, 'b>(
        &self,
        view: ViewId,
        sorted: &'b [Sorted<'a>],
        ttl: Option<Span>,
    ) -> Vec<(Commands, Vec<&'b [Sorted<'a>]>)> {
        let now = Timestamp::now();
        let mut pieces: Vec<(Commands, Vec<_>)> = Vec::new();
        let mut bytes = BYTES_PER_PIECE;
        for call in calls(sorted) {
            let Some((tag, ..)) = call.first() else { continue };
            if bytes >= BYTES_PER_PIECE {
                pieces.push(Default::default());
                bytes = 0;
            }
            bytes += size(call);
            let newest = call.iter().map(|(_, _, row)| row.version.event).max();
            let expiry = self.expiry(ttl, newest.unwrap_or(now), now);
            if let Some((commands, calls)) = pieces.last_mut() {
                commands.push(*tag, self.decide(view, *tag, call, expiry));
                calls.push(call);
            }
        }
        pieces
    }

    /// The call of the script for rows of one tag: see `newest_wins.lua`.
    fn decide(&self, view: ViewId, tag: Tag, rows: &[Sorted<'_>], expiry: Option<i64>) -> Cmd {
        let mut command = Cmd::with_capacity(6 + 2 * rows.len(), size(rows));
        command.arg("EVALSHA").arg(SCRIPT_HASH.as_str()).arg(rows.len() + 1);
        command.arg(self.layout.marker(tag));
        for (_, entity, _) in rows {
            command.arg(self.layout.key(entity));
        }
        command.arg(view.as_bytes());
        match expiry {
            Some(at) => command.arg(at),
            None => command.arg(""),
        };
        let mut stored = Vec::new();
        for (_, _, row) in rows {
            stored.clear();
            stored.extend_from_slice(&row.version.to_bytes());
            stored.extend_from_slice(row.value);
            command.arg(stored.as_slice());
        }
        command
    }

    /// What the script says became of the rows of a call.
    fn report(&self, answer: &Value, view: ViewId, rows: &[Sorted<'_>]) -> Result<WriteReport> {
        if let Value::ServerError(error) = answer {
            // CORRUPT says which of the rows.
            let place = error.details().and_then(|details| details.parse::<usize>().ok());
            let entity = place.and_then(|place| rows.get(place)).map(|(_, entity, _)| *entity);
            return Err(self.explain(error, view, entity));
        }
        let counts = match answer {
            Value::Array(counts) => match counts.as_slice() {
                [Value::Int(written), Value::Int(stale), Value::Int(unchanged)] => {
                    Some([*written, *stale, *unchanged])
                }
                _ => None,
            },
            _ => None,
        };
        let [written, stale, unchanged] = counts
            .map(|counts| counts.map(|count| u64::try_from(count).unwrap_or(0)))
            .filter(|counts| counts.iter().sum::<u64>() == rows.len() as u64)
            .ok_or_else(|| self.strange(answer))?;
        Ok(WriteReport { written, stale, unchanged })
    }
}
