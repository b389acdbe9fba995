//! `unskew audit`.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Verdict, client::FeatureServerClient};
use crate::{
    app::App,
    audit::{ColumnAudit, Served, Standing, audit},
    definition::fingerprint::Difference,
    error::{Error, Result},
    evaluate::InForce,
    offline::{Manifest, Resources, count_changes},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compare every column of a training dataset with what is in force now.
    ///
    /// Exit code 0 only if all are the same, 1 otherwise.
    TrainingSet(TrainingSet),
}

#[derive(Debug, Args)]
pub(super) struct TrainingSet {
    /// The training dataset: a Parquet file that `unskew training-set` wrote.
    file: PathBuf,
    /// Compare with the server at this URL, instead of the project's registry.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
}

/// What an audit found.
struct Outcome {
    served: Served,
    columns: Vec<ColumnAudit>,
    /// Whether the rows that would change were counted, or why they were not: the data need not be
    /// at hand, and what is in force may ask for more than the dataset has.
    counted: Result<()>,
}

impl Command {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        match self {
            Self::TrainingSet(command) => command.run(context).await,
        }
    }
}

impl TrainingSet {
    async fn run(self, context: &Context) -> Result<Verdict> {
        let manifest = Manifest::read(&self.file)?;
        let outcome = match &self.server {
            Some(url) => {
                let served: Served = FeatureServerClient::new(url)?.get("/fingerprints").await?;
                Outcome { columns: audit(&manifest, &served)?, served, counted: Ok(()) }
            }
            None => self.against_registry(context, &manifest).await?,
        };
        let data = json!({
            "dataset": self.file, "rows": manifest.rows, "trained_with_snapshot": manifest.snapshot,
            "compared_with_snapshot": outcome.served.snapshot, "columns": outcome.columns,
            "error": outcome.counted.as_ref().err().map(Error::message),
        });
        context.output.result(self.render(&manifest, &outcome), &data)?;
        let all_same = outcome.columns.iter().all(|column| column.standing == Standing::Same);
        Ok(if all_same { Verdict::Yes } else { Verdict::No })
    }

    /// With the project at hand, the columns that differ are computed again, and the rows that
    /// would change are counted.
    async fn against_registry(&self, context: &Context, manifest: &Manifest) -> Result<Outcome> {
        let app = context.app()?;
        let in_force = app.in_force().await?;
        let served = Served::of(&in_force);
        let mut columns = audit(manifest, &served)?;
        let differing = |column: &&mut ColumnAudit| {
            !matches!(column.standing, Standing::Same | Standing::NoLongerServed)
        };
        let differing: Vec<_> = columns.iter_mut().filter(differing).collect();
        let counted = match differing.is_empty() {
            true => Ok(()),
            false => self.count(&app, &in_force, manifest, differing).await,
        };
        Ok(Outcome { served, columns, counted })
    }

    /// Counts the rows that would change of the columns that differ.
    async fn count(
        &self,
        app: &App,
        in_force: &InForce,
        manifest: &Manifest,
        differing: Vec<&mut ColumnAudit>,
    ) -> Result<()> {
        let resources = Resources::default();
        let mut sources = app.sources(in_force, &resources, BTreeMap::new())?;
        let names: Vec<String> = differing.iter().map(|column| column.column.clone()).collect();
        let counts = count_changes(&self.file, manifest, &names, in_force, &mut sources).await?;
        for (column, count) in differing.into_iter().zip(counts) {
            column.rows_changed = Some(count);
        }
        Ok(())
    }

    fn render(&self, manifest: &Manifest, outcome: &Outcome) -> String {
        let Outcome { served, columns, counted } = outcome;
        let mut text = format!(
            "{}: {} rows, trained with snapshot {}, compared with snapshot {}{}\n",
            self.file.display(),
            manifest.rows,
            manifest.snapshot,
            served.snapshot,
            self.server.as_ref().map_or_else(String::new, |url| format!(" of {url}")),
        );
        let width = columns.iter().map(|column| column.column.len()).max().unwrap_or(0);
        for column in columns {
            let _ = write!(text, "\n  {:width$}  {}", column.column, column.standing.as_str());
            if let Some(changed) = column.rows_changed {
                let _ = write!(text, ": {changed} of {} rows would change", manifest.rows);
            }
            for difference in &column.differences {
                describe(
                    difference,
                    &format!("\n  {:width$}    ", ""),
                    manifest,
                    served,
                    &mut text,
                );
            }
        }
        if let Err(error) = counted {
            let _ = write!(text, "\n\nWhich rows would change is not known: {}", error.message());
        }
        let same = columns.iter().filter(|column| column.standing == Standing::Same).count();
        let _ = match columns.len() - same {
            0 => write!(text, "\n\nSame: all {same} columns would be computed by the same code."),
            differ => write!(text, "\n\nDiffers: {differ} of {} columns.", columns.len()),
        };
        text
    }
}

/// One difference in three lines, digests of transforms with their names.
fn describe(
    difference: &Difference,
    margin: &str,
    manifest: &Manifest,
    served: &Served,
    text: &mut String,
) {
    let shown = |value: &serde_json::Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let digest = text.parse().ok();
        let label = digest
            .and_then(|digest| manifest.labels.get(&digest).or_else(|| served.labels.get(&digest)));
        match label {
            Some(label) => format!("{label} {text}"),
            None => text,
        }
    };
    let (was, is) = (shown(&difference.was), shown(&difference.is));
    let _ = write!(text, "{margin}{}{margin}  was {was}{margin}  is  {is}", difference.path);
}
