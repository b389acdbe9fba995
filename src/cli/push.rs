//! `unskew push`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{Context, Verdict, materialize::line};
use crate::{
    error::{Context as _, Error, Result},
    materialize::{Target, push},
    server::Columns,
    time::Timestamp,
};

/// Write rows that you bring to the online store, as if their source had had them.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// The source, or the feature view, that the rows are of.
    target: String,
    /// A JSON file with the rows, column by column: {"customer_id": [1], "ordered_at": ["1998-06-30"]}.
    file: PathBuf,
}

impl Push {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let shown = || self.file.display().to_string();
        let text = fs::read_to_string(&self.file).context(shown)?;
        let Columns(rows) = serde_json::from_str(&text).map_err(|error| {
            Error::invalid(format!("nothing pushed: {}: {error}", shown()))
                .with_hint("rows are a JSON object with a list of values for each column")
        })?;
        let in_force = app.in_force().await?;
        let stores = app.stores()?;
        let target = Target::SourceOrView(&self.target);
        let pushed = push(&in_force, target, &rows, Timestamp::now(), &stores).await?;
        let lines: Vec<String> = pushed.iter().map(|(view, written)| line(view, written)).collect();
        let data: BTreeMap<_, _> =
            pushed.iter().map(|(view, written)| (view, json!(written))).collect();
        context.output.result(lines.join("\n"), &data)?;
        Ok(Verdict::Yes)
    }
}
