//! Runs of `materialize` that were asked for over HTTP: one at a time for a view.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::future::BoxFuture;

use crate::{
    error::{Error, Result},
    materialize::Window,
    serve::FeatureServer,
};

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// What is in force, and the store.
    pub server: Arc<FeatureServer>,
    /// The views.
    pub views: Vec<String>,
    /// Which rows.
    pub window: Window,
}

/// Who does the runs: the server knows neither sources nor how many resources they may take.
pub trait Jobs: fmt::Debug + Send + Sync {
    /// Begins a job, which ends though nobody waits for it.
    fn start(&self, job: Job) -> BoxFuture<'static, Result<()>>;
}

/// The views that runs are under way for.
#[derive(Debug, Default)]
pub(super) struct Runs(Mutex<BTreeSet<String>>);

/// A run under way; it is over when this is dropped.
pub(super) struct Run {
    runs: Arc<Runs>,
    views: Vec<String>,
}

impl Runs {
    /// Begins a run for these views.
    pub(super) fn begin(self: &Arc<Self>, views: Vec<String>) -> Result<Run> {
        let mut busy = self.lock();
        let taken: Vec<&str> =
            views.iter().filter(|view| busy.contains(*view)).map(String::as_str).collect();
        if !taken.is_empty() {
            return Err(Error::conflict(format!(
                "nothing materialized: a run is under way for {}",
                taken.join(", ")
            ))
            .with_hint("try again when it is done"));
        }
        busy.extend(views.iter().cloned());
        drop(busy);
        Ok(Run { runs: Arc::clone(self), views })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut busy = self.runs.lock();
        for view in &self.views {
            busy.remove(view);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_has_one_run_at_a_time() {
        let runs = Arc::new(Runs::default());
        let views = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let first = runs.begin(views(&["a", "b"])).unwrap();
        let _other = runs.begin(views(&["c"])).unwrap();
        let refused = runs.begin(views(&["b", "d"])).err().unwrap();
        assert_eq!(refused.message(), "nothing materialized: a run is under way for b");
        drop(first);
        let _again = runs.begin(views(&["b", "d"])).unwrap();
    }
}
