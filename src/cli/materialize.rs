//! `unskew materialize`.

use clap::Args;
use serde_json::json;

use super::{Context, Verdict, resources::ResourceArguments};
use crate::{
    error::Result,
    materialize::{Materializer, Report, Window, Written, views},
    time::Timestamp,
};

/// Write the newest row of every entity to the online store, view by view.
///
/// The newest row stays, whatever is written in whatever order: a run can be repeated, cut off and
/// run again, or run twice at once, and nothing is lost.
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
    /// Start where the last run ended; from the beginning, if a source file or the view has
    /// changed since, so that late rows and corrections land.
    #[arg(long)]
    incremental: bool,
    #[command(flatten)]
    resources: ResourceArguments,
}

impl Materialize {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let in_force = app.in_force().await?;
        let sources = app.sources(&in_force, &self.resources.resources()).await?;
        let (stores, registry) = (app.stores()?, app.registry()?);
        let materializer = Materializer {
            in_force: &in_force,
            sources: &sources,
            stores: &stores,
            registry: &registry,
        };
        let now = Timestamp::now();
        let to = self.to.unwrap_or(now);
        let window = match self.incremental {
            true => Window::Incremental(to),
            false => Window::Between(self.from, to),
        };
        let mut lines = Vec::new();
        let mut data = serde_json::Map::new();
        for name in views(&in_force, &self.views)?.into_keys() {
            let bar = context.output.rows(name);
            let progress = |rows| bar.inc(rows);
            let report = materializer.run(name, window, now, &progress).await;
            bar.finish_and_clear();
            let report = report.map_err(|error| error.context(format!("materializing {name}")))?;
            lines.push(describe(name, &report, to));
            data.insert(
                name.to_owned(),
                json!({"from": report.from, "to": to, "written": report.written}),
            );
        }
        context.output.result(lines.join("\n"), &data)?;
        Ok(Verdict::Yes)
    }
}

fn describe(name: &str, report: &Report, to: Timestamp) -> String {
    let from = report.from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
    format!("{}\n  event times from {from} to {to}", line(name, &report.written))
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
