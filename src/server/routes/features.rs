//! Features, asked for.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{
    definition::retrieval::Wanted,
    serve::{Request, regroup},
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
    let answering = async { Ok(server.answer(&prepared, &request).await?) };
    let answer = app.admission.in_turn(&app.stages.queue, answering).await?;
    let since = Instant::now();
    let remarks = Remarks { views: body.include_feature_view_version_metadata, warnings };
    let body = answer_body(&answer, server.in_force().sequence, &remarks);
    app.stages.write.took(since);
    let rows = answer.rows();
    // What the body was made of goes while it is at hand.
    drop((answer, request));
    regroup(rows).await;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}
