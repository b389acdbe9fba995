//! The command line: one file a subcommand.
//!
//! Results go to stdout, everything else to stderr. Exit codes: 0 done; 1 a check said no; 2 it
//! could not be done, and the message says why; 70 a defect of unskew. With `--json`, errors are
//! JSON too, and their `kind` says whether to correct the input or to try again.

mod apply;
mod audit;
mod catalog;
mod client;
mod entities;
mod freshness;
mod get;
mod init;
mod manifest;
mod materialize;
mod output;
mod push;
mod replay;
mod resources;
mod serve;
mod table;
mod training_set;
mod transform;

use std::{
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    app::App,
    error::{Error, Kind, Result},
    wasm,
};
use output::Output;
use resources::ResourceArguments;

/// A feature platform without training-serving skew.
#[derive(Debug, Parser)]
#[command(name = "unskew", version, max_term_width = 100)]
struct Arguments {
    /// The project's folder; by default the nearest one upward that has an unskew.toml.
    #[arg(long, global = true, value_name = "DIR")]
    project: Option<PathBuf>,
    /// Print JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new project.
    Init(init::Init),
    /// Show what `apply` would change.
    Plan(apply::Plan),
    /// Put the definitions into force.
    Apply(apply::Apply),
    /// Write, build, test, publish and run transforms.
    #[command(subcommand)]
    Transform(transform::Command),
    /// Build a training dataset, correct at every row's point in time.
    TrainingSet(training_set::TrainingSet),
    /// Show what a training dataset says of itself.
    Manifest(manifest::ShowManifest),
    /// Build a training dataset again from its manifest, and say whether it comes out identical.
    Replay(replay::Replay),
    /// Write the newest rows of feature views to the online store.
    Materialize(materialize::Materialize),
    /// See whether the rows in the online store are young enough.
    Freshness(freshness::Freshness),
    /// Write rows that you bring to the online store.
    Push(push::Push),
    /// Ask for features of some entities, as a service would.
    Get(get::Get),
    /// Serve features over HTTP.
    Serve(serve::Serve),
    /// Compare what a model was trained on with what is in force now.
    #[command(subcommand)]
    Audit(audit::Command),
    /// Find features, and who owns them.
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Compile the component on stdin: what this program starts itself for.
    #[command(name = wasm::COMPILE_COMMAND, hide = true)]
    CompileComponent {
        /// The limits, and what the code is for.
        job: String,
    },
}

impl Command {
    /// What it may use, where that can be said.
    fn resources(&self) -> Option<&ResourceArguments> {
        match self {
            Self::Transform(command) => command.resources(),
            Self::TrainingSet(command) => Some(&command.resources),
            Self::Replay(command) => Some(&command.resources),
            Self::Materialize(command) => Some(&command.resources),
            _ => None,
        }
    }
}

/// What a command needs of the arguments that all share.
struct Context {
    project: Option<PathBuf>,
    output: Output,
}

impl Context {
    fn app(&self) -> Result<App> {
        App::find(self.project.as_deref())
    }
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Done, or: the check says yes.
    Yes,
    /// The check says no.
    No,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let output = Output { json: arguments.json };
    let context = Context { project: arguments.project, output };
    let ended = panic::catch_unwind(AssertUnwindSafe(|| execute(&context, arguments.command)));
    // The panic has been reported to stderr already.
    let ended =
        ended.unwrap_or_else(|_| Err(Error::internal("a defect of unskew ended the command")));
    match ended {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(error) => {
            context.output.error(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn execute(context: &Context, command: Command) -> Result<Verdict> {
    // In a process that may do little, so without the threads that other commands run on.
    if let Command::CompileComponent { job } = command {
        return wasm::compile_from_stdin(&job).map(|()| Verdict::Yes);
    }
    if let Some(resources) = command.resources() {
        resources.prepare();
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| Error::from(error).context("cannot start threads"))?;
    runtime.block_on(async {
        match command {
            Command::Init(command) => command.run(context),
            Command::Plan(command) => command.run(context).await,
            Command::Apply(command) => command.run(context).await,
            Command::Transform(command) => command.run(context).await,
            Command::TrainingSet(command) => command.run(context).await,
            Command::Manifest(command) => command.run(context),
            Command::Replay(command) => command.run(context).await,
            Command::Materialize(command) => command.run(context).await,
            Command::Freshness(command) => command.run(context).await,
            Command::Push(command) => command.run(context).await,
            Command::Get(command) => command.run(context).await,
            Command::Serve(command) => command.run(context).await,
            Command::Audit(command) => command.run(context).await,
            Command::Catalog(command) => command.run(context).await,
            Command::CompileComponent { .. } => Err(Error::internal("compiled above")),
        }
    })
}

fn exit_code(error: &Error) -> u8 {
    match error.kind() {
        Kind::Internal => 70,
        _ => 2,
    }
}
