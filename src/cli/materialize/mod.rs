//! `unskew materialize`.

mod watch;

use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::{
    Context, Verdict,
    output::Output,
    resources::{ResourceArguments, bytes},
    table::table,
};
use crate::{
    app::App,
    error::{Context as _, Result},
    evaluate::InForce,
    materialize::{
        CHECKPOINT, DEFAULT_STORE, Gone, Leftover, Materializer, Plan, Progress, Report, Window,
        Written, delete_leftover, leftovers, views,
    },
    offline::{Resources, Sources},
    online::Stores,
    registry::Registry,
    time::{Span, Timestamp},
};

/// Write the newest row of every entity to the online store, view by view.
///
/// The newest row stays, whatever is written in whatever order: a run can be repeated, cut off and
/// run again, or run twice at once, and nothing is lost. What is served is served on meanwhile.
///
/// With --json, a line for each view. Exit code 2 if a view could not be materialized; the others
/// are, nevertheless.
#[derive(Debug, Args)]
pub(super) struct Materialize {
    /// The feature views; all that are online, where none is named.
    views: Vec<String>,
    /// Read rows with event times from here on, this moment included.
    #[arg(long, value_name = "TIME", conflicts_with = "incremental")]
    from: Option<Timestamp>,
    /// Read rows with event times up to here, this moment included; now, where it is not given.
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Read what was not read before: files that are new or changed, whole, so that late rows and
    /// corrections land; of the others, later rows. A run that was cut off goes on.
    #[arg(long)]
    incremental: bool,
    /// Say what would be read, or deleted, and why; do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Run incrementally again and again, until the process is asked to stop.
    #[arg(long, conflicts_with_all = ["from", "to", "dry_run", "prune"])]
    watch: bool,
    /// How long to wait between runs, with --watch. After a run that failed, longer each time, up
    /// to ten times as long.
    #[arg(long, value_name = "SPAN", requires = "watch", default_value = "1m")]
    every: Span,
    /// Delete what is left in the online stores of views that were removed, that are not online any
    /// more, or that live in another store now; and rows that an earlier definition of a view wrote,
    /// once it was materialized under the one in force: its next run reads everything again.
    #[arg(long, conflicts_with_all = ["from", "to", "incremental", "views"])]
    prune: bool,
    /// How much to read before it is written down that it was: what a run that is cut off has to
    /// read again at most.
    #[arg(long, value_name = "SIZE", value_parser = bytes, default_value_t = CHECKPOINT as usize)]
    checkpoint: usize,
    #[command(flatten)]
    pub(super) resources: ResourceArguments,
}

/// What a run needs of the project.
struct Project {
    app: App,
    in_force: InForce,
    stores: Stores,
    registry: Registry,
    resources: Resources,
    checkpoint: u64,
}

impl Materialize {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        if self.watch {
            return watch::run(self, context).await;
        }
        let project = self.open(context).await?;
        let output = context.output;
        if self.prune {
            return self.prune(&project, output).await;
        }
        let now = Timestamp::now();
        let to = self.to.unwrap_or(now);
        let window = match self.incremental {
            true => Window::Incremental(to),
            false => Window::Between(self.from, to),
        };
        let mut failed = None;
        for name in views(&project.in_force, &self.views)?.into_keys() {
            let done = match self.dry_run {
                true => project.plan(name, window, now, output).await,
                false => project.materialize(name, window, now, output).await,
            };
            if let Err(error) = done {
                // One view is no reason to let the others grow old.
                if let Some(before) = failed.replace(error) {
                    output.error(&before);
                }
            }
        }
        failed.map_or(Ok(Verdict::Yes), Err)
    }

    async fn open(&self, context: &Context) -> Result<Project> {
        let app = context.app()?;
        Ok(Project {
            in_force: app.in_force().await?,
            stores: app.stores()?,
            registry: app.registry()?,
            app,
            resources: self.resources.resources(),
            checkpoint: self.checkpoint as u64,
        })
    }

    async fn prune(&self, project: &Project, output: Output) -> Result<Verdict> {
        let Project { in_force, stores, registry, .. } = project;
        let (mut found, mut failed) = (Vec::new(), None);
        for leftover in leftovers(in_force, stores, registry).await? {
            let done = match leftover {
                Ok(leftover) if !self.dry_run => project.delete(&leftover).await.map(|()| leftover),
                leftover => leftover,
            };
            match done {
                Ok(leftover) => found.push(leftover),
                // A store that fails is no reason to leave rows in the others.
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        output.error(&before);
                    }
                }
            }
        }
        if !found.is_empty() || failed.is_none() {
            let done = if self.dry_run { "would be deleted" } else { "deleted" };
            output.result(
                describe_leftovers(&found, done),
                &json!({ "deleted": !self.dry_run, "views": found }),
            )?;
        }
        failed.map_or(Ok(Verdict::Yes), Err)
    }
}

impl Project {
    /// The source of a view as it is now.
    async fn sources(&self, name: &str) -> Result<Sources> {
        self.app.source_of(&self.in_force, &self.resources, name).await
    }

    async fn delete(&self, leftover: &Leftover) -> Result<()> {
        let deleted = delete_leftover(leftover, &self.in_force, &self.stores, &self.registry).await;
        deleted.context(|| {
            let Leftover { view, store, .. } = leftover;
            let store = store.as_deref().unwrap_or(DEFAULT_STORE);
            format!("what is left of {view} in store {store} was not deleted")
        })
    }

    fn materializer<'a>(&'a self, sources: &'a Sources) -> Materializer<'a> {
        Materializer {
            in_force: &self.in_force,
            sources,
            stores: &self.stores,
            registry: &self.registry,
        }
    }

    async fn plan(&self, name: &str, window: Window, now: Timestamp, output: Output) -> Result<()> {
        let planned = async {
            let sources = self.sources(name).await?;
            self.materializer(&sources).plan(name, window, now).await
        };
        let plan = planned.await.context(|| format!("planning {name}"))?;
        output.event(describe_plan(name, &plan), &data_of_plan(name, &plan))
    }

    async fn materialize(
        &self,
        name: &str,
        window: Window,
        now: Timestamp,
        output: Output,
    ) -> Result<()> {
        let bar = output.bar(name);
        let progress = |progress: Progress| show(&bar, progress);
        let run = async {
            let sources = self.sources(name).await?;
            let materializer = self.materializer(&sources);
            materializer.run_in_steps(name, window, now, self.checkpoint, &progress).await
        };
        let report = run.await;
        bar.finish_and_clear();
        let report = report.context(|| format!("materializing {name}"))?;
        output.event(describe(name, &report), &data(name, &report))
    }
}

/// Shows how far a run is: rows read of those to read, and how many entities are written.
fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.of);
    bar.set_position(progress.read.min(progress.of));
    bar.set_prefix(format!("{} entities written", progress.written));
}

fn data(name: &str, report: &Report) -> Value {
    let Report { plan, was_through, written } = report;
    json!({
        "view": name,
        "from": plan.from(),
        "to": plan.to,
        "lag_seconds": was_through.map(|was| plan.to.0.saturating_sub(was.0).max(0) as f64 / 1e6),
        "files": plan.files.len(),
        "unchanged": plan.unchanged.len(),
        "written": written,
    })
}

fn data_of_plan(name: &str, plan: &Plan) -> Value {
    json!({ "view": name, "to": plan.to, "rows": plan.rows(), "files": plan.files, "unchanged": plan.unchanged.len() })
}

fn describe(name: &str, report: &Report) -> String {
    let Report { plan, written, .. } = report;
    if plan.files.is_empty() {
        return format!("{name}: nothing to read, {} files unchanged", plan.unchanged.len());
    }
    let from = moment(plan.from());
    let files = match plan.unchanged.len() {
        0 => format!("{} files", plan.files.len()),
        unchanged => format!("{} files, {unchanged} unchanged and not read", plan.files.len()),
    };
    format!("{}\n  event times from {from} to {}; {files}", line(name, written), plan.to)
}

fn moment(from: Option<Timestamp>) -> String {
    from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string())
}

fn describe_plan(name: &str, plan: &Plan) -> String {
    let mut text = format!(
        "{name}: {} rows of {} files, event times up to {}; {} files unchanged\n",
        plan.rows(),
        plan.files.len(),
        plan.to,
        plan.unchanged.len()
    );
    let row = |planned: &crate::materialize::PlannedFile| {
        vec![
            planned.file.path.to_string(),
            planned.why.as_str().to_owned(),
            moment(planned.from),
            planned.rows.to_string(),
            format!("{} of {}", planned.row_groups, planned.of_row_groups),
            planned.file.size.to_string(),
        ]
    };
    if !plan.files.is_empty() {
        let rows = plan.files.iter().map(row).collect();
        text.push_str(&table(&["file", "why", "from", "rows", "row groups", "bytes"], rows));
    }
    text
}

fn describe_leftovers(found: &[Leftover], done: &str) -> String {
    if found.is_empty() {
        return "nothing is left of what is not in force any more".to_owned();
    }
    let line = |leftover: &Leftover| {
        let Leftover { view, store, why, rows } = leftover;
        let store = store.as_ref().map_or_else(String::new, |store| format!(" in {store}"));
        let rows = match rows {
            Some(rows) if *why == Gone::Redefined => {
                format!("{rows} rows {done}; the next run reads the view from the beginning")
            }
            Some(rows) => format!("{rows} rows {done}"),
            None => "the store is not in unskew.toml any more: its rows stay".to_owned(),
        };
        format!("{view}{store}, {}: {rows}", why.as_str())
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What became of the rows of a view, in a line.
pub(super) fn line(view: &str, written: &Written) -> String {
    let Written { rows, store, without_key, row_errors, examples } = written;
    let mut line = format!(
        "{view}: {rows} entities, {} written, {} older than what is stored, {} unchanged",
        store.written, store.stale, store.unchanged
    );
    if *without_key > 0 {
        line.push_str(&format!("\n  {without_key} without a join key, not written"));
    }
    if *row_errors > 0 {
        line.push_str(&format!(
            "\n  {row_errors} null because the function refused them, e.g. {}",
            examples.join("; ")
        ));
    }
    line
}
