//! What is done about every request: it gets a name, the caller's own where there is one, which stands
//! in the answer and in the log; and it is measured.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};
use tracing::Instrument as _;

use super::metrics::RequestMeters;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a caller: it goes into the log.
const LONGEST: usize = 128;

/// Puts the request's id into its answer, and everything logged meanwhile under it; counts and times
/// it. This is one layer and not two, since each is paid for by every request.
pub(super) async fn observe(
    State(meters): State<Arc<RequestMeters>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let given = request.headers().get(X_REQUEST_ID).filter(|id| is_plain(id));
    let id = given.cloned().unwrap_or_else(fresh);
    let shown = id.to_str().unwrap_or_default();
    let span = tracing::info_span!("request", id = shown, path = request.uri().path());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).instrument(span).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    meters.saw(route.as_ref(), &response, start.elapsed());
    response
}

fn is_plain(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    let id = format!("{:032x}", rand::random::<u128>());
    // Hexadecimal digits are a header.
    HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
}
