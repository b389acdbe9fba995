//! HTTP: the wire of Feast's feature server, with what it lacks beside it.

mod admission;
mod answer;
mod body;
mod error;
mod front;
mod listen;
mod meters;
mod model;
mod room;
mod routes;
mod runs;
mod settings;
mod streams;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::Router;
use tokio::{net::TcpListener, time::sleep};
use utoipa::{
    PartialSchema as _,
    openapi::{ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, ResponseBuilder},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    error::{Error, Result},
    serve::{Live, StageMeters},
};
use admission::Admission;
use front::{Front, Paths};
use room::Room;

pub use admission::{ConsumerSettings, Rate};
pub use answer::{Remarks, answer_body};
pub use body::Columns;
pub use model::{Column, Metadata, OnlineFeatures, RowError, Unavailable, ViewMetadata};
pub use runs::{Job, Jobs};
pub use settings::Settings;

/// What every route works with.
#[derive(Debug)]
struct App {
    live: Arc<Live>,
    settings: Settings,
    admission: Arc<Admission>,
    /// For bodies.
    room: Room,
    jobs: Arc<dyn Jobs>,
    runs: Arc<runs::Runs>,
    stages: StageMeters,
    /// Whether the server was asked to stop.
    draining: AtomicBool,
    /// What describes the routes, as JSON.
    document: String,
    paths: Arc<Paths>,
}

/// The feature server over HTTP.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    router: Router<Arc<App>>,
}

impl Server {
    /// A server of what is live.
    ///
    /// # Errors
    /// Those of [`check`].
    pub fn new(live: Arc<Live>, jobs: Arc<dyn Jobs>, settings: Settings) -> Result<Self> {
        let admission = Arc::new(check_settings(&settings)?);
        let (router, document, paths) = documented();
        let app = Arc::new(App {
            live,
            room: Room::new(settings.max_bodies_bytes),
            settings,
            jobs,
            runs: Arc::default(),
            stages: StageMeters::look_up(),
            admission,
            draining: AtomicBool::default(),
            paths: Arc::new(paths),
            document: document
                .to_json()
                .map_err(|error| Error::internal(format!("no OpenAPI document: {error}")))?,
        });
        Ok(Self { app, router })
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
        let (paths, admission) = (Arc::clone(&app.paths), Arc::clone(&app.admission));
        let router = router.with_state(Arc::clone(&app));
        let front = Front::new(router, paths, admission, app.settings.gzip_bytes);
        listen::serve(listener, front, &app.settings, told).await;
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

/// How requests with a body may be refused, whatever the route.
const REFUSALS: [(&str, &str); 9] = [
    ("400", "The request cannot be read"),
    ("401", "No key, or an unknown one, where one is needed"),
    ("408", "The body did not arrive in time"),
    ("413", "The body is too large"),
    ("415", "The body is not said to be JSON, or is compressed in another way than with gzip"),
    ("422", "The request is not right"),
    ("429", "Too often: `Retry-After` says when to try again"),
    ("500", "A defect of the server"),
    ("503", "Too much at once, or a store does not answer"),
];

/// Says of every route with a body how it may be refused, where the route itself does not.
fn add_refusals(document: &mut OpenApi) {
    for operation in document.paths.paths.values_mut().filter_map(|path| path.post.as_mut()) {
        for (status, description) in REFUSALS {
            let text = ContentBuilder::new().schema(Some(String::schema())).build();
            let refusal = ResponseBuilder::new().description(description);
            let refusal = refusal.content("application/json", text).build();
            let responses = &mut operation.responses.responses;
            responses.entry(status.to_owned()).or_insert_with(|| refusal.into());
        }
    }
}

/// The routes, the document that describes them, which is made from the code of each, and their
/// paths.
fn documented() -> (Router<Arc<App>>, OpenApi, Paths) {
    use routes::{features, materialize, watch, write};
    let open = OpenApiRouter::new()
        .routes(routes!(watch::health))
        .routes(routes!(watch::ready))
        .routes(routes!(watch::metrics))
        .routes(routes!(watch::openapi));
    let names = |routes: &OpenApi| routes.paths.paths.keys().cloned().collect();
    let open_paths = names(open.get_openapi());
    let info =
        InfoBuilder::new().title("unskew").version(env!("CARGO_PKG_VERSION")).description(Some(
            "Features, asked for online, in the protocol of Feast's feature server. A refusal's \
             body is a JSON string that holds JSON: {module, class, message}.",
        ));
    let (router, document) =
        OpenApiRouter::with_openapi(OpenApiBuilder::new().info(info.build()).build())
            .routes(routes!(features::get_online_features))
            .routes(routes!(write::push))
            .routes(routes!(write::write_to_online_store))
            .routes(routes!(materialize::materialize))
            .routes(routes!(materialize::materialize_incremental))
            .routes(routes!(watch::fingerprints))
            .merge(open)
            .split_for_parts();
    let mut document = document;
    add_refusals(&mut document);
    let router =
        router.fallback(watch::not_found).method_not_allowed_fallback(watch::method_not_allowed);
    let paths = Paths { all: names(&document), open: open_paths };
    (router, document, paths)
}
