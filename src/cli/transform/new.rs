//! `unskew transform new`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    error::{Context as _, Error, Result},
    name::{IDENTIFIER_RULE, is_identifier},
    storage::absolute,
    wasm::crate_folder,
};

/// Start a crate for a transform, with one function, its test and a case.
#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The crate's folder; its last part is the transform's name.
    folder: PathBuf,
    /// The team that will publish it.
    #[arg(long)]
    team: String,
    /// The folder of unskew-sdk; by default that of the checkout around the new crate, or else the
    /// release of this version.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

impl New {
    pub(super) fn run(self, context: &Context) -> Result<Verdict> {
        let name = self.name()?;
        if self.folder.exists() {
            return Err(Error::conflict(format!(
                "nothing made: {} is there already",
                self.folder.display()
            )));
        }
        if let Some(sdk) = &self.sdk {
            crate_folder(sdk).map_err(|error| {
                error.context("nothing made").with_hint("--sdk names the folder of unskew-sdk")
            })?;
        }
        let files = [
            ("Cargo.toml", self.manifest(&name)?),
            ("src/lib.rs", LIBRARY.to_owned()),
            ("cases.toml", CASES.to_owned()),
            ("README.md", format!("# {}/{name}\n\nRatio of two numbers.\n", self.team)),
        ];
        for (path, text) in &files {
            let path = self.folder.join(path);
            let shown = || path.display().to_string();
            fs::create_dir_all(path.parent().unwrap_or(&self.folder)).context(shown)?;
            fs::write(&path, text).context(shown)?;
        }
        let folder = self.folder.display();
        let text = format!(
            "made {}/{name}@0.1.0 in {folder}\nnext: edit src/lib.rs, then unskew transform test {folder}",
            self.team
        );
        context.output.result(
            text,
            &json!({"name": format!("{}/{name}@0.1.0", self.team), "folder": self.folder}),
        )?;
        Ok(Verdict::Yes)
    }

    fn name(&self) -> Result<String> {
        let last = self
            .folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        for name in [&last, &self.team] {
            if !is_identifier(name) {
                return Err(Error::invalid(format!("nothing made: {name:?} cannot be a name"))
                    .with_hint(IDENTIFIER_RULE));
            }
        }
        Ok(last)
    }

    fn manifest(&self, name: &str) -> Result<String> {
        let folder = absolute(&self.folder)?;
        let sdk = match &self.sdk {
            Some(sdk) => Some(absolute(sdk)?),
            None => folder
                .ancestors()
                .map(|above| above.join("sdk/rust"))
                .find(|sdk| sdk.join("Cargo.toml").is_file()),
        };
        let sdk = match sdk {
            Some(path) => format!("{{ path = {:?} }}", relative(&path, &folder)),
            None => format!("{:?}", env!("CARGO_PKG_VERSION")),
        };
        Ok(format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\npublish = false\n\n\
             [package.metadata.unskew]\nname = \"{}/{name}\"\n\n\
             [lib]\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
             [dependencies]\nunskew-sdk = {sdk}\n\n\
             # A workspace of its own: its lock file and its bytes do not depend on what is around it.\n[workspace]\n",
            self.team
        ))
    }
}

/// `path`, as seen from `folder`, where they share a root; so that a checkout can be moved.
fn relative(path: &Path, folder: &Path) -> PathBuf {
    let shared = path.components().zip(folder.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Path::new(".."));
    up.chain(path.components().skip(shared).map(|part| Path::new(part.as_os_str()))).collect()
}

const LIBRARY: &str = r#"//! Ratio of two numbers.

use unskew_sdk::prelude::*;

/// The part of the whole, or null where the whole is zero.
#[transform]
fn ratio(
    /// The part.
    part: f64,
    /// The whole.
    whole: f64,
) -> Option<f64> {
    (whole != 0.0).then(|| part / whole)
}

export!(ratio);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_has_no_parts() {
        assert_eq!(ratio(1.0, 4.0), Some(0.25));
        assert_eq!(ratio(1.0, 0.0), None);
    }
}
"#;

const CASES: &str = r#"# What the component has to give, bit for bit: `unskew transform test` runs these.

[[case]]
function = "ratio"
inputs = { part = 1.0, whole = 4.0 }
outputs = { ratio = 0.25 }

# An input or output that is left out is null.
[[case]]
function = "ratio"
inputs = { part = 1.0, whole = 0.0 }
outputs = {}
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_is_where_the_crate_looks_for_it() {
        let check = |folder: &str, sdk: &str, expected: &str| {
            let (folder, sdk) = (folder.into(), Some(sdk.into()));
            let new = New { folder, team: "t".to_owned(), sdk };
            let manifest = new.manifest("ratio").unwrap();
            let line = manifest.lines().find(|line| line.starts_with("unskew-sdk")).unwrap();
            assert_eq!(line, format!("unskew-sdk = {{ path = {expected:?} }}"));
        };
        check("/r/shop/ratio", "/r/sdk/rust", "../../sdk/rust");
        check("/r/shop/../ratio", "/r/sdk/rust", "../sdk/rust");
        check("/r/shop/ratio", "/r/shop/../sdk/./rust", "../../sdk/rust");
        check("ratio", "../sdk/rust", "../../sdk/rust");
    }
}
