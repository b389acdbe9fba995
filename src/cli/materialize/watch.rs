//! `unskew materialize --watch`.

use std::{pin::pin, time::Duration};

use super::{Materialize, Project};
use crate::{
    cli::{
        Context, Verdict,
        serve::{asked_to_stop, log_warnings},
    },
    error::{Error, Result},
    materialize::{Window, views},
    time::{Span, Timestamp},
};

/// How long a run may go on when the process is asked to stop. What it has not written down by
/// then is read again by the next.
const GRACE: Duration = Duration::from_secs(10);

/// How many times longer than usual the pause after failures gets.
const SLOWEST: u32 = 10;

/// Runs incrementally until the process is asked to stop.
pub(super) async fn run(command: Materialize, context: &Context) -> Result<Verdict> {
    log_warnings();
    let mut stop = pin!(asked_to_stop());
    let every = pause(command.every)?;
    let mut project = command.open(context).await?;
    views(&project.in_force, &command.views)?;
    let mut failures = 0;
    loop {
        let mut round = pin!(round(&command, &mut project, context));
        let (failed, stopped) = tokio::select! {
            failed = &mut round => (failed, false),
            () = &mut stop => (tokio::time::timeout(GRACE, round).await.unwrap_or(false), true),
        };
        if stopped {
            return Ok(Verdict::Yes);
        }
        failures = if failed { failures + 1 } else { 0 };
        let longer = 2_u32.saturating_pow(failures).min(SLOWEST);
        tokio::select! {
            () = tokio::time::sleep(every * longer) => {}
            () = &mut stop => return Ok(Verdict::Yes),
        }
    }
}

/// Materializes every view once, what is in force and the files being what they are now. Says
/// whether anything failed.
async fn round(command: &Materialize, project: &mut Project, context: &Context) -> bool {
    let failed = |error: Error| context.output.error(&error);
    if let Err(error) = refresh(project).await {
        failed(error);
        return true;
    }
    let named = views(&project.in_force, &command.views);
    let named = match named {
        Ok(named) => named,
        Err(error) => {
            failed(error);
            return true;
        }
    };
    let mut any = false;
    for name in named.into_keys() {
        let now = Timestamp::now();
        let run = project.materialize(name, Window::Incremental(now), now, context.output);
        if let Err(error) = run.await {
            failed(error);
            any = true;
        }
    }
    any
}

/// Looks for what is in force.
async fn refresh(project: &mut Project) -> Result<()> {
    if project.registry.newest_sequence().await? != Some(project.in_force.sequence) {
        project.in_force = project.app.in_force().await?;
    }
    Ok(())
}

fn pause(every: Span) -> Result<Duration> {
    match u64::try_from(every.0) {
        Ok(micros @ 1..) => Ok(Duration::from_micros(micros)),
        _ => Err(Error::invalid(format!("--every is {every}")).with_hint("as in --every 1m")),
    }
}
