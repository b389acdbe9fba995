//! `unskew serve`.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use serde_json::json;
use tokio::{net::TcpListener, signal};

use super::{Context, Verdict};
use crate::{
    error::{Error, Kind, Result},
    serve::FeatureServer,
    server::{Metrics, router, serve},
};

/// Serve features over HTTP, in Feast's protocol, until the process is asked to stop.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:6566", value_name = "ADDRESS")]
    listen: SocketAddr,
}

impl Serve {
    pub(super) async fn run(self, context: &Context) -> Result<Verdict> {
        let app = context.app()?;
        let listener = self.bind().await?;
        let in_force = Arc::new(app.in_force().await?);
        let server = Arc::new(FeatureServer::new(Arc::clone(&in_force), app.stores()?));
        let router = router(server, Metrics::install()?);
        tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(log_filter()).init();
        let address = listener.local_addr()?;
        let text = format!(
            "serving snapshot {} of {} on http://{address}",
            in_force.sequence, in_force.project
        );
        context.output.result(
            text,
            &json!({"snapshot": in_force.sequence, "url": format!("http://{address}")}),
        )?;
        serve(listener, router, asked_to_stop()).await?;
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

fn log_filter() -> tracing_subscriber::EnvFilter {
    tracing_subscriber::EnvFilter::try_from_env("UNSKEW_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"))
}

/// Done when the process gets SIGINT or SIGTERM.
async fn asked_to_stop() {
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
}
