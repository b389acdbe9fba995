//! What Prometheus reads.

use std::{sync::OnceLock, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use metrics::{counter, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::App;
use crate::{
    error::{Error, Result},
    serve::Answer,
};

/// Bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 12] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The recorder of the process, to be rendered.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The recorder of the process, installed at the first call.
    ///
    /// # Errors
    /// [`crate::error::Kind::Internal`] when another recorder was installed before.
    pub fn install() -> Result<Self> {
        static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
        let installed = RECORDER.get_or_init(|| {
            let seconds = Matcher::Full("unskew_request_seconds".to_owned());
            let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS);
            builder.and_then(PrometheusBuilder::install_recorder).map_err(|error| error.to_string())
        });
        match installed {
            Ok(handle) => Ok(Self(handle.clone())),
            Err(error) => Err(Error::internal(format!("no metrics: {error}"))),
        }
    }

    /// The text format of Prometheus.
    pub(super) fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// Counts and times every request by route and status.
pub(super) async fn measure(State(_): State<App>, request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let route = path.unwrap_or_else(|| "other".to_owned());
    let response = next.run(request).await;
    let status = response.status().as_u16().to_string();
    counter!("unskew_requests_total", "route" => route.clone(), "status" => status).increment(1);
    histogram!("unskew_request_seconds", "route" => route).record(start.elapsed().as_secs_f64());
    response
}

/// Counts the values of an answer by status: missing and stale features show here first.
pub(super) fn count_values(answer: &Answer) {
    for column in &answer.columns {
        let Some((feature, _)) = &column.feature else {
            continue;
        };
        for (status, values) in column.statuses() {
            let labels = [("view", feature.view.clone()), ("status", status.as_str().to_owned())];
            counter!("unskew_values_total", &labels).increment(values);
        }
    }
}
