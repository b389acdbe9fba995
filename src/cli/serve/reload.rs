//! What is in force, looked for again and again: a new snapshot answers as soon as it is ready, and
//! until then the one before does.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    app::App,
    error::{Error, Result},
    metrics::{RELOAD_FAILING, RELOAD_FAILURES, RELOADS, SNAPSHOT},
    online::Stores,
    registry::Registry,
    serve::{FeatureServer, Live, check_stores},
    time::Span,
    wasm::Runtime,
};

/// Everything that a new snapshot is made ready with.
pub(super) struct Reload {
    pub app: Arc<App>,
    pub runtime: Runtime,
    pub registry: Registry,
    pub stores: Stores,
    pub live: Arc<Live>,
}

impl Reload {
    /// Looks at every interval, for ever; not at all where it is zero.
    pub(super) async fn run(self, every: Span) {
        show(self.live.current().in_force().sequence);
        // Looked up, they show 0: the first failure is a rise then, which an alert can wait for.
        [&RELOADS, &RELOAD_FAILURES].into_iter().for_each(|counter| counter.inc_by(0));
        RELOAD_FAILING.set(0);
        if every.0 == 0 {
            return;
        }
        let mut ticks = interval(Duration::from(every));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failing: Option<Error> = None;
        loop {
            ticks.tick().await;
            let looked = self.look().await;
            RELOAD_FAILING.set(i64::from(looked.is_err()));
            match looked {
                Ok(()) if failing.take().is_some() => {
                    tracing::info!("the registry can be read again");
                }
                Ok(()) => {}
                Err(error) => {
                    RELOAD_FAILURES.inc();
                    // The same trouble is told once, and not at every look.
                    if failing.as_ref() != Some(&error) {
                        tracing::error!(%error, "what is in force cannot be looked up: the snapshot before goes on");
                        failing = Some(error);
                    }
                }
            }
        }
    }

    async fn look(&self) -> Result<()> {
        let serving = self.live.current().in_force().sequence;
        let newest = self.registry.newest().await?;
        let Some(newest) = newest.filter(|newest| newest.sequence >= serving) else {
            return Err(Error::not_found(format!(
                "the registry has no snapshot {serving} any more"
            )));
        };
        if newest.sequence == serving {
            return Ok(());
        }
        let sequence = newest.sequence;
        check_stores(&newest.state.definitions, &self.stores).map_err(|error| {
            error.with_hint("a store that is new in unskew.toml is there after a restart")
        })?;
        let in_force = self.app.load(Some(newest), &self.registry, &self.runtime).await?;
        self.live.replace(FeatureServer::new(Arc::new(in_force), self.stores.clone()));
        show(sequence);
        RELOADS.inc();
        tracing::info!(snapshot = sequence, before = serving, "another snapshot is in force");
        Ok(())
    }
}

/// Shows in the metrics which snapshot answers.
fn show(sequence: u64) {
    SNAPSHOT.set(i64::try_from(sequence).unwrap_or(i64::MAX));
}
