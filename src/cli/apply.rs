//! `unskew plan` and `unskew apply`.

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    app::{App, Declared},
    definition::{Diff, State},
    error::{Error, Result},
    registry::{Registry, Snapshot},
    time::Timestamp,
};

/// Show what `apply` would change, and change nothing.
#[derive(Debug, Args)]
pub(super) struct Plan {}

/// Put the definitions into force: write a new snapshot to the registry, and unskew.lock.
#[derive(Debug, Args)]
pub(super) struct Apply {}

impl Plan {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let registry = app.registry()?;
        let state = declared(&app, &registry).await?;
        let plan = changes(registry.newest().await?.as_ref(), &state);
        context.output.result(&plan, &plan)?;
        Ok(Verdict::Yes)
    }
}

impl Apply {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let registry = app.registry()?;
        let state = declared(&app, &registry).await?;
        let plan = changes(registry.newest().await?.as_ref(), &state);
        let lock = app.draft_lock(&state)?;
        let committed = registry
            .commit(Timestamp::now(), |newest| {
                if changes(newest, &state) != plan {
                    return Err(Error::conflict(
                        "nothing applied: another apply came first, and changed the plan",
                    )
                    .with_hint("look at what unskew plan says now, then apply again"));
                }
                let in_force = newest.is_some_and(|snapshot| snapshot.state == state);
                Ok((!in_force).then(|| state.clone()))
            })
            .await?;
        lock.finish().map_err(|error| match &committed {
            Some(Snapshot { sequence, .. }) => error
                .context(format!(
                    "snapshot {sequence} is in force, but unskew.lock was not written"
                ))
                .with_hint("see to it that the file can be written, then apply once more"),
            None => error.context("unskew.lock was not written"),
        })?;
        let text = match &committed {
            Some(snapshot) => format!(
                "Applied: snapshot {} is in force, with {} added, {} changed, {} removed.",
                snapshot.sequence, plan.add, plan.change, plan.remove
            ),
            None => "Nothing to apply: the definitions are in force already.".to_owned(),
        };
        let sequence = committed.map(|snapshot| snapshot.sequence);
        context.output.result(text, &json!({"snapshot": sequence, "changes": plan}))?;
        Ok(Verdict::Yes)
    }
}

/// What putting `state` into force would change.
fn changes(newest: Option<&Snapshot>, state: &State) -> Diff {
    match newest {
        Some(snapshot) => Diff::between(&snapshot.state, state),
        None => Diff::between(&State::default(), state),
    }
}

async fn declared(app: &App, registry: &Registry) -> Result<State> {
    match app.declared(registry).await? {
        Declared::Good(state) => Ok(state),
        Declared::Bad(problems) => {
            let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let count = match problems.len() {
                1 => "1 problem".to_owned(),
                many => format!("{many} problems"),
            };
            Err(Error::invalid(format!(
                "{count} in the definitions, which stay as they are in force\n\n{}",
                shown.join("\n\n")
            )))
        }
    }
}
