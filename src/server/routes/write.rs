//! Rows, brought by a caller.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::Value;

use crate::{
    definition::{Definitions, FeatureView},
    error::{Error, Result},
    materialize::push as push_rows,
    server::{
        App, Settings,
        body::JsonBody,
        error::{Failure, Unknown},
        model::{Push, WriteToOnlineStore},
    },
    time::Timestamp,
};

/// Write rows of a source to every online view that reads it.
#[utoipa::path(
    post,
    path = "/push",
    request_body = Push,
    responses(
        (status = 200, description = "Written, or older than what is stored"),
        (status = 422, description = "No such source, or the rows are not right; none is written", body = String),
    )
)]
pub(in crate::server) async fn push(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody<Push>,
) -> Result<StatusCode, Failure> {
    let failure = |error: Error| Failure::of_write(&error, Unknown::PushSource);
    if let Some(to) = body.to.as_deref().filter(|to| *to != "online") {
        let error = Error::invalid(format!("nothing pushed: \"to\" is {to:?}")).with_hint(
            "rows can be pushed \"online\"; offline, they are added to the source's files",
        );
        return Err(failure(error));
    }
    let writing = async { write(&app, &body.push_source_name, &body.df.0).await.map_err(failure) };
    app.admission.in_turn(&app.stages.queue, writing).await?;
    Ok(StatusCode::OK)
}

/// Write rows of a feature view. Features that are columns of the source may go by their own
/// names; a view with a transform takes what its function is given.
#[utoipa::path(
    post,
    path = "/write-to-online-store",
    request_body = WriteToOnlineStore,
    responses(
        (status = 200, description = "Written, or older than what is stored", body = Option<String>),
        (status = 404, description = "No such feature view", body = String),
        (status = 422, description = "The rows are not right; none is written", body = String),
    )
)]
pub(in crate::server) async fn write_to_online_store(
    State(app): State<Arc<App>>,
    JsonBody(body): JsonBody<WriteToOnlineStore>,
) -> Result<Json<()>, Failure> {
    let failure = |error: Error| Failure::of_write(&error, Unknown::FeatureView);
    let server = app.live.current();
    let definitions = &server.in_force().state.definitions;
    let name = &body.feature_view_name;
    let rows = match definitions.feature_views.get(name) {
        Some(view) => source_rows(definitions, view, body.df.0).map_err(failure)?,
        None => {
            let names = definitions.feature_views.keys().map(String::as_str);
            let error = Error::not_found(format!("Feature view {name} does not exist"))
                .with_hint(crate::error::did_you_mean(name, names));
            return Err(failure(error));
        }
    };
    let writing = async { write(&app, name, &rows).await.map_err(failure) };
    app.admission.in_turn(&app.stages.queue, writing).await?;
    Ok(Json(()))
}

async fn write(app: &App, target: &str, rows: &BTreeMap<String, Vec<Value>>) -> Result<()> {
    refuse_too_many(&app.settings, rows)?;
    let server = app.live.current();
    push_rows(server.in_force(), target, rows, Timestamp::now(), server.stores()).await.map(drop)
}

fn refuse_too_many(settings: &Settings, rows: &BTreeMap<String, Vec<Value>>) -> Result<()> {
    let (limit, rows) =
        (u64::from(settings.max_rows), rows.values().map(Vec::len).max().unwrap_or(0) as u64);
    match rows > limit {
        true => Err(Error::limit("rows of a push", limit, 0, rows)
            .with_hint("push them in several requests")),
        false => Ok(()),
    }
}

/// The rows under the names of the view's source. Feast's client names features, and brings a
/// created time, empty where it has none, whether the source has such a column or not.
fn source_rows(
    definitions: &Definitions,
    view: &FeatureView,
    mut rows: BTreeMap<String, Vec<Value>>,
) -> Result<BTreeMap<String, Vec<Value>>> {
    let source = definitions.sources.get(&view.source);
    let has_created = source.is_some_and(|source| source.created.is_some());
    if !has_created && rows.get("created").is_some_and(|times| times.iter().all(Value::is_null)) {
        rows.remove("created");
    }
    if view.transform.is_some() {
        return Ok(rows);
    }
    for (name, feature) in &view.features {
        if *name == feature.column {
            continue;
        }
        let Some(values) = rows.remove(name) else {
            continue;
        };
        match rows.get(&feature.column) {
            Some(other) if *other != values => {
                return Err(Error::invalid(format!(
                    "nothing written: \"{name}\" and \"{}\" are one column of the source, and differ",
                    feature.column
                )));
            }
            _ => drop(rows.insert(feature.column.clone(), values)),
        }
    }
    Ok(rows)
}
