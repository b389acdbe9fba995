//! How the server is, and what it serves.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::{
    audit::Served,
    error::Error,
    metrics,
    serve::check_stores,
    server::{App, error::Failure, model::Readiness},
};

/// How long a store may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether the process is alive.
#[utoipa::path(get, path = "/health", responses((status = 200, description = "It is alive")))]
pub(in crate::server) async fn health() -> StatusCode {
    StatusCode::OK
}

/// Whether requests can be answered: transforms are compiled, a store answers, and the server was
/// not asked to stop. A store that fails takes only its own views with it: the others are answered
/// for, so that one team's store does not take every server from everybody.
#[utoipa::path(
    get,
    path = "/ready",
    responses(
        (status = 200, description = "They can", body = Readiness),
        (status = 503, description = "They cannot", body = Readiness),
    )
)]
pub(in crate::server) async fn ready(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let server = app.live.current();
    let draining = app.draining.load(Ordering::Relaxed);
    let failing = server.failing_stores(PATIENCE).await;
    let ready = !draining && failing.len() < server.stores().all().count();
    let missing = check_stores(&server.in_force().state.definitions, server.stores()).err();
    let mut reasons: Vec<String> = failing.iter().chain(&missing).map(Error::to_string).collect();
    if draining {
        reasons.push("the server was asked to stop".to_owned());
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, snapshot: server.in_force().sequence, reasons }))
}

/// Counters and histograms, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"))
)]
pub(in crate::server) async fn metrics() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics::render())
}

/// The fingerprint of every feature in force, and the documents behind them.
#[utoipa::path(
    get,
    path = "/fingerprints",
    responses((status = 200, description = "The fingerprints", body = serde_json::Value))
)]
pub(in crate::server) async fn fingerprints(State(app): State<Arc<App>>) -> Json<Served> {
    Json(Served::of(app.live.current().in_force()))
}

/// This document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    responses((status = 200, description = "The document", body = serde_json::Value))
)]
pub(in crate::server) async fn openapi(State(app): State<Arc<App>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.document.to_string())
}

pub(in crate::server) async fn not_found(State(app): State<Arc<App>>) -> Failure {
    let paths: Vec<&str> = app.paths.all.iter().map(String::as_str).collect();
    let error = Error::not_found("Not Found: there is no such path")
        .with_hint(format!("there are: {}", paths.join(", ")));
    Failure::new(StatusCode::NOT_FOUND, &error)
}

pub(in crate::server) async fn method_not_allowed() -> Failure {
    let error = Error::invalid("Method Not Allowed: the path is right, and the method is not")
        .with_hint("GET /openapi.json says which it takes");
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, &error)
}
