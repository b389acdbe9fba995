//! `unskew training-set`.

use std::{collections::BTreeMap, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Context, Verdict, entities::EntityArguments, get::WantedArguments, output::expecting,
    resources::ResourceArguments,
};
use crate::{
    error::Result,
    offline::{TrainingRequest, TrainingSetWritten, write_training_set},
    time::Timestamp,
};

/// Build a training dataset, correct at every row's point in time.
///
/// The rows are those of the entity dataframe, every one once and in its order, with all of its
/// columns; the features are added behind them. The file carries a manifest: the fingerprint of
/// every feature, the definitions and transforms behind it, the files that were read.
#[derive(Debug, Args)]
pub(super) struct TrainingSet {
    #[command(flatten)]
    entities: EntityArguments,
    #[command(flatten)]
    wanted: WantedArguments,
    /// The Parquet file to write, or the folder of a partitioned dataset; one that is there is
    /// replaced when the new one is complete.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Write a folder in Hive's layout, with a file for every value of this column. Repeat it for
    /// more.
    #[arg(long, value_name = "COLUMN")]
    partition_by: Vec<String>,
    /// Show what each operator of the plan did: rows, time, memory, what it spilled.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    pub(super) resources: ResourceArguments,
}

impl TrainingSet {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let in_force = app.in_force().await?;
        let resources = self.resources.resources();
        let mut sources = app.sources(&in_force, &resources, BTreeMap::new())?;
        let request = TrainingRequest {
            entities: self.entities.request()?,
            wanted: self.wanted.wanted(),
            full_names: self.wanted.full_names(),
            partition_by: self.partition_by,
        };
        let bar = context.output.rows("training dataset");
        let written = write_training_set(
            &in_force,
            &mut sources,
            &request,
            &self.output,
            Timestamp::now(),
            |rows| expecting(&bar, rows),
        )
        .await;
        bar.finish_and_clear();
        let TrainingSetWritten { manifest, row_errors, plan } = written?;
        let mut text = format!(
            "{}: {} rows, {} features, snapshot {}\ncontent {}",
            self.output.display(),
            manifest.rows,
            manifest.columns.len(),
            manifest.snapshot,
            manifest.content_hash,
        );
        for (view, errors) in &row_errors {
            text.push_str(&format!(
                "\n{view}: {} rows null because the function refused them, e.g. {}",
                errors.count, errors.example
            ));
        }
        if self.explain {
            text.push_str(&format!("\n\n{plan}"));
        }
        let mut data = json!({
            "file": self.output, "rows": manifest.rows, "snapshot": manifest.snapshot,
            "content_hash": manifest.content_hash, "columns": manifest.columns, "row_errors": row_errors,
        });
        if self.explain {
            data["plan"] = json!(plan);
        }
        context.output.result(text, &data)?;
        Ok(Verdict::Yes)
    }
}
