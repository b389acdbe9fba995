//! HTTP: the wire of Feast's feature server, with what it lacks beside it.

mod error;
mod metrics;
mod model;
mod routes;

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post},
};
use tokio::net::TcpListener;
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

/// Serves until `shutdown` is done, then lets the requests under way finish.
///
/// # Errors
/// [`crate::error::Kind::Unavailable`] when the listener fails.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    axum::serve(listener, router)
        .with_graceful_shutdown(shutdown)
        .await
        .context(|| "the server stopped")
}
