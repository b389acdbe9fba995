//! `unskew transform`: from a crate to a published component, and what can be asked of one.

mod build;
mod diff;
mod inspect;
mod list;
mod new;
mod publish;
mod run;
mod test;

use std::{fs, path::PathBuf, sync::Arc};

use clap::Subcommand;

use super::{Context, Verdict, resources::ResourceArguments};
use crate::{
    app,
    digest::Digest,
    error::{Context as _, Error, Result},
    name::TransformName,
    publish::{self as checking, read_cases},
    registry::Case,
    wasm::{self, Runtime, Transform},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Start a crate for a transform.
    New(new::New),
    /// Compile a crate into a component.
    Build(build::Build),
    /// Show the functions of a component, with their types.
    Inspect(inspect::Inspect),
    /// Run a crate's tests natively, and its cases on the component.
    Test(test::Test),
    /// Put a component into the registry under its name and version.
    Publish(publish::Publish),
    /// Run a Parquet file through a function, into a Parquet file.
    Run(run::Run),
    /// Compare two versions over real rows.
    Diff(diff::Diff),
    /// List what is published.
    List(list::List),
}

impl Command {
    /// What it may use, where that can be said.
    pub(super) fn resources(&self) -> Option<&ResourceArguments> {
        match self {
            Self::Run(command) => Some(&command.resources),
            _ => None,
        }
    }

    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        match self {
            Self::New(command) => command.run(context),
            Self::Build(command) => command.run(context),
            Self::Inspect(command) => command.run(context).await,
            Self::Test(command) => command.run(context),
            Self::Publish(command) => command.run(context).await,
            Self::Run(command) => command.run(context).await,
            Self::Diff(command) => command.run(context).await,
            Self::List(command) => command.run(context).await,
        }
    }
}

/// The bytes of a component, the name they go by, and their golden cases.
struct Found {
    name: Option<TransformName>,
    bytes: Vec<u8>,
    cases: Vec<Case>,
    /// Whether it is in the registry.
    published: bool,
}

/// Finds a component by what a user typed: the folder of a crate (built now), a file, or the name
/// of a published transform.
async fn find(context: &Context, typed: &str) -> Result<Found> {
    let path = PathBuf::from(typed);
    if path.is_dir() {
        let built = wasm::build(&path)?;
        let (name, cases) = (Some(built.name), read_cases(&path)?);
        return Ok(Found { name, bytes: built.component, cases, published: false });
    }
    if path.is_file() {
        let bytes = fs::read(&path).context(|| typed.to_owned())?;
        return Ok(Found { name: None, bytes, cases: Vec::new(), published: false });
    }
    if let Ok(digest) = typed.parse::<Digest>() {
        let bytes = context.app()?.registry()?.component(&digest).await?.to_vec();
        return Ok(Found { name: None, bytes, cases: Vec::new(), published: true });
    }
    let Ok(name) = typed.parse::<TransformName>() else {
        return Err(Error::not_found(format!("no transform {typed:?}")).with_hint(
            "name a crate's folder, a component's file, or team/name@version or a digest in the registry",
        ));
    };
    let registry = context.app()?.registry()?;
    let digest = registry.resolve(&name).await?;
    let bytes = registry.component(&digest).await?.to_vec();
    let cases = registry.cases(&name).await?;
    Ok(Found { name: Some(name), bytes, cases, published: true })
}

/// The runtime: with the project's limits where there is a project, with the usual ones elsewhere.
fn runtime(context: &Context) -> Result<Runtime> {
    match context.app() {
        Ok(app) => app.runtime(),
        Err(_) => app::runtime(&wasm::Limits::default()),
    }
}

/// The runtime of the publish check.
fn check_runtime(context: &Context) -> Result<Runtime> {
    let project = context.app().map(|app| app.config.limits).unwrap_or_default();
    crate::app::runtime(&checking::limits(&project))
}

fn load(context: &Context, found: &Found) -> Result<Arc<Transform>> {
    runtime(context)?.load(&found.bytes)
}
