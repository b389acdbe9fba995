//! What was materialized: kept in the online store itself, so that it is lost with the rows it
//! speaks of and never without them.

use serde::{Deserialize, Serialize};

use crate::{
    digest::Digest,
    error::{Error, Result},
    offline::SourceFile,
    online::{EntityKeys, OnlineStore, RowBatch, RowVersion, ViewId},
    time::Timestamp,
    value::{DataType, Field, column_from_json},
};

/// The name under which ledgers are kept: no view can be called so.
const LEDGERS: &str = ":ledger";

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

    /// The ledger of a view, if there is one.
    ///
    /// # Errors
    /// Those of the store; [`crate::error::Kind::Corrupt`] when it is no ledger.
    pub async fn read(project: &str, view: &str, store: &dyn OnlineStore) -> Result<Option<Self>> {
        let rows = store.read(&[ViewId::of(project, LEDGERS)], &key(view)?).await?;
        let Some(row) = rows.view(0).next().flatten() else {
            return Ok(None);
        };
        serde_json::from_slice(row.value).map(Some).map_err(|error| {
            Error::corrupt(format!("the ledger of view {view} cannot be read: {error}"))
                .with_hint("unskew materialize without --incremental writes it anew")
        })
    }

    /// Writes the ledger of a view; of several writers the latest stays.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn write(
        &self,
        project: &str,
        view: &str,
        now: Timestamp,
        store: &dyn OnlineStore,
    ) -> Result<()> {
        let value = serde_json::to_vec(self)
            .map_err(|error| Error::internal(format!("a ledger cannot be written: {error}")))?;
        write_bytes(project, view, &value, now, store).await
    }
}

pub(super) async fn write_bytes(
    project: &str,
    view: &str,
    value: &[u8],
    now: Timestamp,
    store: &dyn OnlineStore,
) -> Result<()> {
    let keys = key(view)?;
    let mut rows = RowBatch::with_capacity(1, value.len());
    for key in keys.iter().flatten() {
        let version = RowVersion { event: now, created: None, content: 0 };
        rows.push(key, version, |out| out.extend_from_slice(value));
    }
    store.write(ViewId::of(project, LEDGERS), rows).await?;
    Ok(())
}

fn key(view: &str) -> Result<EntityKeys> {
    let field = Field {
        name: "view".to_owned(),
        data_type: DataType::Utf8,
        nullable: false,
        documentation: String::new(),
    };
    let column = column_from_json(&[view.into()], DataType::Utf8)?;
    EntityKeys::encode(&[field], &[column])
}
