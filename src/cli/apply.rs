//! `unskew plan` and `unskew apply`.

use clap::Args;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    app::{App, Declared, now},
    definition::{State, diff},
    error::{Error, Result},
    registry::Registry,
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
        let old = registry.newest().await?.map(|snapshot| snapshot.state).unwrap_or_default();
        let diff = diff(&old, &state);
        context.output.result(&diff, &diff)?;
        Ok(Verdict::Yes)
    }
}

impl Apply {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let registry = app.registry()?;
        let state = declared(&app, &registry).await?;
        let mut changes = None;
        let committed = registry
            .commit(now(), |newest| {
                let old = newest.map(|snapshot| snapshot.state.clone()).unwrap_or_default();
                let changed = diff(&old, &state);
                let next = (old != state || newest.is_none()).then(|| state.clone());
                changes = Some(changed);
                Ok(next)
            })
            .await?;
        app.write_lock(&state)?;
        let diff = changes.ok_or_else(|| Error::internal("applied without a comparison"))?;
        let text = match &committed {
            Some(snapshot) => format!("{diff}\nApplied: snapshot {} is in force.", snapshot.sequence),
            None => "Nothing to apply: the definitions are in force already.".to_owned(),
        };
        let sequence = committed.map(|snapshot| snapshot.sequence);
        context.output.result(text, &json!({"snapshot": sequence, "changes": diff}))?;
        Ok(Verdict::Yes)
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
            Err(Error::invalid(format!("nothing applied: {count} in the definitions\n\n{}", shown.join("\n\n"))))
        }
    }
}
