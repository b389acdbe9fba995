//! Runs that write what the sources have to the online store.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    error::{Error, Kind, Result},
    materialize::{Window, views},
    server::{
        App, Job,
        body::JsonBody,
        error::{Failure, Unknown},
        model::{Accepted, Materialize, MaterializeIncremental, RunQuery, refuse_version},
    },
    time::Timestamp,
};

/// Write the newest rows within a window to the online store.
#[utoipa::path(
    post,
    path = "/materialize",
    params(RunQuery),
    request_body = Materialize,
    responses(
        (status = 200, description = "Done", body = Option<String>),
        (status = 202, description = "Begun", body = Accepted),
        (status = 404, description = "No such feature view", body = String),
        (status = 409, description = "A run is under way", body = String),
        (status = 422, description = "The window is not right", body = String),
    )
)]
pub(in crate::server) async fn materialize(
    State(app): State<Arc<App>>,
    query: Result<Query<RunQuery>, QueryRejection>,
    JsonBody(body, _held): JsonBody<Materialize>,
) -> Result<Response, Failure> {
    let window = refuse_version(body.version.as_ref()).and_then(|()| window(&body));
    let window = window.map_err(|error| Failure::of_write(&error, Unknown::FeatureView))?;
    run(&app, query, window, body.feature_views.unwrap_or_default()).await
}

/// Go on where earlier runs ended.
#[utoipa::path(
    post,
    path = "/materialize-incremental",
    params(RunQuery),
    request_body = MaterializeIncremental,
    responses(
        (status = 200, description = "Done", body = Option<String>),
        (status = 202, description = "Begun", body = Accepted),
        (status = 404, description = "No such feature view", body = String),
        (status = 409, description = "A run is under way", body = String),
        (status = 422, description = "The end is not right", body = String),
    )
)]
pub(in crate::server) async fn materialize_incremental(
    State(app): State<Arc<App>>,
    query: Result<Query<RunQuery>, QueryRejection>,
    JsonBody(body, _held): JsonBody<MaterializeIncremental>,
) -> Result<Response, Failure> {
    refuse_version(body.version.as_ref())
        .map_err(|error| Failure::of_write(&error, Unknown::FeatureView))?;
    let window = Window::Incremental(body.end_ts);
    run(&app, query, window, body.feature_views.unwrap_or_default()).await
}

fn window(body: &Materialize) -> Result<Window> {
    if body.disable_event_timestamp {
        return Ok(Window::Between(None, Timestamp::now()));
    }
    match (body.start_ts, body.end_ts) {
        (Some(start), Some(end)) => Ok(Window::Between(Some(start), end)),
        (start, _) => {
            let missing = if start.is_none() { "start_ts" } else { "end_ts" };
            Err(Error::invalid(format!("nothing materialized: {missing} is missing"))
                .with_hint("disable_event_timestamp: true takes every row up to now"))
        }
    }
}

async fn run(
    app: &App,
    query: Result<Query<RunQuery>, QueryRejection>,
    window: Window,
    named: Vec<String>,
) -> Result<Response, Failure> {
    let failure = |error: Error| Failure::of_write(&error, Unknown::FeatureView);
    let Query(query) =
        query.map_err(|rejection| Failure::invalid(&Error::invalid(rejection.body_text())))?;
    let server = app.live.current();
    window.check(Timestamp::now()).map_err(failure)?;
    let chosen = views(server.in_force(), &named).map_err(failure)?;
    let chosen: Vec<String> = chosen.into_keys().map(str::to_owned).collect();
    let under_way = app.runs.begin(chosen.clone()).map_err(failure)?;
    let running =
        app.jobs.start(Job { server: Arc::clone(&server), views: chosen.clone(), window });
    let running = tokio::spawn(async move {
        let done = running.await;
        drop(under_way);
        done
    });
    if query.is_async {
        tokio::spawn(async {
            if let Ok(Err(error)) = running.await {
                tracing::error!(%error, "a run of materialize failed");
            }
        });
        let accepted = Accepted { status: "accepted", feature_views: chosen };
        return Ok((StatusCode::ACCEPTED, Json(accepted)).into_response());
    }
    match running.await {
        Ok(done) => done.map_err(failed)?,
        Err(error) => Err(failure(Error::internal(format!("the run was cut off: {error}"))))?,
    }
    Ok(Json(()).into_response())
}

/// Why a run failed. What was asked for is checked before it begins, so that nothing is the caller's
/// mistake any more; and a source that lacks something lacks it at the next attempt as well.
fn failed(error: Error) -> Failure {
    match error.kind() {
        Kind::Invalid | Kind::NotFound | Kind::Limit => {
            Failure::of_write(&error.not_the_callers(), Unknown::FeatureView).for_good()
        }
        _ => Failure::of_write(&error, Unknown::FeatureView),
    }
}
