//! How fresh views are, looked at while they are served.

use std::{
    future::{Future, pending},
    sync::Arc,
};

use crate::{
    error::Result,
    freshness::{self, Monitor, Settings},
    serve::Live,
    time::Timestamp,
};

/// Watches what is served, for ever.
///
/// # Errors
/// Those of [`Settings::check`].
pub(super) fn watch(
    monitor: Monitor,
    settings: &Settings,
    live: Arc<Live>,
) -> Result<impl Future<Output = ()> + Send + use<>> {
    settings.check()?;
    let settings = settings.clone();
    Ok(async move {
        let in_force = || Arc::clone(live.current().in_force());
        let nobody = |_: &_| ();
        let watched =
            freshness::watch(monitor, &settings, in_force, Timestamp::now, nobody, pending());
        if let Err(error) = watched.await {
            tracing::error!(%error, "freshness is not watched");
        }
    })
}
