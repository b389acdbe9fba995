//! How the server is, and what it serves.

use std::{sync::atomic::Ordering, time::Duration};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use tokio::time::timeout;

use crate::{
    audit::Served,
    error::Error,
    server::{App, error::Failure, model::Readiness},
};

/// How long a store may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the process is alive.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It is alive")))]
pub(in crate::server) async fn health() -> StatusCode {
    StatusCode::OK
}

/// Whether requests can be answered: transforms are compiled, stores answer, and the server was not
/// asked to stop.
#[utoipa::path(
    get,
    path = "/ready",
    responses(
        (status = 200, description = "They can", body = Readiness),
        (status = 503, description = "They cannot", body = Readiness),
    )
)]
pub(in crate::server) async fn ready(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let server = app.live.current();
    let mut reasons = Vec::new();
    if app.draining.load(Ordering::Relaxed) {
        reasons.push("the server was asked to stop".to_owned());
    }
    match timeout(PATIENCE, server.failing_stores()).await {
        Ok(Ok(failing)) => reasons.extend(failing.iter().map(ToString::to_string)),
        Ok(Err(error)) => reasons.push(error.to_string()),
        Err(_) => reasons.push(format!("a store did not answer within {PATIENCE:?}")),
    }
    let status = match reasons.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let snapshot = server.in_force().sequence;
    (status, Json(Readiness { ready: reasons.is_empty(), snapshot, reasons }))
}

/// Counters and histograms, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(in crate::server) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

/// The fingerprint of every feature in force, and the documents behind them.
#[utoipa::path(
    get,
    path = "/fingerprints",
    responses((status = 200, description = "The fingerprints", body = serde_json::Value))
)]
pub(in crate::server) async fn fingerprints(State(app): State<App>) -> Json<Served> {
    Json(Served::of(app.live.current().in_force()))
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "The document", body = serde_json::Value))
)]
pub(in crate::server) async fn openapi(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.document.to_string())
}

pub(in crate::server) async fn not_found(State(app): State<App>) -> Failure {
    let error = Error::not_found("Not Found: there is no such path")
        .with_hint(format!("there are: {}", app.paths.join(", ")));
    Failure::new(StatusCode::NOT_FOUND, &error)
}

pub(in crate::server) async fn method_not_allowed() -> Failure {
    let error = Error::invalid("Method Not Allowed: the path is right, and the method is not")
        .with_hint("GET /openapi.json says which it takes");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, &error)
}
