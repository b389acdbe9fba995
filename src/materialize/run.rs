//! A run: what a plan says is read, group by group, and after each group it is written down.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::{task::spawn_blocking, time::interval};

use super::{EncodedRows, Ledger, Ledgers, Plan, PlannedFile, ViewWriter, Window, Written};
use crate::{
    error::{Error, Kind, Result},
    evaluate::InForce,
    offline::{LatestRows, Sources, latest_rows},
    online::Stores,
    registry::Registry,
    time::{Span, Timestamp},
};

/// How many batches are written at once: enough to keep a store across a network busy.
const WRITES: usize = 4;

/// How often progress is told while nothing is written.
const TOLD_EVERY: Duration = Duration::from_millis(200);

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

/// How many bytes of files are read, where nobody says otherwise, before it is written down that
/// they were.
pub const CHECKPOINT: u64 = 256 << 20;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows that were read.
    pub read: u64,
    /// Rows that are to be read, by the files' own counts.
    pub of: u64,
    /// Entities whose newest rows were written.
    pub written: u64,
}

/// What a run did for one view.
#[derive(Debug)]
pub struct Report {
    /// What was read, and why.
    pub plan: Plan,
    /// How far the view was materialized before.
    pub was_through: Option<Timestamp>,
    /// What was written.
    pub written: Written,
}

impl Materializer<'_> {
    /// What a run would read. Nothing is written.
    ///
    /// # Errors
    /// Those of [`Materializer::run`], as far as they are found without reading rows.
    pub async fn plan(&self, name: &str, window: Window, now: Timestamp) -> Result<Plan> {
        window.check(now)?;
        let writer = ViewWriter::new(self.in_force, name)?;
        let ledger = self.ledger(&mut self.ledgers(name, &writer)?, window).await?;
        self.plan_after(ledger.as_ref(), &writer, self.ttl(&writer)?, window).await
    }

    /// Materializes a view: reads the newest row of every entity within the window and writes it,
    /// newest wins. `progress` is told how far it is, now and then.
    ///
    /// A run that is cut off anywhere, or dropped, has lost nothing: an incremental run goes on
    /// after the last group of files of which it was written down that they were read.
    ///
    /// # Errors
    /// Those of the sources, of the view's function where its definition says so, of the store and
    /// of the registry; [`crate::error::Kind::Invalid`] for a window that ends after `now` or before
    /// it starts; [`crate::error::Kind::Conflict`] when another run materialized the view under
    /// another definition meanwhile.
    pub async fn run(
        &self,
        name: &str,
        window: Window,
        now: Timestamp,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Report> {
        self.run_in_steps(name, window, now, CHECKPOINT, progress).await
    }

    /// As [`Materializer::run`], where it is written down what was read whenever files of so many
    /// bytes were.
    ///
    /// # Errors
    /// Those of [`Materializer::run`].
    pub async fn run_in_steps(
        &self,
        name: &str,
        window: Window,
        now: Timestamp,
        checkpoint: u64,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Report> {
        window.check(now)?;
        let writer = Arc::new(ViewWriter::new(self.in_force, name)?);
        let definition = writer.definition();
        let mut ledgers = self.ledgers(name, &writer)?;
        let ledger = self.ledger(&mut ledgers, window).await?;
        let was_through = ledger.as_ref().and_then(|ledger| ledger.through);
        let ttl = self.ttl(&writer)?;
        let plan = self.plan_after(ledger.as_ref(), &writer, ttl, window).await?;
        let lacking = ledger.as_ref().is_some_and(|ledger| ledger.may_lack_rows(ttl));
        let whole = matches!(window, Window::Between(None, _));
        let anew = whole || (lacking && window.is_incremental());
        let began = match ledger.filter(|ledger| ledger.definition == definition && !anew) {
            Some(ledger) => ledger,
            // Whatever becomes of this run, rows of this definition may be there from now on: a run
            // under the definition before must not go on from where it ended. And a run that is to
            // read everything does not leave out what was read before.
            None => {
                let begun = |ledger: Result<Option<Ledger>>| {
                    let begun = Ledger::begun(definition, ledger.ok().flatten().as_ref());
                    Ok(Ledger { ttl, ..begun })
                };
                ledgers.write(begun).await?
            }
        };
        if began.ttl != ttl && !lacking {
            claim(&mut ledgers, &began, |ledger| ledger.ttl = ttl).await?;
        }
        let claims = whole || window.is_incremental();
        let mut told = Progress { of: plan.rows(), ..Progress::default() };
        let mut written = Written::default();
        for group in plan.groups(checkpoint) {
            written += self.read_group(&writer, &plan, group, &mut told, progress).await?;
            if claims {
                // Of what a run under another ttl writes meanwhile, each leaves to the other.
                let add = |ledger: &mut Ledger| {
                    if ledger.ttl == ttl {
                        ledger.add(group, plan.to);
                    }
                };
                claim(&mut ledgers, &began, add).await?;
            }
        }
        let found = plan.found();
        let finish = |ledger: &mut Ledger| {
            if claims {
                ledger.finish(&found, plan.to, now);
            }
        };
        claim(&mut ledgers, &began, finish).await?;
        Ok(Report { plan, was_through, written })
    }

    /// After which time the rows of a view may leave its store, if they do.
    fn ttl(&self, writer: &ViewWriter) -> Result<Option<Span>> {
        let store = self.stores.get(writer.store())?;
        Ok(writer.ttl().filter(|_| store.expires()))
    }

    fn ledgers(&self, name: &str, writer: &ViewWriter) -> Result<Ledgers<'_>> {
        let store = self.stores.get(writer.store())?.as_ref();
        Ok(Ledgers::new(&self.in_force.project, name, self.registry, writer.store(), store))
    }

    async fn ledger(&self, ledgers: &mut Ledgers<'_>, window: Window) -> Result<Option<Ledger>> {
        match ledgers.current().await {
            // A run that does not resume does not need the ledger, and is the way to replace it.
            Err(error) if error.kind() == Kind::Corrupt && !window.is_incremental() => Ok(None),
            ledger => ledger,
        }
    }

    async fn plan_after(
        &self,
        ledger: Option<&Ledger>,
        writer: &ViewWriter,
        ttl: Option<Span>,
        window: Window,
    ) -> Result<Plan> {
        let inputs = self.sources.inputs(writer.source()).await?;
        let visible = self.sources.visible(writer.source())?;
        Ok(Plan::of(window, &writer.definition(), ttl, visible, ledger, inputs))
    }

    /// Reads a group of files and writes the newest row of every entity in them. Features are
    /// computed for several batches at once, and several are written at once.
    async fn read_group(
        &self,
        writer: &Arc<ViewWriter>,
        plan: &Plan,
        group: &[PlannedFile],
        told: &mut Progress,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Written> {
        let Some(first) = group.first() else {
            return Ok(Written::default());
        };
        let paths: BTreeSet<&str> =
            group.iter().map(|planned| planned.file.path.as_str()).collect();
        let LatestRows { batches, scanned } = latest_rows(
            self.sources,
            writer.source(),
            writer.layout(),
            &paths,
            first.from,
            plan.to,
        )
        .await?;
        let encoded = batches.map(|batch| encode(Arc::clone(writer), batch));
        let written = encoded
            .buffered(self.sources.partitions())
            .map_ok(|rows| rows.write(self.stores))
            .try_buffer_unordered(WRITES);
        let mut written = std::pin::pin!(written);
        let (mut total, before) = (Written::default(), told.read);
        let mut ticks = interval(TOLD_EVERY);
        loop {
            let done = tokio::select! {
                batch = written.try_next() => match batch {
                    Ok(Some(batch)) => { total += batch; false }
                    Ok(None) => true,
                    Err(error) => {
                        return Err(self.sources.locate_damage(writer.source(), error).await);
                    }
                },
                _ = ticks.tick() => false,
            };
            told.read = before + scanned.rows();
            progress(Progress { written: told.written + total.rows, ..*told });
            if done {
                told.written += total.rows;
                return Ok(total);
            }
        }
    }
}

/// Computes the features of a batch where that keeps nobody waiting.
async fn encode(
    writer: Arc<ViewWriter>,
    batch: Result<arrow::array::RecordBatch>,
) -> Result<EncodedRows> {
    let batch = batch?;
    let encoded = spawn_blocking(move || writer.encode(&batch)).await;
    encoded.map_err(|error| Error::internal(format!("features were not computed: {error}")))?
}

/// Changes the ledger that a run began with, unless a run under another definition began meanwhile:
/// each of both may have replaced rows of the other, so that neither can say what is stored; or rows
/// were pruned meanwhile, to which the run may have left some of its own.
pub(super) async fn claim(
    ledgers: &mut Ledgers<'_>,
    began: &Ledger,
    change: impl Fn(&mut Ledger),
) -> Result<()> {
    let next = |current: Result<Option<Ledger>>| {
        // Where there is none any more, rows were deleted.
        let mut ledger = current?.unwrap_or_else(|| began.reset());
        if ledger.definition != began.definition {
            return Ok(ledger.reset());
        }
        if ledger.goes_on_from(began) {
            change(&mut ledger);
        }
        Ok(ledger)
    };
    match ledgers.write(next).await?.goes_on_from(began) {
        true => Ok(()),
        false => Err(Error::conflict(
            "the view was materialized under another definition, or pruned, meanwhile",
        )
        .with_hint("run it again: it starts from the beginning, under the definition in force")),
    }
}
