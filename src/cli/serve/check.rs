//! `unskew serve --check`: everything that serving takes, tried one after the other.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::net::TcpListener;

use super::{
    super::{Context, Verdict, table::table},
    check_rates,
};
use crate::{
    error::{Error, Result},
    serve::{FeatureServer, check_stores},
    server::check,
};

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    says: String,
}

pub(super) async fn run(context: &Context, listen: SocketAddr) -> Result<Verdict> {
    let app = context.app()?;
    let mut findings = Vec::new();
    let mut found = |what, result: Result<String>| {
        let (ok, says) = match result {
            Ok(says) => (true, says),
            Err(error) => (false, error.to_string()),
        };
        findings.push(Finding { what, ok, says });
    };
    found("settings", check(&app.config.server).map(|()| "[server] is sound".to_owned()));
    let freshness = app.config.freshness.check();
    found("freshness", freshness.map(|()| "[freshness] is sound".to_owned()));
    found("address", address(listen).await);
    let in_force = app.in_force().await.map(Arc::new);
    found(
        "snapshot",
        in_force.as_ref().map_err(Error::clone).map(|in_force| {
            let transforms = in_force.state.transforms.len();
            format!("{} is in force, with {transforms} transforms compiled", in_force.sequence)
        }),
    );
    if let Ok(in_force) = &in_force {
        let rates = check_rates(&app.config.server, &in_force.state.definitions);
        found("rates", rates.map(|()| "they are of views that are in force".to_owned()));
    }
    let stores = app.stores();
    if let (Ok(in_force), Ok(stores)) = (&in_force, &stores) {
        let server = FeatureServer::new(Arc::clone(in_force), stores.clone());
        found("stores", answering(&server).await);
    } else {
        found("stores", stores.map(|_| "they can be opened".to_owned()));
    }
    let verdict = match findings.iter().all(|finding| finding.ok) {
        true => Verdict::Yes,
        false => Verdict::No,
    };
    let line = |finding: &Finding| {
        let ok = if finding.ok { "ok" } else { "NOT OK" };
        vec![finding.what.to_owned(), ok.to_owned(), finding.says.clone()]
    };
    let text = table(&["check", "", "says"], findings.iter().map(line).collect());
    context.output.result(text, &findings)?;
    Ok(verdict)
}

/// How long a store may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

async fn answering(server: &FeatureServer) -> Result<String> {
    check_stores(&server.in_force().state.definitions, server.stores())?;
    match server.failing_stores(PATIENCE).await.into_iter().next() {
        Some(error) => Err(error),
        None => Ok("they answer".to_owned()),
    }
}

async fn address(listen: SocketAddr) -> Result<String> {
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| Error::unavailable(format!("cannot listen on {listen}: {error}")))?;
    Ok(format!("{} is free", listener.local_addr()?))
}
