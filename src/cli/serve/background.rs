//! What a server does besides answering, on threads of its own: an answer never waits for them, and
//! the system gives them what answering leaves.

use std::{mem, sync::Arc};

use futures::future::BoxFuture;
use tokio::runtime::{Builder, Runtime};

use crate::{
    app::App,
    error::{Context as _, Error, Result},
    materialize::Materializer,
    offline::Resources,
    registry::Registry,
    server::{Job, Jobs},
    time::Timestamp,
};

/// How many threads.
const THREADS: usize = 2;

/// How much more patient they are than those that answer: 19 is the most.
const NICENESS: i32 = 10;

/// The threads.
#[derive(Debug)]
pub(super) struct Background {
    app: Arc<App>,
    /// `None` when they are let go.
    threads: Option<Runtime>,
}

impl Background {
    pub(super) fn new(app: Arc<App>) -> Result<Self> {
        let threads = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("background")
            .on_thread_start(be_patient)
            .enable_all()
            .build()
            .map_err(|error| Error::from(error).context("cannot start threads"))?;
        Ok(Self { app, threads: Some(threads) })
    }

    /// Does something until it is done or the server stops.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(threads) = &self.threads {
            threads.spawn(work);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A run that is cut off has lost nothing: the next one goes on.
        if let Some(threads) = mem::take(&mut self.threads) {
            threads.shutdown_background();
        }
    }
}

/// On Linux every thread has its own priority; elsewhere it is the whole process's, and stays.
fn be_patient() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(NICENESS);
}

impl Jobs for Background {
    fn start(&self, job: Job) -> BoxFuture<'static, Result<()>> {
        let Some(threads) = &self.threads else {
            return Box::pin(async { Err(Error::unavailable("the server stops")) });
        };
        let running = threads.spawn(run(Arc::clone(&self.app), job));
        Box::pin(async {
            running
                .await
                .unwrap_or_else(|error| Err(Error::internal(format!("a run ended early: {error}"))))
        })
    }
}

/// One view is no reason to let the others grow old: the first error is given when all are done.
async fn run(app: Arc<App>, job: Job) -> Result<()> {
    let registry = app.registry()?;
    let mut failed = None;
    for view in &job.views {
        match materialize(&app, &registry, &job, view).await {
            Ok(()) => {}
            Err(error) if failed.is_none() => failed = Some(error),
            Err(error) => tracing::error!(%error, "a view was not materialized"),
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn materialize(app: &App, registry: &Registry, job: &Job, view: &str) -> Result<()> {
    let resources = Resources { partitions: THREADS, ..Resources::default() };
    let run = async {
        let materializer = Materializer {
            in_force: job.server.in_force(),
            sources: &app.source_of(job.server.in_force(), &resources, view).await?,
            stores: job.server.stores(),
            registry,
        };
        materializer.run(view, job.window, Timestamp::now(), &|_| ()).await
    };
    let report = run.await.context(|| format!("materializing {view}"))?;
    tracing::info!(
        view,
        rows = report.written.rows,
        written = report.written.store.written,
        "materialized"
    );
    Ok(())
}
