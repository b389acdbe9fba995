//! What is done about every request: it gets a name, the caller's own where there is one, which stands
//! in the answer and in the log; and it is measured.

use std::{sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue},
    middleware::Next,
    response::Response,
};

use super::{error::Cause, meters::RequestMeters};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a caller: it goes into the log.
const LONGEST: usize = 128;

/// Puts the request's id into its answer, logs under it what went wrong, counts and times it. This is
/// one layer and not three, since each is paid for by every request.
pub(super) async fn observe(
    State(meters): State<Arc<RequestMeters>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let given = request.headers().get(X_REQUEST_ID).filter(|id| is_plain(id));
    let id = given.cloned().unwrap_or_else(fresh);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    let path = route.as_ref().map_or("other", MatchedPath::as_str);
    if let Some(Cause(error)) = response.extensions().get() {
        let id = id.to_str().unwrap_or_default();
        tracing::error!(id, path, %error, "a request failed");
    }
    meters.saw(path, &response, start.elapsed());
    response.headers_mut().insert(X_REQUEST_ID, id);
    response
}

fn is_plain(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn fresh() -> HeaderValue {
    let mut digits = [0; 32];
    // There is room for two digits of each byte, and digits are a header.
    let _ = hex::encode_to_slice(rand::random::<[u8; 16]>(), &mut digits);
    HeaderValue::from_bytes(&digits).unwrap_or_else(|_| HeaderValue::from_static("none"))
}
