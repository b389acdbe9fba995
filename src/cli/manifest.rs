//! `unskew manifest`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use serde_json::Value;

use super::{Context, Verdict, table::table};
use crate::{
    digest::Digest,
    error::Result,
    offline::{ColumnStatistics, EntitiesRecord, Manifest, Sample, SourceFile},
};

/// Show what a training dataset says of itself: the request, the files and the code that made it.
#[derive(Debug, Args)]
pub(super) struct ShowManifest {
    /// The training dataset.
    file: PathBuf,
}

impl ShowManifest {
    pub(super) fn run(self, context: &Context) -> Result<Verdict> {
        let manifest = Manifest::read(&self.file)?;
        context.output.result(render(&manifest), &manifest)?;
        Ok(Verdict::Yes)
    }
}

fn render(manifest: &Manifest) -> String {
    let Manifest { request, runtime, .. } = manifest;
    let mut text = format!(
        "project   {}, snapshot {}\nmade      {}\nruntime   {} {}\nrows      {}\ncontent   {}\n",
        manifest.project,
        manifest.snapshot,
        manifest.created_at,
        runtime.name,
        runtime.digest.short(),
        manifest.rows,
        manifest.content_hash,
    );
    let entities = match &request.entities {
        EntitiesRecord::File(file) => file_line(file),
        EntitiesRecord::Sql(query) => query.clone(),
    };
    let _ = writeln!(text, "entities  {entities}\n          time in {}", request.timestamp_column);
    for (name, column) in &request.names {
        let _ = writeln!(text, "          {name} in {column}");
    }
    if let Some(Sample { fraction, seed }) = request.selection.sample {
        let _ = writeln!(text, "          a sample of {fraction}, seed {seed}");
    }
    if let Some(limit) = request.selection.limit {
        let _ = writeln!(text, "          the first {limit} rows");
    }
    if let Some(service) = &request.service {
        let _ = writeln!(text, "service   {service}");
    }
    if !request.partition_by.is_empty() {
        let _ = writeln!(text, "by        {}", request.partition_by.join(", "));
    }
    let _ = writeln!(text, "\ninputs");
    for file in &manifest.inputs {
        let _ = writeln!(text, "  {}", file_line(file));
    }
    for (source, table) in &manifest.tables {
        let _ =
            writeln!(text, "  {source}: Delta table {} at version {}", table.path, table.version);
    }
    let _ = writeln!(text, "\nfeatures");
    let width = manifest.columns.keys().map(String::len).max().unwrap_or(0);
    for (name, column) in &manifest.columns {
        let fingerprint = column.fingerprint.short();
        let _ = writeln!(text, "  {name:width$}  {fingerprint}  {}", column.feature);
    }
    text.push_str(&statistics(manifest));
    // The runtime, which is told above, has a label as well.
    let is_transform = |digest: &Digest| *digest != runtime.digest;
    let transforms: Vec<_> =
        manifest.labels.iter().filter(|(digest, _)| is_transform(digest)).collect();
    if !transforms.is_empty() {
        let _ = writeln!(text, "\ntransforms");
    }
    for (digest, label) in transforms {
        let _ = writeln!(text, "  {label}  {digest}");
    }
    text
}

/// What the values of the columns are like, in a table.
fn statistics(manifest: &Manifest) -> String {
    if manifest.statistics.is_empty() {
        return String::new();
    }
    let shown = |value: Option<&Value>| match value {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let row = |column: &ColumnStatistics| {
        let quantiles = column.spread.iter().flat_map(|spread| &spread.quantiles);
        let median = quantiles.into_iter().find(|quantile| quantile.at == 0.5);
        let nulls = column.nulls + column.nans;
        vec![
            column.column.clone(),
            column.data_type.clone(),
            nulls.to_string(),
            column.distinct.map_or_else(String::new, |distinct| distinct.to_string()),
            shown(column.min.as_ref()),
            shown(median.map(|median| &median.value)),
            shown(column.mean.as_ref()),
            shown(column.max.as_ref()),
        ]
    };
    let rows = manifest.statistics.iter().map(row).collect();
    let headers = ["column", "type", "null, NaN", "distinct", "min", "median", "mean", "max"];
    format!("\n{}", table(&headers, rows))
}

/// A file in one line.
pub(super) fn file_line(file: &SourceFile) -> String {
    let hash = file.hash.map_or_else(String::new, |hash| format!(", {}", hash.short()));
    let etag = file.etag.as_ref().map_or_else(String::new, |etag| format!(", ETag {etag}"));
    format!("{}: {} bytes{hash}{etag}, written {}", file.path, file.size, file.modified)
}
