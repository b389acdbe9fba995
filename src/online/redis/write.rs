//! Rows on their way into Redis: of each entity the newest stays, however many write.
//!
//! A script decides, beside the data.
//!
//! A row of an entity that has none needs no decision: `HSETNX` writes it at the price of a bare
//! `HSET`, and says where there is one. That does for rows that stay; a row that may leave has to
//! be written together with its expiry.

use std::{cmp::Reverse, sync::atomic::Ordering};

use redis::Cmd;

use super::{
    super::{MAX_ENTITY_KEY, OnlineStore as _, RowBatch, StoredRow, ViewId, WriteReport},
    RedisStore,
    answer::Answer,
    layout::Tag,
    router::Commands,
    scripts::NEWEST_WINS,
    server::Lane,
};
use crate::{
    error::{Error, Result},
    time::{Span, Timestamp},
};

/// How many rows one run of the script decides at the most, and about how many bytes: Redis does
/// nothing else meanwhile.
const ROWS_PER_CALL: usize = 256;
const BYTES_PER_CALL: usize = 256 << 10;

/// About how many bytes are sent in one piece.
const BYTES_PER_PIECE: usize = 4 << 20;

/// Of fewer rows than these, nothing is learnt about the next ones.
const TELLING: usize = 64;

/// How much longer than its ttl a row is kept: clocks are not one.
const EXPIRY_SLACK: Span = Span(3_600_000_000);

/// A row to write, with the tag and key of its entity.
type Sorted<'a> = (Tag, &'a [u8], StoredRow<'a>);

pub(super) async fn write(
    store: &RedisStore,
    view: ViewId,
    rows: &RowBatch,
    ttl: Option<Span>,
) -> Result<WriteReport> {
    if let Some((key, _)) = rows.iter().find(|(key, _)| key.len() > MAX_ENTITY_KEY) {
        let (limit, length) = (MAX_ENTITY_KEY as u64, key.len() as u64);
        return Err(Error::limit("an entity's key in bytes", limit, 0, length));
    }
    // The newest row of a key goes first, so that the report does not depend on the order within
    // the batch.
    let mut sorted: Vec<_> =
        rows.iter().map(|(entity, row)| (Tag::of(entity), entity, row)).collect();
    sorted.sort_unstable_by_key(|(tag, entity, row)| {
        (*tag, *entity, Reverse(row.version), row.value)
    });
    let ttl = ttl.filter(|_| store.expires());
    let writer = Writer { store, view, ttl };
    match ttl.is_none() && store.absent.load(Ordering::Relaxed) {
        true => writer.add(&sorted).await,
        false => writer.decide(&sorted).await,
    }
}

/// About how many bytes rows are.
fn size(rows: &[Sorted<'_>]) -> usize {
    rows.iter().map(|(_, entity, row)| entity.len() + row.stored_len() + 64).sum()
}

/// The rows in runs that are about so many bytes.
fn runs<'a, 'b>(
    rows: &'b [Sorted<'a>],
    limit: usize,
) -> impl Iterator<Item = &'b [Sorted<'a>]> + use<'a, 'b> {
    let mut bytes = 0;
    rows.chunk_by(move |row, _| {
        bytes += size(std::slice::from_ref(row));
        let full = bytes > limit;
        if full {
            bytes = 0;
        }
        !full
    })
}

/// The rows in runs of one tag, none of them too much for one run of the script.
fn calls<'a, 'b>(sorted: &'b [Sorted<'a>]) -> impl Iterator<Item = &'b [Sorted<'a>]> {
    let tags = sorted.chunk_by(|a, b| a.0 == b.0);
    tags.flat_map(|tag| runs(tag, BYTES_PER_CALL)).flat_map(|run| run.chunks(ROWS_PER_CALL))
}

/// Writes rows of a view.
struct Writer<'s> {
    store: &'s RedisStore,
    view: ViewId,
    /// After which time rows may leave the store.
    ttl: Option<Span>,
}

impl Writer<'_> {
    /// Writes rows that stay: at once where their entity has none, by the script otherwise.
    async fn add(&self, sorted: &[Sorted<'_>]) -> Result<WriteReport> {
        // A key that may expire would take the row along; the script makes such a key stay.
        let (staying, mut others) = self.by_expiry(sorted).await?;
        let mut added = Vec::with_capacity(staying.len());
        for piece in runs(&staying, BYTES_PER_PIECE) {
            let mut commands = Commands::with_capacity(piece.len());
            for (tag, entity, row) in piece {
                commands.push(*tag, &self.add_row(*tag, entity, row));
            }
            let answers = self.store.router.run(Lane::Bulk, commands).await?;
            for (row, answer) in piece.iter().zip(&answers) {
                match answer {
                    Answer::Int(1) => added.push(*row),
                    Answer::Int(_) => others.push(*row),
                    Answer::Error(said) => {
                        return Err(self.store.explain(said, self.view, Some(row.1)));
                    }
                    other => return Err(self.store.strange(other)),
                }
            }
        }
        others.sort_by_key(|(tag, entity, row)| (*tag, *entity, Reverse(row.version), row.value));
        let mut report = self.decide(&others).await?;
        report.written += added.len() as u64;
        // Since the first look, keys of a tag may have got an expiry, of an hour at the least.
        let (_, expiring) = self.by_expiry(&added).await?;
        self.decide(&expiring).await?;
        self.learn(added.len(), sorted.len());
        Ok(report)
    }

    /// The rows of tags none of whose keys may expire, and the others.
    async fn by_expiry<'a>(
        &self,
        sorted: &[Sorted<'a>],
    ) -> Result<(Vec<Sorted<'a>>, Vec<Sorted<'a>>)> {
        let tags: Vec<&[Sorted<'a>]> = sorted.chunk_by(|a, b| a.0 == b.0).collect();
        let mut commands = Commands::with_capacity(tags.len());
        for (tag, ..) in tags.iter().filter_map(|rows| rows.first()) {
            let mut exists = Cmd::new();
            exists.arg("EXISTS").arg(self.store.layout.marker(*tag));
            commands.push(*tag, &exists);
        }
        let (mut staying, mut expiring) = (Vec::with_capacity(sorted.len()), Vec::new());
        if commands.is_empty() {
            return Ok((staying, expiring));
        }
        let answers = self.store.router.run(Lane::Bulk, commands).await?;
        for (rows, answer) in tags.into_iter().zip(&answers) {
            match answer {
                Answer::Int(0) => staying.extend_from_slice(rows),
                Answer::Int(_) => expiring.extend_from_slice(rows),
                Answer::Error(said) => {
                    let entity = rows.first().map(|(_, entity, _)| *entity);
                    return Err(self.store.explain(said, self.view, entity));
                }
                other => return Err(self.store.strange(other)),
            }
        }
        Ok((staying, expiring))
    }

    /// `HSETNX`: writes a row where there is none.
    fn add_row(&self, tag: Tag, entity: &[u8], row: &StoredRow<'_>) -> Cmd {
        let mut command = Cmd::with_capacity(4, entity.len() + row.stored_len() + 32);
        let mut bytes = Vec::with_capacity(entity.len().max(row.stored_len()) + 32);
        self.store.layout.write_key(tag, entity, &mut bytes);
        command.arg("HSETNX").arg(bytes.as_slice()).arg(self.view.as_bytes());
        bytes.clear();
        bytes.extend_from_slice(&row.version.to_bytes());
        bytes.extend_from_slice(row.value);
        command.arg(bytes);
        command
    }

    /// Lets the script decide about rows.
    async fn decide(&self, sorted: &[Sorted<'_>]) -> Result<WriteReport> {
        let (mut report, mut absent) = (WriteReport::default(), 0);
        for (commands, calls) in self.pieces(sorted) {
            let answers = self.store.router.run(Lane::Bulk, commands).await?;
            for (answer, call) in answers.iter().zip(calls) {
                let (decided, added) = self.report(answer, call)?;
                report += decided;
                absent += added;
            }
        }
        self.learn(absent, sorted.len());
        Ok(report)
    }

    /// Takes down how many of some entities had no row before.
    fn learn(&self, absent: usize, of: usize) {
        if of >= TELLING {
            self.store.absent.store(absent * 2 >= of, Ordering::Relaxed);
        }
    }

    /// The calls of the script that write all the rows, in pieces that are sent one after the other.
    fn pieces<'a, 'b>(&self, sorted: &'b [Sorted<'a>]) -> Vec<(Commands, Vec<&'b [Sorted<'a>]>)> {
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
            let expiry = self.expiry(newest.unwrap_or(now), now);
            if let Some((commands, calls)) = pieces.last_mut() {
                commands.push(*tag, &self.call(*tag, call, expiry));
                calls.push(call);
            }
        }
        pieces
    }

    /// When rows may go that are written now, in milliseconds since 1970; never, where it is `None`.
    fn expiry(&self, newest: Timestamp, now: Timestamp) -> Option<i64> {
        let ttl = self.ttl?;
        let until = newest.max(now).0.saturating_add(ttl.0).saturating_add(EXPIRY_SLACK.0);
        Some(until / 1000 + 1)
    }

    /// The call of the script for rows of one tag: see `newest_wins.lua`.
    fn call(&self, tag: Tag, rows: &[Sorted<'_>], expiry: Option<i64>) -> Cmd {
        let mut command = Cmd::with_capacity(6 + 2 * rows.len(), size(rows));
        command.arg("EVALSHA").arg(NEWEST_WINS.hash()).arg(rows.len() + 1);
        command.arg(self.store.layout.marker(tag));
        let mut bytes = Vec::new();
        for (_, entity, _) in rows {
            bytes.clear();
            self.store.layout.write_key(tag, entity, &mut bytes);
            command.arg(bytes.as_slice());
        }
        command.arg(self.view.as_bytes());
        match expiry {
            Some(at) => command.arg(at),
            None => command.arg(""),
        };
        for (_, _, row) in rows {
            bytes.clear();
            bytes.extend_from_slice(&row.version.to_bytes());
            bytes.extend_from_slice(row.value);
            command.arg(bytes.as_slice());
        }
        command
    }

    /// What the script says became of the rows of a call, and how many of their entities had none.
    fn report(&self, answer: &Answer, rows: &[Sorted<'_>]) -> Result<(WriteReport, usize)> {
        if let Answer::Error(said) = answer {
            // CORRUPT says which of the rows.
            let place = said.details.parse::<usize>().ok();
            let entity = place.and_then(|place| rows.get(place)).map(|(_, entity, _)| *entity);
            return Err(self.store.explain(said, self.view, entity));
        }
        let counts = match answer {
            Answer::Array(counts) => match counts.as_slice() {
                [
                    Answer::Int(written),
                    Answer::Int(stale),
                    Answer::Int(unchanged),
                    Answer::Int(absent),
                ] => Some([*written, *stale, *unchanged, *absent]),
                _ => None,
            },
            _ => None,
        };
        let [written, stale, unchanged, absent] = counts
            .map(|counts| counts.map(|count| u64::try_from(count).unwrap_or(0)))
            .filter(|counts| counts[..3].iter().sum::<u64>() == rows.len() as u64)
            .ok_or_else(|| self.store.strange(answer))?;
        Ok((WriteReport { written, stale, unchanged }, absent as usize))
    }
}
