//! `unskew replay`.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{
    Context, Verdict, manifest::file_line, output::expecting, resources::ResourceArguments,
};
use crate::{
    app::App,
    audit::{ColumnAudit, Served, Standing, audit},
    error::{Error, Result},
    evaluate::InForce,
    offline::{Change, InputChange, Manifest, Rebuilt, changed_inputs, replay},
};

/// Build a training dataset again from its manifest, and compare the two.
///
/// The definitions are those of the registry's snapshot that was in force then, the files those of
/// the project as they are now; paths are relative to the project, so that it may have moved. Exit
/// code 0 only if what comes out is identical, 1 otherwise: then it says what changed (a file, a
/// definition, a transform, the runtime) and in how many rows each column differs.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The training dataset: what `unskew training-set` wrote.
    file: PathBuf,
    #[command(flatten)]
    pub(super) resources: ResourceArguments,
}

/// What a replay found.
struct Outcome {
    manifest: Manifest,
    inputs: Vec<InputChange>,
    columns: Vec<ColumnAudit>,
    /// What came out; or why nothing did.
    rebuilt: Result<Rebuilt>,
}

impl Replay {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let manifest = Manifest::read(&self.file)?;
        let app = context.app()?;
        let mut inputs = changed_inputs(&manifest, &app.storage, &app.root).await?;
        let in_force = app.in_force_at(manifest.snapshot).await?;
        let columns = audit(&manifest, &Served::of(&in_force))?
            .into_iter()
            .filter(|column| column.standing != Standing::Same)
            .collect();
        let rebuilt = match self.rebuild(context, &app, &manifest, &in_force).await {
            Ok((rebuilt, added)) => {
                inputs.extend(added);
                Ok(rebuilt)
            }
            // With an input that is missing or spoilt nothing can be built, and that is the answer.
            Err(error) if !inputs.is_empty() => Err(error),
            Err(error) => return Err(error.context("no replay")),
        };
        let outcome = Outcome { manifest, inputs, columns, rebuilt };
        let identical = outcome.identical();
        context.output.result(outcome.render(&self.file.display().to_string()), &outcome.json())?;
        Ok(if identical { Verdict::Yes } else { Verdict::No })
    }

    async fn rebuild(
        &self,
        context: &Context,
        app: &App,
        manifest: &Manifest,
        in_force: &InForce,
    ) -> Result<(Rebuilt, Vec<InputChange>)> {
        let versions = manifest.tables.iter().map(|(name, table)| (name.clone(), table.version));
        let resources = self.resources.resources();
        let mut sources = app.sources(in_force, &resources, versions.collect())?;
        let bar = context.output.rows("replay");
        let progress = |rows| expecting(&bar, rows);
        let replayed = replay(&self.file, manifest, in_force, &mut sources, progress).await;
        bar.finish_and_clear();
        replayed
    }
}

impl Outcome {
    /// Whether the rows are those of the file, and the file is what its manifest says. That is
    /// decided by the rows alone: a file that changed without changing any is still told.
    fn identical(&self) -> bool {
        let hash = self.manifest.content_hash;
        self.rebuilt
            .as_ref()
            .is_ok_and(|rebuilt| rebuilt.content_hash == hash && rebuilt.file_hash == hash)
    }

    fn render(&self, file: &str) -> String {
        let verdict = if self.identical() { "identical" } else { "not identical" };
        let mut text = format!("{file}: {verdict}\n");
        for input in &self.inputs {
            let _ = writeln!(text, "  {}", input_line(input));
        }
        for column in &self.columns {
            let _ = write!(text, "  {}: {}", column.column, column.standing.as_str());
            for difference in &column.differences {
                let _ = write!(text, "\n    {difference}");
            }
            text.push('\n');
        }
        match &self.rebuilt {
            Ok(rebuilt) => self.render_rows(rebuilt, &mut text),
            Err(error) => {
                let _ = writeln!(text, "  nothing comes out now: {}", error.message());
            }
        }
        text
    }

    fn render_rows(&self, rebuilt: &Rebuilt, text: &mut String) {
        let manifest = &self.manifest;
        let _ = writeln!(text, "  {} rows, content {}", rebuilt.rows, rebuilt.content_hash);
        if rebuilt.rows != manifest.rows {
            let _ = writeln!(text, "  the manifest says {} rows", manifest.rows);
        }
        if rebuilt.file_hash != manifest.content_hash {
            let _ = writeln!(
                text,
                "  the file was altered after it was made: its content is {}, and the manifest says {}",
                rebuilt.file_hash, manifest.content_hash
            );
        }
        for (column, rows) in &rebuilt.rows_changed {
            let most = rebuilt.rows.max(manifest.rows);
            let _ = writeln!(text, "  {column}: {rows} of {most} rows differ");
        }
    }

    fn json(&self) -> serde_json::Value {
        let none = BTreeMap::new();
        let rebuilt = self.rebuilt.as_ref().ok();
        json!({
            "identical": self.identical(),
            "rows": rebuilt.map(|rebuilt| rebuilt.rows),
            "content_hash": rebuilt.map(|rebuilt| rebuilt.content_hash),
            "file_hash": rebuilt.map(|rebuilt| rebuilt.file_hash),
            "manifest": { "rows": self.manifest.rows, "content_hash": self.manifest.content_hash },
            "inputs": self.inputs,
            "columns": self.columns,
            "rows_changed": rebuilt.map_or(&none, |rebuilt| &rebuilt.rows_changed),
            "error": self.rebuilt.as_ref().err().map(Error::message),
        })
    }
}

fn input_line(input: &InputChange) -> String {
    match &input.change {
        Change::Missing => format!("{} is missing", input.path),
        Change::Added { is } => format!("{} was not read then: {}", input.path, file_line(is)),
        Change::Altered { was, is } => {
            let state = |file: &crate::offline::SourceFile| {
                let hash = file.hash.map_or_else(String::new, |hash| format!(", {hash}"));
                format!("{} bytes{hash}", file.size)
            };
            format!("{} was altered: it had {}, and has {}", input.path, state(was), state(is))
        }
    }
}
