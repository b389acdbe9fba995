//! One function a route: read, do, answer.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::IntoResponse,
};

use super::{
    App, MAX_ROWS,
    error::Failure,
    metrics::count_values,
    model::{GetOnlineFeatures, OnlineFeatures, Push},
};
use crate::{
    audit::Served,
    error::Error,
    materialize::push as push_rows,
    serve::{Refused, Request},
    time::Timestamp,
};

pub(super) async fn get_online_features(
    State(app): State<App>,
    body: Result<Json<GetOnlineFeatures>, JsonRejection>,
) -> Result<Json<OnlineFeatures>, Failure> {
    let Json(body) = body?;
    let request = Request {
        wanted: body.wanted().map_err(Refused::from)?,
        entities: body.entities,
        full_names: body.full_feature_names,
        event_time: body.event_time.unwrap_or_else(Timestamp::now),
        max_rows: MAX_ROWS,
    };
    let answer = app.server.answer(&request).await?;
    count_values(&answer);
    Ok(Json(OnlineFeatures::new(answer, app.server.in_force().sequence)))
}

pub(super) async fn push(
    State(app): State<App>,
    body: Result<Json<Push>, JsonRejection>,
) -> Result<StatusCode, Failure> {
    let Json(body) = body?;
    if let Some(to) = body.to.as_deref().filter(|to| *to != "online") {
        let error = Error::invalid(format!("nothing pushed: \"to\" is {to:?}")).with_hint(
            "rows can be pushed \"online\"; offline, they are added to the source's files",
        );
        return Err(Failure::from_push(&error));
    }
    let rows = body.df.values().map(Vec::len).max().unwrap_or(0);
    if rows > MAX_ROWS {
        let error = Error::limit("rows of a push", MAX_ROWS as u64, 0, rows as u64);
        return Err(Failure::from_push(&error));
    }
    push_rows(
        app.server.in_force(),
        &body.push_source_name,
        &body.df,
        Timestamp::now(),
        app.server.stores(),
    )
    .await
    .map_err(|error| Failure::from_push(&error))?;
    Ok(StatusCode::OK)
}

pub(super) async fn fingerprints(State(app): State<App>) -> Json<Served> {
    Json(Served::of(app.server.in_force()))
}

pub(super) async fn health() -> StatusCode {
    StatusCode::OK
}

pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}

pub(super) async fn not_found() -> Failure {
    Failure::plain(
        StatusCode::NOT_FOUND,
        "Not Found: there are POST /get-online-features, POST /push, GET /health, GET /metrics, GET /fingerprints",
    )
}

pub(super) async fn method_not_allowed() -> Failure {
    Failure::plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}
