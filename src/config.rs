//! `unskew.toml`: where a project keeps its things.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    materialize::DEFAULT_STORE,
    name::{IDENTIFIER_RULE, is_identifier},
    wasm::Limits,
};

/// The name of the file that makes a folder a project.
pub const FILE: &str = "unskew.toml";

/// The settings of a project. Relative paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The project itself.
    pub project: Project,
    /// The online store of the views that name none.
    #[serde(default)]
    pub online: Store,
    /// The online stores that views may name.
    #[serde(default)]
    pub stores: BTreeMap<String, Store>,
    /// What a transform may use at the most.
    #[serde(default)]
    pub limits: Limits,
}

/// `[project]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its name; an identifier.
    pub name: String,
    /// The folder of the registry.
    #[serde(default = "registry")]
    pub registry: PathBuf,
    /// The folder with the definition files.
    #[serde(default = "definitions")]
    pub definitions: PathBuf,
}

/// `[online]` and `[stores.NAME]`: an online store.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The folder of the embedded store.
    pub path: PathBuf,
}

impl Default for Store {
    fn default() -> Self {
        Self { path: PathBuf::from("online") }
    }
}

fn registry() -> PathBuf {
    PathBuf::from("registry")
}

fn definitions() -> PathBuf {
    PathBuf::from("features")
}

impl Config {
    /// Reads the settings in a project's folder.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] without the file; [`crate::error::Kind::Invalid`], with
    /// the line, when it does not say what it should.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let shown = path.display();
        let text = fs::read_to_string(&path)
            .map_err(|error| Error::from(error).context(format!("{shown}")))?;
        Self::parse(&text).map_err(|error| error.context(format!("{shown}")))
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)
            .map_err(|error| Error::invalid(error.to_string().trim_end().to_owned()))?;
        if !is_identifier(&config.project.name) {
            return Err(Error::invalid(format!("project.name is {:?}", config.project.name))
                .with_hint(IDENTIFIER_RULE));
        }
        if let Some(name) = config.stores.keys().find(|name| !is_identifier(name)) {
            return Err(
                Error::invalid(format!("a store is called {name:?}")).with_hint(IDENTIFIER_RULE)
            );
        }
        if config.stores.contains_key(DEFAULT_STORE) {
            return Err(Error::invalid(format!("a store is called {DEFAULT_STORE:?}"))
                .with_hint("the store of views that name none is set up in [online]"));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_enough() {
        let config = Config::parse("[project]\nname = \"shop\"\n").unwrap();
        assert_eq!(config.project.registry, Path::new("registry"));
        assert_eq!(config.online.path, Path::new("online"));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let check = |text: &str, expect: &str| {
            let message = Config::parse(text).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check("[project]\nname = \"shop\"\nregister = \"x\"\n", "line 3");
        check("[project]\nname = \"Shop\"\n", "project.name is \"Shop\"");
        check(
            "[project]\nname = \"shop\"\n[stores.Fraud]\npath = \"x\"\n",
            "a store is called \"Fraud\"",
        );
        check(
            "[project]\nname = \"shop\"\n[stores.default]\npath = \"x\"\n",
            "a store is called \"default\"",
        );
        check("[online]\npath = \"x\"\n", "missing field `project`");
    }
}
