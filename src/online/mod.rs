//! The online store: the newest row of every entity, read in microseconds.
//!
//! A store knows bytes: keys, versions, values. What they mean is said by the codecs beside it:
//! [`JoinKeys`] makes keys of join keys, [`encode_value`] and [`ValueSchema`] make values of
//! features and back. Every store passes the same [`contract`].

mod batch;
mod columns;
pub mod contract;
mod embedded;
mod key;
mod redis;
mod scatter;
mod stores;
mod value;
mod version;

use std::{fmt, ops::AddAssign};

use async_trait::async_trait;

pub use batch::{Lookup, ReadRows, RowBatch, StoredRow};
pub use columns::StoredColumns;
pub use embedded::{EmbeddedOptions, EmbeddedStore};
pub use key::{EntityKeys, JoinKeys, MAX_ENTITY_KEY, ViewId};
pub use redis::{
    Address, Credentials, RedisOptions, RedisStore, RedisUrl, Secret, TlsOptions, Topology,
};
pub use stores::{Stores, UnopenedStore};
pub use value::{FingerprintPrefix, FoundFeatures, ValueSchema, encode_value, value_fingerprint};
pub use version::RowVersion;

use crate::{error::Result, time::Span};

/// Where the newest row of every entity is kept, for every feature view.
///
/// The methods are asynchronous because some stores are across a network. One that is not answers
/// a read within the first poll, so the price of the interface is one allocation for a whole batch.
/// Callers run within a Tokio runtime.
#[async_trait]
pub trait OnlineStore: fmt::Debug + Send + Sync {
    /// The rows that each lookup finds, in the order of the lookups; each row as it was at one
    /// moment within the call. All of them together are one round trip to a store across a network.
    ///
    /// A null key has no row, and no key is an error. Keys and views may repeat.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) when the store cannot be reached,
    /// [`Kind::Corrupt`](crate::error::Kind::Corrupt) when it holds what was never written.
    async fn read(&self, lookups: &[Lookup<'_>]) -> Result<Vec<ReadRows>>;

    /// Whether a read is over when it is first polled, so that no other task has a turn meanwhile.
    fn reads_on_the_spot(&self) -> bool {
        false
    }

    /// Writes rows; of each entity, the newest stays.
    ///
    /// A row is written if there is none, if the stored one is older by (event time, created time),
    /// or if it is as new and has a smaller hash of its content, or another value. Where another
    /// definition made the stored row (the first 17 bytes of the values differ), hashes are not
    /// compared: the row that is written is the one under the definition in force. Each row is
    /// decided and written atomically, so the order and the number of writers do not matter. The
    /// batch as a whole is not atomic: after an error or a crash any part of it may be there, and
    /// writing it again is harmless. A call that is dropped before it ends may still write.
    ///
    /// `ttl` is the view's: a store may drop a row once that much time has passed both since its
    /// event time and since it was last written. Without one, rows stay.
    ///
    /// # Errors
    /// As [`OnlineStore::read`]; [`Kind::Limit`](crate::error::Kind::Limit) when the store is full
    /// or a key is longer than [`MAX_ENTITY_KEY`].
    async fn write(&self, view: ViewId, rows: RowBatch, ttl: Option<Span>) -> Result<WriteReport>;

    /// Whether rows leave the store by themselves after their view's ttl.
    fn expires(&self) -> bool {
        false
    }

    /// `limit` rows of a view, or all of them where there are not as many: no row twice, spread
    /// over the keys. Another `seed` chooses others.
    ///
    /// The price is a seek for each row where the store knows a view's entities (the embedded one), and
    /// otherwise (Redis) a walk over as many keys as it takes to meet that many rows of the view.
    ///
    /// # Errors
    /// As [`OnlineStore::read`].
    async fn sample(&self, view: ViewId, limit: usize, seed: u64) -> Result<RowBatch>;

    /// How many of these rows a view has: the price of one read (all rows, embedded), of the view's
    /// rows (embedded), or of a walk over every key of the store (Redis). It is for people and
    /// reports, not for the path of a request.
    ///
    /// # Errors
    /// As [`OnlineStore::read`].
    async fn count(&self, view: ViewId, rows: Rows) -> Result<u64>;

    /// Deletes these rows of a view and says how many there were. Rows written meanwhile may stay;
    /// of a row that is written meanwhile, none is deleted but one of those asked for.
    ///
    /// The price is that of the view's rows (embedded), or of a walk over every key of the store
    /// (Redis); readers and writers of other views go on meanwhile.
    ///
    /// # Errors
    /// As [`OnlineStore::write`].
    async fn delete(&self, view: ViewId, rows: Rows) -> Result<u64>;
}

/// Which rows of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// All of them.
    All,
    /// Those that another definition made than this one.
    Outdated(FingerprintPrefix),
}

/// What became of the rows of a [`RowBatch`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct WriteReport {
    /// Rows that are stored now and were not before.
    pub written: u64,
    /// Rows that lost to a newer one, which was stored or is in the same batch.
    pub stale: u64,
    /// Rows that were stored already, or are in the batch more than once.
    pub unchanged: u64,
}

impl AddAssign for WriteReport {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.stale += other.stale;
        self.unchanged += other.unchanged;
    }
}
