//! Features, asked for.

use std::{sync::Arc, time::Instant};

use axum::{
    body::Bytes,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use crate::{
    definition::retrieval::Wanted,
    evaluate::apart,
    serve::{Answer, Request, regroup},
    server::{
        App, Remarks, answer_body,
        body::JsonBody,
        error::Failure,
        model::{GetOnlineFeatures, OnlineFeatures, features},
    },
    time::Timestamp,
};

/// The newest values of features for some entities.
#[utoipa::path(
    post,
    path = "/get-online-features",
    request_body = GetOnlineFeatures,
    responses(
        (status = 200, description = "The values, column by column", body = OnlineFeatures),
        (status = 404, description = "No such service, view or feature, or request data is missing", body = String),
        (status = 413, description = "The request, or the answer, is too large", body = String),
        (status = 422, description = "The request is not right", body = String),
    )
)]
pub(in crate::server) async fn get_online_features(
    State(app): State<Arc<App>>,
    JsonBody(body, _held): JsonBody<GetOnlineFeatures>,
) -> Result<impl IntoResponse, Failure> {
    let server = app.live.current();
    let (prepared, warnings) = match (body.feature_service, body.features) {
        (None, Some(list)) => {
            let listed = server.prepare_list(&list, body.full_feature_names, features)?;
            (listed.prepared, listed.warnings)
        }
        (service, _) => {
            let wanted = service.map_or_else(|| Wanted::Features(Vec::new()), Wanted::Service);
            (server.prepare(&wanted, body.full_feature_names)?, Arc::default())
        }
    };
    let request = Request {
        entities: body.entities.0,
        event_time: body.event_time.unwrap_or_else(Timestamp::now),
        max_rows: app.settings.max_rows as usize,
        partial: body.allow_partial,
    };
    app.admission.check_views(prepared.views())?;
    let remarks = Remarks { views: body.include_feature_view_version_metadata, warnings };
    let snapshot = server.in_force().sequence;
    let answering = async {
        let answer = server.answer(&prepared, &request).await?;
        Ok((written(&app, &answer, snapshot, &remarks)?, answer.rows()))
    };
    let (body, rows) = app.admission.in_turn(&app.stages.queue, answering).await?;
    // What the body was made of goes while it is at hand.
    drop(request);
    regroup(rows).await;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

/// The body of an answer. A large one is written while other requests go on, and finds room beside
/// theirs.
fn written(
    app: &App,
    answer: &Answer<'_>,
    snapshot: u64,
    remarks: &Remarks,
) -> Result<Bytes, Failure> {
    let since = Instant::now();
    let limit = usize::try_from(app.settings.max_answer_bytes).unwrap_or(usize::MAX);
    let write = || answer_body(answer, snapshot, remarks, limit);
    let body = if answer.is_large() { apart(write) } else { write() };
    app.stages.write.took(since);
    app.room.keep(body.map_err(|error| Failure::new(StatusCode::PAYLOAD_TOO_LARGE, &error))?)
}
