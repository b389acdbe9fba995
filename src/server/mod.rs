//! HTTP: the wire of Feast's feature server, with what it lacks beside it.

mod error;
mod metrics;
mod model;
mod routes;

use std::{
    future::{Future, IntoFuture as _, pending},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::{net::TcpListener, sync::oneshot};
use tower_http::{catch_panic::CatchPanicLayer, trace::TraceLayer};

use crate::{
    error::{Context, Result},
    serve::FeatureServer,
};

pub use metrics::Metrics;
pub use model::OnlineFeatures;

/// The greatest body of a request that is read.
const MAX_BODY: usize = 16 << 20;

/// The most entity rows of a request.
const MAX_ROWS: usize = 10_000;

/// What every route works with.
#[derive(Debug, Clone)]
struct App {
    server: Arc<FeatureServer>,
    metrics: Metrics,
}

/// The routes.
pub fn router(server: Arc<FeatureServer>, metrics: Metrics) -> Router {
    let app = App { server, metrics };
    Router::new()
        .route("/get-online-features", post(routes::get_online_features))
        .route("/push", post(routes::push))
        .route("/health", get(routes::health))
        .route("/metrics", get(routes::metrics))
        .route("/fingerprints", get(routes::fingerprints))
        .fallback(routes::not_found)
        .method_not_allowed_fallback(routes::method_not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(app.clone(), metrics::measure))
        .layer(CatchPanicLayer::custom(error::panicked))
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}

/// How long requests under way have to finish once the server is asked to stop.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `shutdown` is done, then lets the requests under way finish, but not for longer
/// than ten seconds: a client that never ends its request does not keep the server.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] when the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    let (asked, stopping) = oneshot::channel::<()>();
    let graceful = axum::serve(listener, router).with_graceful_shutdown(async move {
        shutdown.await;
        // Nobody listens when the server has ended already.
        let _ = asked.send(());
    });
    let deadline = async move {
        match stopping.await {
            Ok(()) => tokio::time::sleep(GRACE).await,
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        ended = graceful.into_future() => ended.context(|| "the server stopped"),
        () = deadline => Ok(()),
    }
}
