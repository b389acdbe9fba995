//! `unskew transform list`.

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{cli::table::table, error::Result};

/// List what is published.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {}

impl List {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let registry = context.app()?.registry()?;
        let mut rows = Vec::new();
        let mut data = Vec::new();
        for (name, digest) in registry.list_transforms().await? {
            let report = registry.report(&digest).await?;
            let functions: Vec<String> = report.functions.iter().map(ToString::to_string).collect();
            rows.push(vec![
                name.to_string(),
                digest.short(),
                report.size.to_string(),
                functions.join("\n"),
            ]);
            data.push(json!({"name": name, "digest": digest, "size": report.size, "functions": report.functions}));
        }
        context
            .output
            .result(table(&["transform", "digest", "bytes", "functions"], rows), &data)?;
        Ok(Verdict::Yes)
    }
}
