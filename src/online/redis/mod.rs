//! The online store in Redis: one server, one that sentinels watch over, or a Cluster.
//!
//! An entity is a hash, a view is a field of it, so that one command fetches an entity's rows of
//! all views, and a request is one round trip. Which of two rows stays is decided beside the data
//! (`write.rs`).

mod answer;
mod breaker;
mod cluster;
mod connection;
mod discovery;
#[cfg(test)]
mod fake;
mod layout;
mod options;
mod router;
mod scripts;
mod sentinel;
mod server;
mod tls;
mod walk;
mod write;

use std::sync::atomic::AtomicBool;

use answer::{Answer, Complaint};
use async_trait::async_trait;
use layout::{Layout, Tag};
use redis::Cmd;
use router::{Commands, Router};
use server::Lane;

pub use options::{Address, Credentials, RedisOptions, RedisUrl, Secret, TlsOptions, Topology};

use super::{Lookup, OnlineStore, ReadRows, RowBatch, Rows, StoredRow, ViewId, WriteReport};
use crate::{
    error::{Error, Kind, Result},
    time::Span,
};

/// An [`OnlineStore`] in Redis 7 or later. Connections are made when they are needed, and made
/// again when they are lost.
#[derive(Debug)]
pub struct RedisStore {
    router: Router,
    layout: Layout,
    /// Whether most of the entities that were written last had no row before: so it is with the
    /// next ones, as a rule.
    absent: AtomicBool,
}

impl RedisStore {
    /// A store with these options. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when the options cannot be used.
    pub fn new(options: RedisOptions) -> Result<Self> {
        let layout = Layout::new(&options.prefix);
        Ok(Self { router: Router::new(options)?, layout, absent: AtomicBool::new(true) })
    }

    /// What an error that Redis answered means to the caller.
    fn explain(&self, said: &Complaint, view: ViewId, entity: Option<&[u8]>) -> Error {
        let url = &self.router.options().url;
        match said.code.as_str() {
            "WRONGTYPE" | "CORRUPT" => self.corrupt(&said.to_string(), view, entity),
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
        answer: &Answer,
        (views, entity, place): (&[ViewId], &[u8], usize),
        found: &mut ReadRows,
    ) -> Result<()> {
        let values = match answer {
            Answer::Array(values) if values.len() == views.len() => values,
            Answer::Error(said) => {
                let view = views.first().copied();
                let view = view.ok_or_else(|| Error::internal("a read of no view"))?;
                return Err(self.explain(said, view, Some(entity)));
            }
            _ => return Err(self.strange(answer)),
        };
        for (at, (value, view)) in values.iter().zip(views).enumerate() {
            match value {
                Answer::Text(value) => {
                    found.put(at, place, self.row(value, *view, entity)?);
                }
                Answer::Nil => {}
                other => return Err(self.strange(other)),
            }
        }
        Ok(())
    }

    fn strange(&self, answer: &Answer) -> Error {
        let answer: String = format!("{answer:?}").chars().take(100).collect();
        Error::unavailable(format!(
            "the online store {} answered what Redis does not: {answer}",
            self.router.options().url
        ))
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
                commands.push(Tag::of(entity), &get(&self.layout.key(entity), lookup.views));
            }
        }
        let answers = match commands.is_empty() {
            true => Vec::new(),
            false => self.router.run(Lane::Read, commands).await?,
        };
        let mut answers = answers.iter();
        let find = |lookup: &Lookup<'_>| {
            let mut found = ReadRows::nothing(lookup.views.len(), lookup.keys.len());
            if lookup.views.is_empty() {
                return Ok(found);
            }
            let come = answers.as_slice().iter().take(lookup.keys.iter().flatten().count());
            found.reserve(come.map(Answer::text_bytes).sum());
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
        write::write(self, view, &rows, ttl).await
    }

    fn expires(&self) -> bool {
        self.router.options().expire
    }

    async fn sample(&self, view: ViewId, limit: usize, seed: u64) -> Result<RowBatch> {
        walk::sample(self, view, limit, seed).await
    }

    async fn count(&self, view: ViewId, rows: Rows) -> Result<u64> {
        walk::count(self, view, rows).await
    }

    async fn delete(&self, view: ViewId, rows: Rows) -> Result<u64> {
        walk::delete(self, view, rows).await
    }
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
