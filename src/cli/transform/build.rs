//! `unskew transform build`.

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    digest::Digest,
    error::{Context as _, Result},
    wasm,
};

/// Compile a crate into a component: the same bytes from any folder.
#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// The crate's folder.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The file to write; the component is only checked and measured where none is given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    pub(super) fn run(self, context: &Context) -> Result<Verdict> {
        let built = wasm::build(&self.folder)?;
        super::runtime(context)?.load(&built.component)?;
        if let Some(path) = &self.output {
            fs::write(path, &built.component).context(|| path.display().to_string())?;
        }
        let (digest, size) = (Digest::of(&built.component), built.component.len());
        let text = format!("{} is {digest}, {size} bytes", built.name);
        context
            .output
            .result(text, &json!({"name": built.name, "digest": digest, "size": size}))?;
        Ok(Verdict::Yes)
    }
}
