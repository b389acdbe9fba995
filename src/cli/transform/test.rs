//! `unskew transform test`.

use std::{
    path::{Path, PathBuf},
    process,
};

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    error::{Context as _, Result},
    publish::{failing_cases, read_cases},
    wasm,
};

/// Run a crate's tests natively, and its golden cases on the component: each alone, and together.
///
/// Cases are in cases.toml, and in cases/FUNCTION.parquet with the columns input.NAME, param.NAME,
/// output.NAME and error.
#[derive(Debug, Args)]
pub(in crate::cli) struct Test {
    /// The crate's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// Leave the native tests out.
    #[arg(long)]
    no_native: bool,
}

impl Test {
    pub(super) fn run(self, context: &Context) -> Result<Verdict> {
        if !self.no_native && !native(&self.folder)? {
            let text = format!("the native tests of {} fail", self.folder.display());
            context.output.result(&text, &json!({"failures": [text]}))?;
            return Ok(Verdict::No);
        }
        let built = wasm::build(&self.folder)?;
        let transform = super::runtime(context)?.load(&built.component)?;
        let cases = read_cases(&self.folder)?;
        let failures = failing_cases(&cases, &transform);
        let passed = cases.len() - failures.len();
        let mut text = format!(
            "{} on {}: {passed} cases passed, {} failed",
            built.name,
            transform.digest().short(),
            failures.len()
        );
        let failures: Vec<_> =
            failures.iter().map(|(origin, error)| format!("{origin}: {error}")).collect();
        failures.iter().for_each(|failure| text.push_str(&format!("\n{failure}")));
        let data = json!({"name": built.name, "digest": transform.digest(), "passed": passed, "failures": failures});
        context.output.result(text, &data)?;
        Ok(if failures.is_empty() { Verdict::Yes } else { Verdict::No })
    }
}

/// Runs `cargo test` in the crate, on this terminal.
fn native(folder: &Path) -> Result<bool> {
    let mut cargo = process::Command::new("cargo");
    cargo.arg("test").current_dir(wasm::crate_folder(folder)?).stdout(std::io::stderr());
    Ok(cargo.status().context(|| "cargo cannot be run")?.success())
}
