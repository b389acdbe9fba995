//! Rows into the online store: the newest of every entity out of a source, or rows that a caller
//! pushes. Both are made features by the same function and written by the same writer.

mod ledger;
mod push;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::BTreeMap;

use futures::TryStreamExt as _;

pub use ledger::{Ledger, Ledgers};
pub use push::{Pushed, push};
pub use writer::{EncodedRows, ViewWriter, Written};

use crate::{
    definition::{FeatureView, Visible},
    error::{Error, Kind, Result},
    evaluate::InForce,
    offline::{Sources, latest_rows},
    online::Stores,
    registry::Registry,
    time::Timestamp,
};

/// The name of the online store in which views live that name none.
pub const DEFAULT_STORE: &str = "default";

/// The event times to read, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// From a moment (or from the beginning) to another.
    Between(Option<Timestamp>, Timestamp),
    /// Up to a moment, from where the last run ended if neither a source file nor the view has
    /// changed since, and from the beginning otherwise: so that rows that come late, or are
    /// corrected, are not lost.
    Incremental(Timestamp),
}

impl Window {
    fn is_incremental(self) -> bool {
        matches!(self, Self::Incremental(_))
    }
}

/// What a run did for one view.
#[derive(Debug, Default)]
pub struct Report {
    /// Where it started to read; `None` is the beginning.
    pub from: Option<Timestamp>,
    /// What was written.
    pub written: Written,
}

/// The views that can be materialized: those named, or every one that is online.
///
/// # Errors
/// [`crate::error::Kind::NotFound`] for a name that is no feature view,
/// [`crate::error::Kind::Invalid`] for one that is not online.
pub fn views<'a>(
    in_force: &'a InForce,
    named: &[String],
) -> Result<BTreeMap<&'a str, &'a FeatureView>> {
    let all = &in_force.state.definitions.feature_views;
    if named.is_empty() {
        let online = all.iter().filter(|(_, view)| view.online);
        return Ok(online.map(|(name, view)| (name.as_str(), view)).collect());
    }
    let find = |name: &String| match all.get_key_value(name) {
        Some((name, view)) if view.online => Ok((name.as_str(), view)),
        Some(_) => Err(Error::invalid(format!("Feature view {name} is not online"))
            .with_hint("set online = true in its definition and apply")),
        None => Err(Error::not_found(format!("Feature view {name} does not exist"))
            .with_hint(crate::error::did_you_mean(name, all.keys().map(String::as_str)))),
    };
    named.iter().map(find).collect()
}

/// What a run works with.
#[derive(Clone, Copy)]
pub struct Materializer<'a> {
    /// What is in force.
    pub in_force: &'a InForce,
    /// The sources of the views, opened.
    pub sources: &'a Sources,
    /// Where rows are written to.
    pub stores: &'a Stores,
    /// Where it is written down how far that went.
    pub registry: &'a Registry,
}

impl Materializer<'_> {
    /// Materializes a view: reads the newest row of every entity within the window and writes it,
    /// newest wins. `progress` is told of rows as they are written.
    ///
    /// A run that is cut off anywhere has lost nothing: the next one writes what it did not.
    ///
    /// # Errors
    /// Those of the sources, of the view's function where its definition says so, and of the store;
    /// [`crate::error::Kind::Invalid`] for a window that ends after `now` or before it starts;
    /// [`crate::error::Kind::Conflict`] when the view's definition was changed and another run
    /// materialized it meanwhile.
    pub async fn run(
        &self,
        name: &str,
        window: Window,
        now: Timestamp,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<Report> {
        let Self { in_force, sources, stores, registry } = *self;
        let writer = ViewWriter::new(in_force, name)?;
        let definition = writer.definition();
        // As they are before they are read: what is written to them meanwhile is read by the next
        // run.
        let files = sources.files(writer.source())?;
        let store = stores.get(writer.store())?.as_ref();
        let store_name = writer.store().unwrap_or(DEFAULT_STORE);
        let mut ledgers = Ledgers::new(&in_force.project, name, registry, store_name, store);
        let ledger = match ledgers.current().await {
            // A run that does not resume does not need the ledger, and is the way to replace it.
            Err(error) if error.kind() == Kind::Corrupt && !window.is_incremental() => None,
            ledger => ledger?,
        };
        let (from, to) = match window {
            Window::Between(from, to) => (from, to),
            // A row that could not be seen at the last run's end, since it was not written down
            // yet, may have any event time.
            Window::Incremental(to) if sources.visible(writer.source())? == Visible::Created => {
                (None, to)
            }
            Window::Incremental(to) => {
                (ledger.as_ref().and_then(|ledger| ledger.resume(&definition, &files, to)), to)
            }
        };
        check_window(from, to, now)?;
        if ledger.is_none_or(|ledger| ledger.definition != definition) {
            // Whatever becomes of this run, rows of this definition may be there from now on: a run
            // under the definition before must not go on from where it ended.
            ledgers.write(|_| Ok(Ledger::unfinished(definition))).await?;
        }
        let mut rows = latest_rows(sources, writer.source(), writer.layout(), from, to).await?;
        let mut report = Report { from, ..Report::default() };
        while let Some(batch) = rows.try_next().await? {
            let written = writer.write(&batch, stores).await?;
            progress(written.rows);
            report.written += written;
        }
        if from.is_none() || window.is_incremental() {
            let done = Ledger { definition, through: Some(to), files };
            finish(&mut ledgers, &done).await?;
        }
        Ok(report)
    }
}

/// Writes the ledger of a run that is done, unless a run under another definition began meanwhile:
/// each of both may have replaced rows of the other, so that neither can say what is stored.
async fn finish(ledgers: &mut Ledgers<'_>, done: &Ledger) -> Result<()> {
    let mut other = None;
    let next = |current: Result<Option<Ledger>>| {
        let current = current?.map(|current| current.definition);
        other = current.filter(|definition| *definition != done.definition);
        Ok(other.map_or_else(|| done.clone(), Ledger::unfinished))
    };
    ledgers.write(next).await?;
    match other {
        None => Ok(()),
        Some(_) => Err(Error::conflict(
            "the view's definition was changed, and another run materialized it meanwhile",
        )
        .with_hint("run it again: it starts from the beginning, under the definition in force")),
    }
}

fn check_window(from: Option<Timestamp>, to: Timestamp, now: Timestamp) -> Result<()> {
    if to > now {
        return Err(Error::invalid(format!(
            "nothing materialized: the end {to} is after now, {now}"
        ))
        .with_hint("an end in the future would hide the rows that come until then"));
    }
    match from {
        Some(from) if from > to => Err(Error::invalid(format!(
            "nothing materialized: the start {from} is after the end {to}"
        ))),
        _ => Ok(()),
    }
}
