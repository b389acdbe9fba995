//! The one place where errors become responses.
//!
//! A caller's mistake is 4xx with Feast's body: a JSON string that holds JSON with the module and
//! class of an exception, which the Feast client raises. It is never 500: the client calls again on
//! 500 and hides the message.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

use crate::{
    error::{Error, Kind},
    serve::{Class, Refused},
};

/// The exception that any refusal without one of its own is raised as.
const GENERAL: &str = "FeastError";

/// When to try again where nobody knows when it will be better.
const SOON: Duration = Duration::from_secs(1);

/// A response that is an error.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    class: &'static str,
    message: String,
    /// When it may be tried again.
    retry_after: Option<Duration>,
    /// What is logged, where it is not the caller's mistake.
    cause: Option<Cause>,
}

/// What went wrong in the server: it stands in the response's extensions, to be logged with the
/// request's id.
#[derive(Debug, Clone)]
pub(super) struct Cause(pub(super) Arc<str>);

impl Failure {
    /// A refusal with this status, raised by Feast's client as its general exception.
    pub(super) fn new(status: StatusCode, error: &Error) -> Self {
        Self::typed(status, GENERAL, error)
    }

    fn typed(status: StatusCode, class: &'static str, error: &Error) -> Self {
        let message = match error.hint() {
            Some(hint) => format!("{}\nhint: {hint}", error.message()),
            None => error.message().to_owned(),
        };
        Self { status, class, message, retry_after: None, cause: None }
    }

    /// The same, to be tried again after a while.
    #[must_use]
    pub(super) fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// What a caller is told: status, message and seconds to wait.
    #[cfg(test)]
    pub(super) fn told(&self) -> (u16, &str, Option<u64>) {
        (self.status.as_u16(), &self.message, self.retry_after.map(whole_seconds))
    }

    /// The request is not one that the route takes.
    pub(super) fn invalid(error: &Error) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, error)
    }

    /// Not the caller's mistake.
    fn failed(error: &Error) -> Self {
        let failure = match error.kind() {
            Kind::Unavailable => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(SOON)
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, error),
        };
        Self { cause: Some(Cause(error.to_string().into())), ..failure }
    }

    /// The same, and not worth asking again for.
    pub(super) fn for_good(self) -> Self {
        Self { retry_after: None, ..self }
    }

    /// Rows that were not written, or not materialized; `unknown` is raised where what they are
    /// for does not exist.
    pub(super) fn of_write(error: &Error, unknown: Unknown) -> Self {
        match error.kind() {
            Kind::NotFound => {
                let (status, class) = match unknown {
                    Unknown::PushSource => {
                        (StatusCode::UNPROCESSABLE_ENTITY, "PushSourceNotFoundException")
                    }
                    Unknown::FeatureView => (StatusCode::NOT_FOUND, "FeatureViewNotFoundException"),
                };
                Self::typed(status, class, error)
            }
            Kind::Invalid | Kind::Limit => Self::invalid(error),
            Kind::Conflict => Self::new(StatusCode::CONFLICT, error),
            _ => Self::failed(error),
        }
    }
}

/// What a write is for, and may not exist.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unknown {
    PushSource,
    FeatureView,
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
            Class::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, GENERAL),
            Class::Failed => return Self::failed(&refused.error),
        };
        Self::typed(status, class, &refused.error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let detail =
            json!({"module": "feast.errors", "class": self.class, "message": self.message});
        let mut response = (self.status, Json(detail.to_string())).into_response();
        if let Some(after) = self.retry_after {
            let seconds = HeaderValue::from(whole_seconds(after));
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

/// Seconds as `Retry-After` has them: whole, and not too few.
fn whole_seconds(after: Duration) -> u64 {
    (after.as_millis().div_ceil(1_000) as u64).max(1)
}

/// What a request that hit a defect gets; the process goes on.
pub(super) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let error = Error::internal("a defect of the server; it is in its log");
    let failure = Failure::new(StatusCode::INTERNAL_SERVER_ERROR, &error);
    Failure { cause: Some(Cause("it panicked".into())), ..failure }.into_response()
}
