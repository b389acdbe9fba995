//! `unskew manifest`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;

use super::{Context, Verdict};
use crate::{
    digest::Digest,
    error::Result,
    offline::{EntitiesRecord, Manifest, SourceFile},
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
    if let Some(service) = &request.service {
        let _ = writeln!(text, "service   {service}");
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

/// A file in one line.
pub(super) fn file_line(file: &SourceFile) -> String {
    let hash = file.hash.map_or_else(String::new, |hash| format!(", {}", hash.short()));
    let etag = file.etag.as_ref().map_or_else(String::new, |etag| format!(", ETag {etag}"));
    format!("{}: {} bytes{hash}{etag}, written {}", file.path, file.size, file.modified)
}
