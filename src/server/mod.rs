//! HTTP: the wire of Feast's feature server, with what it lacks beside it.

mod admission;
mod answer;
mod body;
mod error;
mod listen;
mod meters;
mod model;
mod observe;
mod routes;
mod runs;
mod settings;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::{net::TcpListener, time::sleep};
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer, CompressionLevel,
        predicate::{DefaultPredicate, Predicate as _, SizeAbove},
    },
    decompression::RequestDecompressionLayer,
};
use utoipa::openapi::{InfoBuilder, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{Error, Result},
    serve::{Live, StageMeters},
};
use admission::Admission;

pub use admission::{ConsumerSettings, Rate};
pub use answer::{Remarks, answer_body};
pub use model::{Column, Metadata, OnlineFeatures, RowError, Unavailable, ViewMetadata};
pub use runs::{Job, Jobs};
pub use settings::Settings;

/// What every route works with.
#[derive(Debug)]
struct App {
    live: Arc<Live>,
    settings: Settings,
    admission: Arc<Admission>,
    jobs: Arc<dyn Jobs>,
    runs: Arc<runs::Runs>,
    stages: StageMeters,
    /// Whether the server was asked to stop.
    draining: AtomicBool,
    /// What describes the routes, as JSON.
    document: String,
    /// Every path there is.
    paths: Vec<String>,
}

/// The feature server over HTTP.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    router: Router,
}

impl Server {
    /// A server of what is live.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn new(live: Arc<Live>, jobs: Arc<dyn Jobs>, settings: Settings) -> Result<Self> {
        let admission = Arc::new(check_settings(&settings)?);
        let (routes, document) = documented(&admission).split_for_parts();
        let app = Arc::new(App {
            live,
            settings,
            jobs,
            runs: Arc::default(),
            stages: StageMeters::look_up(),
            admission,
            draining: AtomicBool::default(),
            paths: document.paths.paths.keys().cloned().collect(),
            document: document
                .to_json()
                .map_err(|error| Error::internal(format!("no OpenAPI document: {error}")))?,
        });
        Ok(Self { router: router(routes, &app), app })
    }

    /// Serves until `shutdown` is done, then lets the requests under way finish, but not for
    /// longer than the settings say.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let Self { app, router } = self;
        let told = async {
            shutdown.await;
            app.draining.store(true, Ordering::Relaxed);
            sleep(app.settings.drain_delay.into()).await;
        };
        listen::serve(listener, router, &app.settings, told).await;
    }
}

/// Refuses settings under which nothing could be served, and consumers without a key.
///
/// # Errors
/// [`Kind::Invalid`](crate::error::Kind::Invalid), naming the setting.
pub fn check(settings: &Settings) -> Result<()> {
    check_settings(settings).map(drop)
}

fn check_settings(settings: &Settings) -> Result<Admission> {
    settings.check()?;
    Admission::new(settings)
}

/// The routes, and the document that describes them, which is made from the code of each.
fn documented(admission: &Arc<Admission>) -> OpenApiRouter<Arc<App>> {
    use routes::{features, materialize, watch, write};
    let known = middleware::from_fn_with_state(Arc::clone(admission), admission::only_known);
    let asked = OpenApiRouter::new()
        .routes(routes!(features::get_online_features))
        .routes(routes!(write::push))
        .routes(routes!(write::write_to_online_store))
        .routes(routes!(materialize::materialize))
        .routes(routes!(materialize::materialize_incremental))
        .routes(routes!(watch::fingerprints))
        .route_layer(known);
    let info =
        InfoBuilder::new().title("unskew").version(env!("CARGO_PKG_VERSION")).description(Some(
            "Features, asked for online, in the protocol of Feast's feature server. A refusal's \
             body is a JSON string that holds JSON: {module, class, message}.",
        ));
    OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build())
        .merge(asked)
        .routes(routes!(watch::health))
        .routes(routes!(watch::ready))
        .routes(routes!(watch::metrics))
        .routes(routes!(watch::openapi))
}

fn router(routes: Router<Arc<App>>, app: &Arc<App>) -> Router {
    let worth_it = DefaultPredicate::new().and(SizeAbove::new(app.settings.gzip_bytes));
    let meters = Arc::new(meters::RequestMeters::default());
    let gzip = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(worth_it);
    routes
        .fallback(routes::watch::not_found)
        .method_not_allowed_fallback(routes::watch::method_not_allowed)
        // One layer of all: each that is added by itself is one more allocation and one more call
        // through a pointer for every request.
        .layer(
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(meters, observe::observe))
                .layer(CatchPanicLayer::custom(error::panicked))
                .layer(gzip)
                .layer(RequestDecompressionLayer::new())
                .layer(DefaultBodyLimit::disable()),
        )
        .with_state(Arc::clone(app))
}
