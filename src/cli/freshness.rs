//! `unskew freshness`.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{
    Context, Verdict,
    serve::{asked_to_stop, log_warnings},
    table::table,
};
use crate::{
    error::{Error, Result},
    freshness::{Measured, Round, State, watch},
    time::{Span, Timestamp},
};

/// See whether the rows in the online store are young enough.
///
/// Every feature view that says `freshness = { max_age = "24h" }` is looked at: some of its rows,
/// and how far it is materialized. The exit code is 1 if one is stale or has no data.
#[derive(Debug, Args)]
pub(super) struct Freshness {
    /// Look again and again, and tell the webhooks of `[freshness]` in unskew.toml when a view is
    /// not fresh any more and when it is again, until the process is asked to stop.
    #[arg(long)]
    watch: bool,
    /// How often to look, with --watch; by default what unskew.toml says, or a minute.
    #[arg(long, value_name = "SPAN", requires = "watch")]
    every: Option<Span>,
}

impl Freshness {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let in_force = Arc::new(app.in_force().await?);
        let monitor = app.monitor()?;
        let output = context.output;
        if !self.watch {
            let at = Timestamp::now();
            let round = Round { at, views: monitor.measure(&in_force, at).await };
            output.result(render(&round), &data(&round))?;
            return verdict(round);
        }
        log_warnings();
        let mut settings = app.config.freshness.clone();
        settings.every = self.every.unwrap_or(settings.every);
        // Where nothing can be printed, the webhooks are still told.
        let seen = |round: &Round| drop(output.event(render(round), &data(round)));
        let in_force = || Arc::clone(&in_force);
        watch(monitor, &settings, in_force, Timestamp::now, seen, asked_to_stop()).await?;
        Ok(Verdict::Yes)
    }
}

/// What is to be said of the views at one moment; an error, where one could not be measured.
fn verdict(round: Round) -> Result<Verdict> {
    let mut verdict = Verdict::Yes;
    for (view, measured) in round.views {
        let measured =
            measured.map_err(|error| error.context(format!("feature view {view} not measured")))?;
        if measured.state != State::Fresh {
            verdict = Verdict::No;
        }
    }
    Ok(verdict)
}

fn data(round: &Round) -> Value {
    let view = |measured: &Result<Measured>| match measured {
        Ok(measured) => json!(measured),
        Err(error) => json!({"error": error.message()}),
    };
    let views = round.views.iter().map(|(name, measured)| (name.clone(), view(measured)));
    json!({"at": round.at, "views": views.collect::<serde_json::Map<_, _>>()})
}

fn render(round: &Round) -> String {
    if round.views.is_empty() {
        return "no feature view says how fresh it should be\n\
                hint: freshness = { max_age = \"24h\" } in its definition"
            .to_owned();
    }
    let rows = round.views.iter().map(|(name, measured)| row(name, measured));
    table(
        &["view", "state", "max age", "p95 age", "watermark", "threshold", "rows", "reason"],
        rows.collect(),
    )
}

fn row(name: &str, measured: &Result<Measured, Error>) -> Vec<String> {
    let age = |age: Option<Span>| {
        age.map_or_else(|| "-".to_owned(), |age| age.in_whole_seconds().to_string())
    };
    match measured {
        Ok(measured) => vec![
            name.to_owned(),
            measured.state.as_str().to_owned(),
            age(measured.max_age),
            age(measured.p95_age),
            age(measured.watermark_age),
            measured.threshold.to_string(),
            measured.sampled.to_string(),
            measured.reason.clone().unwrap_or_default(),
        ],
        Err(error) => {
            let mut row = vec!["-".to_owned(); 8];
            row[0] = name.to_owned();
            row[7] = error.message().to_owned();
            row
        }
    }
}
