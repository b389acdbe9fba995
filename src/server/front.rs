//! What stands between connections and routes. Every request gets a name, the caller's own where
//! there is one, which stands in the answer and in the log; whoever may not ask is turned away; and
//! it is measured.

use std::{
    collections::BTreeSet, convert::Infallible, panic::AssertUnwindSafe, pin::Pin, sync::Arc,
    time::Instant,
};

use axum::{
    Router,
    body::Body,
    http::{
        HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version,
        header::{ACCEPT_ENCODING, CONTENT_ENCODING, HOST},
        uri::Authority,
    },
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use hyper::{body::Incoming, service::Service};
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::{
    compression::{
        Compression, CompressionLayer, CompressionLevel,
        predicate::{And, DefaultPredicate, Predicate as _, SizeAbove},
    },
    decompression::{RequestDecompression, RequestDecompressionLayer},
};

use super::{
    admission::{Admission, OTHER},
    error::{Cause, Failure, panicked},
    meters::RequestMeters,
    streams::{Answer, Streams},
};
use crate::error::Error;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest that is taken from a caller: it goes into the log.
const LONGEST: usize = 128;

/// The routes, behind gzip both ways.
type Gzip = Compression<RequestDecompression<Router>, And<DefaultPredicate, SizeAbove>>;

/// The routes, and what stands before them. This is one service around all of them: a layer of each
/// route would be cloned and boxed for every request. With the streams of the connection it answers
/// on, where there are any.
#[derive(Clone)]
pub(super) struct Front(Arc<Inner>, Option<Streams>);

struct Inner {
    routes: Router,
    /// The same routes.
    gzip: Gzip,
    paths: Arc<Paths>,
    admission: Arc<Admission>,
    meters: RequestMeters,
}

/// The paths that there are.
#[derive(Debug)]
pub(super) struct Paths {
    /// All of them.
    pub(super) all: BTreeSet<String>,
    /// Those that whoever watches the server may ask for without a key.
    pub(super) open: BTreeSet<String>,
}

impl Front {
    /// Answers of at least so many bytes are compressed for those who take that.
    pub(super) fn new(
        router: Router,
        paths: Arc<Paths>,
        admission: Arc<Admission>,
        gzip_bytes: u16,
    ) -> Self {
        let worth_it = DefaultPredicate::new().and(SizeAbove::new(gzip_bytes));
        let gzip = CompressionLayer::new().quality(CompressionLevel::Fastest);
        let gzip = ServiceBuilder::new()
            .layer(gzip.compress_when(worth_it))
            // Other codings are refused where bodies are read, in the form of all refusals.
            .layer(RequestDecompressionLayer::new().pass_through_unaccepted(true))
            .service(router.clone());
        let meters = RequestMeters::default();
        Self(Arc::new(Inner { routes: router, gzip, paths, admission, meters }), None)
    }

    /// The same for a connection with these streams.
    pub(super) fn on(self, streams: Option<Streams>) -> Self {
        Self(self.0, streams)
    }

    async fn answer(self, request: Request<Incoming>) -> Response {
        let start = Instant::now();
        let given = request.headers().get(X_REQUEST_ID).filter(|id| is_plain(id));
        let id = given.cloned().unwrap_or_else(fresh);
        let Inner { paths, admission, meters, .. } = &*self.0;
        let path = request.uri().path();
        let (consumer, admitted) = match paths.open.contains(path) {
            true => (OTHER, Ok(())),
            false => admission.admit(request.headers()),
        };
        let path = paths.all.get(path).map_or(OTHER, String::as_str);
        let admitted = admitted.and_then(|()| check_host(&request));
        let mut response = match admitted {
            Ok(()) => AssertUnwindSafe(self.0.route(request))
                .catch_unwind()
                .await
                .unwrap_or_else(panicked),
            Err(refused) => refused.into_response(),
        };
        if let Some(Cause(error)) = response.extensions().get() {
            let id = id.to_str().unwrap_or_default();
            tracing::error!(id, path, %error, "a request failed");
        }
        meters.saw(path, consumer, response.status(), start.elapsed());
        response.headers_mut().insert(X_REQUEST_ID, id);
        response
    }
}

impl Inner {
    /// Has the request answered, by way of gzip where there is any talk of it.
    async fn route(&self, mut request: Request<Incoming>) -> Response {
        let is_plain = [ACCEPT_ENCODING, CONTENT_ENCODING]
            .iter()
            .all(|header| !request.headers().contains_key(header));
        let Ok(response) = match is_plain {
            true => self.routes.clone().oneshot(request).await,
            false => {
                name_gzip(request.headers_mut());
                self.gzip.clone().oneshot(request).await.map(|response| response.map(Body::new))
            }
        };
        response
    }
}

impl Service<Request<Incoming>> for Front {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let stream = self.1.as_ref().map(Streams::open);
        let answered = self.clone().answer(request);
        Box::pin(answered.map(|answer| Ok(answer.map(|body| Answer::new(body, stream)))))
    }
}

/// Refuses what says twice, or not at all, which host it is for: a proxy before this server may go by
/// another one (RFC 9112, 3.2).
fn check_host<B>(request: &Request<B>) -> Result<(), Failure> {
    if request.version() != Version::HTTP_11 {
        return Ok(());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    let is_host =
        |host: &HeaderValue| host.is_empty() || Authority::try_from(host.as_bytes()).is_ok();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host) => Ok(()),
        _ => {
            let error = Error::invalid("the request does not name one host")
                .with_hint("HTTP/1.1 has one header \"host\" in every request");
            Err(Failure::new(StatusCode::BAD_REQUEST, &error))
        }
    }
}

/// Gives gzip the one name that decompression knows: by RFC 9110, 8.4.1, it has two, in whatever
/// case.
fn name_gzip(headers: &mut HeaderMap) {
    if let Some(coding) = headers.get_mut(CONTENT_ENCODING)
        && ["gzip", "x-gzip"]
            .iter()
            .any(|name| coding.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
    {
        *coding = HeaderValue::from_static("gzip");
    }
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
