//! The one place where errors become responses.
//!
//! A caller's mistake is 4xx with Feast's body: a JSON string that holds JSON with the module and
//! class of an exception, which the Feast client raises. It is never 500: the client calls again on
//! 500 and hides the message.

use std::any::Any;

use axum::{
    Json,
    extract::rejection::JsonRejection,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    error::{Error, Kind},
    serve::{Class, Refused},
};

/// A response that is an error.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    body: serde_json::Value,
}

impl Failure {
    fn typed(status: StatusCode, class: &str, error: &Error) -> Self {
        let message = match error.hint() {
            Some(hint) => format!("{}\nhint: {hint}", error.message()),
            None => error.message().to_owned(),
        };
        let detail = json!({"module": "feast.errors", "class": class, "message": message});
        Self { status, body: detail.to_string().into() }
    }

    pub(super) fn plain(status: StatusCode, detail: &str) -> Self {
        Self { status, body: json!({"detail": detail}) }
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let (status, class) = match refused.class {
            Class::FeatureServiceNotFound => {
                (StatusCode::NOT_FOUND, "FeatureServiceNotFoundException")
            }
            Class::FeatureViewNotFound => (StatusCode::NOT_FOUND, "FeatureViewNotFoundException"),
            Class::FeatureNotFound => (StatusCode::NOT_FOUND, "FeastObjectNotFoundException"),
            Class::RequestDataNotFound => {
                (StatusCode::NOT_FOUND, "RequestDataNotFoundInEntityRowsException")
            }
            Class::NameCollision => (StatusCode::UNPROCESSABLE_ENTITY, "FeatureNameCollisionError"),
            Class::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "FeastError"),
            Class::Failed => return Self::from_failed(&refused.error),
        };
        Self::typed(status, class, &refused.error)
    }
}

impl Failure {
    fn from_failed(error: &Error) -> Self {
        tracing::error!(error = %error, "a request failed");
        let status = match error.kind() {
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::typed(status, "FeastError", error)
    }

    /// A push that was not taken.
    pub(super) fn from_push(error: &Error) -> Self {
        match error.kind() {
            Kind::NotFound => {
                Self::typed(StatusCode::UNPROCESSABLE_ENTITY, "PushSourceNotFoundException", error)
            }
            Kind::Invalid | Kind::Limit => {
                Self::typed(StatusCode::UNPROCESSABLE_ENTITY, "FeastError", error)
            }
            _ => Self::from_failed(error),
        }
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        let detail =
            json!([{"type": "value_error", "loc": ["body"], "msg": rejection.body_text()}]);
        let status = match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self { status, body: json!({ "detail": detail }) }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// What a request that hit a defect gets; the process goes on.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request panicked");
    Failure::plain(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the server; it is in its log")
        .into_response()
}
