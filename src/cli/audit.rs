//! `unskew audit`.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Context, Verdict, client::FeatureServerClient};
use crate::{
    audit::{ColumnAudit, Served, Standing, audit},
    definition::fingerprint::Difference,
    error::Result,
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
        let (served, columns) = match &self.server {
            Some(url) => {
                let served: Served = FeatureServerClient::new(url)?.get("/fingerprints").await?;
                let columns = audit(&manifest, &served)?;
                (served, columns)
            }
            None => self.against_registry(context, &manifest).await?,
        };
        let data = json!({
            "dataset": self.file, "rows": manifest.rows, "trained_with_snapshot": manifest.snapshot,
            "compared_with_snapshot": served.snapshot, "columns": columns,
        });
        context.output.result(self.render(&manifest, &served, &columns), &data)?;
        let all_same = columns.iter().all(|column| column.standing == Standing::Same);
        Ok(if all_same { Verdict::Yes } else { Verdict::No })
    }

    /// With the project at hand, the columns that differ are computed again, and the rows that
    /// would change are counted.
    async fn against_registry(
        &self,
        context: &Context,
        manifest: &Manifest,
    ) -> Result<(Served, Vec<ColumnAudit>)> {
        let app = context.app()?;
        let in_force = app.in_force().await?;
        let served = Served::of(&in_force);
        let mut columns = audit(manifest, &served)?;
        let differing = |column: &&mut ColumnAudit| {
            !matches!(column.standing, Standing::Same | Standing::NoLongerServed)
        };
        let mut differing: Vec<_> = columns.iter_mut().filter(differing).collect();
        if !differing.is_empty() {
            let mut sources = app.sources(&in_force, &Resources::default()).await?;
            let names: Vec<String> = differing.iter().map(|column| column.column.clone()).collect();
            let counts =
                count_changes(&self.file, manifest, &names, &in_force, &mut sources).await?;
            for (column, count) in differing.iter_mut().zip(counts) {
                column.rows_changed = Some(count);
            }
        }
        Ok((served, columns))
    }

    fn render(&self, manifest: &Manifest, served: &Served, columns: &[ColumnAudit]) -> String {
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
