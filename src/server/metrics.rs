//! What Prometheus reads.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::response::Response;
use metrics::{Counter, Histogram, counter, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::admission::Consumer;
use crate::error::{Error, Result};

/// Bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 16] = [
    0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25,
    0.5, 1.0, 5.0,
];

/// How often measurements are sorted into buckets.
const UPKEEP: Duration = Duration::from_secs(1);

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
            let seconds = Matcher::Suffix("_seconds".to_owned());
            let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS);
            builder.and_then(PrometheusBuilder::install_recorder).map_err(|error| error.to_string())
        });
        match installed {
            Ok(handle) => Ok(Self(handle.clone())),
            Err(error) => Err(Error::internal(format!("no metrics: {error}"))),
        }
    }

    /// Sorts what was measured into its buckets, again and again: until that is done, every single
    /// measurement is kept.
    pub(super) async fn keep_up(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }

    /// The text format of Prometheus.
    pub(super) fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

/// The meters of requests, each looked up once: there are as many as routes, statuses and configured
/// consumers make together.
#[derive(Default)]
pub(super) struct RequestMeters(ArcSwap<ByRoute>);

/// By route, by consumer, and then by status.
type ByRoute = HashMap<String, HashMap<String, Vec<Meters>>>;

/// A status, how many answers had it, and how long they took.
type Meters = (u16, Counter, Histogram);

impl RequestMeters {
    /// Counts and times an answer, by route, status and consumer.
    pub(super) fn saw(&self, route: &str, response: &Response, took: Duration) {
        let status = response.status().as_u16();
        let consumer = response.extensions().get::<Arc<Consumer>>();
        let consumer = consumer.map_or("other", |known| known.name());
        let known = self.0.load();
        let of_both = known.get(route).and_then(|route| route.get(consumer));
        let record = |(_, count, seconds): &Meters| {
            count.increment(1);
            seconds.record(took);
        };
        match of_both.into_iter().flatten().find(|(known, ..)| *known == status) {
            Some(known) => record(known),
            None => record(&self.look_up(route, consumer, status)),
        }
    }

    fn look_up(&self, route: &str, consumer: &str, status: u16) -> Meters {
        let whose = [("route", route.to_owned()), ("consumer", consumer.to_owned())];
        let seconds = histogram!("unskew_request_seconds", &whose);
        let [route, consumer] = whose;
        let counted = [route.clone(), ("status", status.to_string()), consumer.clone()];
        let meters = (status, counter!("unskew_requests_total", &counted), seconds);
        self.0.rcu(|before| {
            let mut known = HashMap::clone(before);
            let of_both = known.entry(route.1.clone()).or_default().entry(consumer.1.clone());
            of_both.or_default().push(meters.clone());
            known
        });
        meters
    }
}
