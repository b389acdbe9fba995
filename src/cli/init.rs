//! `unskew init`.

use std::{fs, path::PathBuf};

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    config::FILE,
    error::{Context as _, Error, Result},
    name::{IDENTIFIER_RULE, is_identifier},
};

/// Make a new project: its settings, and a folder for definitions.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// The folder; it is made if need be, and gives the project its name.
    #[arg(default_value = ".")]
    folder: PathBuf,
    /// The project's name, where the folder's will not do.
    #[arg(long)]
    name: Option<String>,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> Result<Verdict> {
        let file = self.folder.join(FILE);
        let name = self.name()?;
        if file.exists() {
            return Err(Error::conflict(format!(
                "nothing made: {} is there already",
                file.display()
            )));
        }
        let features = self.folder.join("features");
        fs::create_dir_all(&features).context(|| features.display().to_string())?;
        let example = features.join("example.toml");
        if !example.exists() {
            fs::write(&example, EXAMPLE).context(|| example.display().to_string())?;
        }
        fs::write(&file, settings(&name)).context(|| file.display().to_string())?;
        let text = format!(
            "made project {name} in {}\n  {FILE}               settings\n  features/example.toml     \
             definitions to start from, commented out\nnext: unskew transform new, unskew plan",
            self.folder.display()
        );
        context.output.result(text, &json!({"project": name, "folder": self.folder}))?;
        Ok(Verdict::Yes)
    }

    fn name(&self) -> Result<String> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let folder = std::path::absolute(&self.folder)?;
                let last = folder.file_name().map(|name| name.to_string_lossy().into_owned());
                last.unwrap_or_default().to_lowercase().replace(['-', '.', ' '], "_")
            }
        };
        if is_identifier(&name) {
            return Ok(name);
        }
        let error = Error::invalid(format!("nothing made: {name:?} cannot be a project's name"));
        Err(error.with_hint(format!("{IDENTIFIER_RULE}; give one with --name")))
    }
}

fn settings(name: &str) -> String {
    format!(
        "[project]\nname = \"{name}\"\nregistry = \"registry\"      # published transforms and what is in force\n\
         definitions = \"features\"   # every .toml file in it\n\n[online]\npath = \"online\"            # the embedded store\n"
    )
}

const EXAMPLE: &str = r#"# [entity.customer]
# join_keys = { customer_id = "int64" }
# description = "A customer of the shop"
# owner = "ada@example.com"
#
# [source.orders]
# path = "data/orders.parquet"
# timestamp = "ordered_at"
#
# [feature_view.orders]
# entities = ["customer"]
# source = "orders"
# ttl = "365d"
# [feature_view.orders.features]
# amount = { type = "float64", description = "Dollars of the latest order" }
#
# [feature_service.churn]
# features = ["orders:amount"]
"#;
