//! `unskew serve`.

mod background;
mod check;
mod freshness;
mod reload;

use std::{collections::BTreeSet, io::IsTerminal as _, net::SocketAddr, sync::Arc};

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::{net::TcpListener, signal};

use super::{Context, Verdict};
use crate::{
    definition::Definitions,
    error::{Error, Kind, Result, did_you_mean},
    serve::{FeatureServer, Live, check_stores},
    server::{Server, Settings},
};
use background::Background;
use reload::Reload;

/// Serve features over HTTP, in Feast's protocol, until the process is asked to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:6566", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Look whether everything that serving takes is there and works, and serve nothing.
    #[arg(long)]
    check: bool,
    /// How the log on stderr is written; UNSKEW_LOG says what is in it, as in "info" or "debug".
    #[arg(long, value_enum, default_value = "text", env = "UNSKEW_LOG_FORMAT")]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        log(self.log_format, "info");
        if self.check {
            return check::run(context, self.listen).await;
        }
        let app = Arc::new(context.app()?);
        let listener = self.bind().await?;
        let (runtime, registry) = (app.runtime()?, app.registry()?);
        let in_force = Arc::new(app.in_force_in(&runtime, &registry).await?);
        let stores = app.stores()?;
        if let Err(error) = check_stores(&in_force.state.definitions, &stores) {
            tracing::warn!(%error, "a view is not served");
        }
        if let Err(error) = check_rates(&app.config.server, &in_force.state.definitions) {
            tracing::warn!(%error, "a rate limits nothing");
        }
        let live = Arc::new(Live::new(FeatureServer::new(Arc::clone(&in_force), stores.clone())));
        let background = Arc::new(Background::new(Arc::clone(&app))?);
        let settings = app.config.server.clone();
        let interval = settings.reload_interval;
        let server = Server::new(Arc::clone(&live), Arc::clone(&background) as _, settings)?;
        let watching = freshness::watch(app.monitor()?, &app.config.freshness, Arc::clone(&live))?;
        background.spawn(watching);
        background.spawn(Reload { app, runtime, registry, stores, live }.run(interval));
        let address = listener.local_addr()?;
        let text = format!(
            "serving snapshot {} of {} on http://{address}",
            in_force.sequence, in_force.project
        );
        context.output.result(
            text,
            &json!({"snapshot": in_force.sequence, "url": format!("http://{address}")}),
        )?;
        tracing::info!(%address, snapshot = in_force.sequence, "serving");
        server.run(listener, asked_to_stop()).await;
        tracing::info!("stopped");
        Ok(Verdict::Yes)
    }

    async fn bind(&self) -> Result<TcpListener> {
        TcpListener::bind(self.listen).await.map_err(|error| {
            // The caller chose the address: that it is taken, or not this machine's, is theirs.
            Error::new(
                Kind::Invalid,
                format!("not serving: cannot listen on {}: {error}", self.listen),
            )
            .with_hint("another address can be given with --listen; port 0 takes a free one")
        })
    }
}

/// Looks whether there is a view for every rate.
///
/// # Errors
/// [`Kind::NotFound`], naming the first rate that is of none.
fn check_rates(settings: &Settings, definitions: &Definitions) -> Result<()> {
    let stored = definitions.feature_views.keys();
    let views: BTreeSet<&str> =
        stored.chain(definitions.on_demand_feature_views.keys()).map(String::as_str).collect();
    match settings.view_rates.keys().find(|view| !views.contains(view.as_str())) {
        Some(view) => Err(Error::not_found(format!(
            "server.view_rates.{view}: feature view {view} does not exist"
        ))
        .with_hint(did_you_mean(view, views))),
        None => Ok(()),
    }
}

/// Logs warnings to stderr, or what `UNSKEW_LOG` says: for commands that watch.
pub(super) fn log_warnings() {
    log(LogFormat::Text, "warn");
}

/// Logs to stderr what `UNSKEW_LOG` says, or this.
fn log(format: LogFormat, usual: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("UNSKEW_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual));
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(filter);
    // On a terminal the environment says whether there are colours, as everywhere.
    let log = match std::io::stderr().is_terminal() {
        true => log,
        false => log.with_ansi(false),
    };
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Done when the process gets SIGINT or SIGTERM.
pub(super) async fn asked_to_stop() {
    let interrupt = async {
        // Where the signal cannot be listened to, it ends the process as it always does.
        if signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let terminate = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut stream) => {
                stream.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
    tracing::info!("asked to stop");
}
