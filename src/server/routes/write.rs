//! Rows, brought by a caller.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::Value;

use crate::{
    definition::Definitions,
    error::{Error, Result},
    materialize::{Target, push as push_rows},
    serve::FeatureServer,
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
    JsonBody(body, _held): JsonBody<Push>,
) -> Result<StatusCode, Failure> {
    let failure = |error: Error| Failure::of_write(&error, Unknown::PushSource);
    if let Some(to) = body.to.as_deref().filter(|to| *to != "online") {
        let error = Error::invalid(format!("nothing pushed: \"to\" is {to:?}")).with_hint(
            "rows can be pushed \"online\"; offline, they are added to the source's files",
        );
        return Err(failure(error));
    }
    let server = app.live.current();
    let target = Target::SourceOrView(&body.push_source_name);
    let writing = async { write(&app, &server, target, &body.df.0).await.map_err(failure) };
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
    JsonBody(body, _held): JsonBody<WriteToOnlineStore>,
) -> Result<Json<()>, Failure> {
    let failure = |error: Error| Failure::of_write(&error, Unknown::FeatureView);
    let server = app.live.current();
    let name = &body.feature_view_name;
    let definitions = &server.in_force().state.definitions;
    let rows = source_rows(definitions, name, body.df.0).map_err(failure)?;
    let target = Target::View(name);
    let writing = async { write(&app, &server, target, &rows).await.map_err(failure) };
    app.admission.in_turn(&app.stages.queue, writing).await?;
    Ok(Json(()))
}

async fn write(
    app: &App,
    server: &FeatureServer,
    target: Target<'_>,
    rows: &BTreeMap<String, Vec<Value>>,
) -> Result<()> {
    refuse_too_many(&app.settings, rows)?;
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
    view: &str,
    mut rows: BTreeMap<String, Vec<Value>>,
) -> Result<BTreeMap<String, Vec<Value>>> {
    let Some(view) = definitions.feature_views.get(view) else {
        return Ok(rows);
    };
    let source = definitions.sources.get(&view.source);
    let has_created = source.is_some_and(|source| source.created.is_some());
    if !has_created && rows.get("created").is_some_and(|times| times.iter().all(Value::is_null)) {
        rows.remove("created");
    }
    if view.transform.is_some() {
        return Ok(rows);
    }
    // All at once: the name of a feature may be that of another's column.
    let mut columns = BTreeMap::new();
    for (name, values) in rows {
        let column = view.features.get(&name).map_or(&name, |feature| &feature.column);
        match columns.get(column) {
            Some(other) if *other != values => {
                return Err(Error::invalid(format!(
                    "nothing written: \"{name}\" and another are column \"{column}\" of the \
                     source, and differ"
                )));
            }
            _ => drop(columns.insert(column.clone(), values)),
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::evaluate::testing::in_force;

    const VIEWS: &str = r#"
[feature_view.spend]
entities = ["customer"]
source = "orders"

[feature_view.spend.features]
product = { type = "utf8", column = "note" }
note = { type = "utf8", column = "product" }
total = { type = "int64", column = "amount" }
"#;

    #[test]
    fn features_go_by_their_names_or_by_their_columns() {
        let definitions = in_force(VIEWS).state.definitions;
        let check = |rows: Value, expected: Result<Value, &str>| {
            let given = serde_json::from_value(rows.clone()).unwrap();
            let found = source_rows(&definitions, "spend", given);
            let found = found.map(|rows| json!(rows)).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(ToOwned::to_owned), "{rows}");
        };
        check(
            json!({"customer_id": [1], "total": [7]}),
            Ok(json!({"customer_id": [1], "amount": [7]})),
        );
        check(json!({"amount": [7]}), Ok(json!({"amount": [7]})));
        check(json!({"amount": [7], "total": [7]}), Ok(json!({"amount": [7]})));
        check(
            json!({"amount": [7], "total": [8]}),
            Err(
                "nothing written: \"total\" and another are column \"amount\" of the source, and differ",
            ),
        );
        // The names of two features that are the columns of each other.
        check(
            json!({"note": ["n"], "product": ["p"]}),
            Ok(json!({"note": ["p"], "product": ["n"]})),
        );
        check(
            json!({"created": [1], "note": ["n"]}),
            Ok(json!({"created": [1], "product": ["n"]})),
        );
    }
}
