//! The body of a request: read within its bounds, and parsed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
};
use futures::StreamExt as _;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, MapAccess, Visitor},
};
use serde_json::Value;
use tokio::time::timeout;

use super::{App, Settings, error::Failure};
use crate::error::Error;

/// A body of JSON.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let path = request.uri().clone();
        refuse_other_types(request.headers())?;
        let bytes = read(request, &app.settings).await?;
        let since = Instant::now();
        let parsed = serde_json::from_slice(&bytes);
        app.stages.parse.took(since);
        match parsed {
            Ok(body) => Ok(Self(body)),
            Err(error) => {
                let error =
                    Error::invalid(format!("the body is not what {} takes: {error}", path.path()))
                        .with_hint("GET /openapi.json says what it takes");
                Err(Failure::invalid(&error))
            }
        }
    }
}

/// A page of another site may send any body but one that says it is JSON, unless it asks first: so
/// none is taken that does not.
fn refuse_other_types(headers: &HeaderMap) -> Result<(), Failure> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = said.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let error = Error::invalid(format!("the body's content-type is {essence:?}"))
        .with_hint("send JSON, with content-type: application/json");
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, &error))
}

async fn read(request: Request, settings: &Settings) -> Result<Bytes, Failure> {
    let limit = settings.max_body_bytes;
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(declared) = declared.filter(|declared| *declared > limit) {
        return Err(too_large(limit, 0, declared));
    }
    let patience: Duration = settings.body_timeout.into();
    timeout(patience, collect(request.into_body(), limit)).await.unwrap_or_else(|_| {
        let error =
            Error::invalid(format!("the body did not arrive within {}", settings.body_timeout));
        Err(Failure::new(StatusCode::REQUEST_TIMEOUT, &error))
    })
}

async fn collect(body: Body, limit: u64) -> Result<Bytes, Failure> {
    let mut pieces = body.into_data_stream();
    let mut first = Bytes::new();
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| {
            let error = Error::invalid(format!("the body cannot be read: {error}"));
            Failure::new(StatusCode::BAD_REQUEST, &error)
        })?;
        let current = first.len().max(whole.len());
        let requested = (current + piece.len()) as u64;
        if requested > limit {
            return Err(too_large(limit, current as u64, requested));
        }
        // Most bodies come in one piece, which is taken as it is.
        if current == 0 {
            first = piece;
            continue;
        }
        if whole.is_empty() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(if whole.is_empty() { first } else { whole.into() })
}

fn too_large(limit: u64, current: u64, requested: u64) -> Failure {
    let error = Error::limit("bytes of the body of a request", limit, current, requested)
        .with_hint("ask for fewer rows at a time");
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, &error)
}

/// Columns of JSON values by name, each of them once.
#[derive(Debug, Default)]
pub(super) struct Columns(pub BTreeMap<String, Vec<Value>>);

impl<'de> Deserialize<'de> for Columns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EachOnce)
    }
}

struct EachOnce;

impl<'de> Visitor<'de> for EachOnce {
    type Value = Columns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of values for each name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Columns, A::Error> {
        let mut columns = BTreeMap::new();
        while let Some((name, values)) = map.next_entry::<String, Vec<Value>>()? {
            if columns.contains_key(&name) {
                return Err(A::Error::custom(format!("column \"{name}\" is there twice")));
            }
            columns.insert(name, values);
        }
        Ok(Columns(columns))
    }
}
