//! What is measured of a process, for Prometheus: every metric there is, each listed once.
//!
//! A metric shows from the moment on that it is looked up. Whoever measures often looks the counter
//! or histogram of its labels up once and keeps it: to count is then an atomic addition. What every
//! request adds to is [striped](Striped), so that threads do not wait for each other's additions.

mod stripes;

use std::sync::LazyLock;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder,
    core::Collector,
};
pub use prometheus::{Histogram, IntCounter};
pub use stripes::{Striped, Stripes};

/// Bounds of the buckets of times, in seconds.
const BUCKETS: [f64; 16] = [
    0.00001, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25,
    0.5, 1.0, 5.0,
];

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::new);

/// Makes the metrics, and with them the list of their names. What is said of one is its
/// documentation here and its help there.
macro_rules! metrics {
    ($($help:literal $metric:ident: $kind:ty = $make:ident($name:literal $($labels:tt)*);)*) => {
        $(
            #[doc = $help]
            pub static $metric: LazyLock<$kind> =
                LazyLock::new(|| $make(Opts::new($name, $help) $($labels)*));
        )*

        /// Each name, and what makes the metric.
        #[cfg(test)]
        const NAMES: &[(&str, fn())] = &[$(($name, || _ = LazyLock::force(&$metric))),*];
    };
}

metrics! {
    "Requests, by route, status and consumer."
    REQUESTS: Striped<IntCounterVec> = striped_counters("unskew_requests_total", ["route", "status", "consumer"]);
    "How long requests took, by route and consumer."
    REQUEST_SECONDS: Striped<HistogramVec> = times("unskew_request_seconds", ["route", "consumer"]);
    "How long answers took that a view was part of, without HTTP."
    VIEW_SECONDS: Striped<HistogramVec> = times("unskew_view_seconds", ["view"]);
    "How long each stage of answers took."
    STAGE_SECONDS: Striped<HistogramVec> = times("unskew_stage_seconds", ["stage"]);
    "Values answered, by view and status."
    VALUES: Striped<IntCounterVec> = striped_counters("unskew_values_total", ["view", "status"]);
    "Connections that are open."
    CONNECTIONS: IntGauge = gauge("unskew_connections");
    "The number of the snapshot that answers."
    SNAPSHOT: IntGauge = gauge("unskew_snapshot");
    "New snapshots put in place."
    RELOADS: IntCounter = counter("unskew_reloads_total");
    "Looks at the registry that failed."
    RELOAD_FAILURES: IntCounter = counter("unskew_reload_failures_total");
    "Whether the last look at the registry failed: 1 or 0."
    RELOAD_FAILING: IntGauge = gauge("unskew_reload_failing");
    "1 for the state that a view is in, 0 for the others."
    FRESHNESS_STATE: GaugeVec = gauges("unskew_freshness_state", ["view", "state"]);
    "The age of a view's rows: the greatest, 95 in 100, of the watermark; NaN where not known."
    FRESHNESS_AGE: GaugeVec = gauges("unskew_freshness_age_seconds", ["view", "of"]);
    "The age from which on a view is stale."
    FRESHNESS_THRESHOLD: GaugeVec = gauges("unskew_freshness_threshold_seconds", ["view"]);
    "Measurements of freshness that failed, by view."
    FRESHNESS_ERRORS: IntCounterVec = counters("unskew_freshness_errors_total", ["view"]);
    "Notices of freshness, by webhook and outcome."
    FRESHNESS_NOTICES: IntCounterVec = counters("unskew_freshness_notices_total", ["webhook", "outcome"]);
}

/// The text format of Prometheus, version 0.0.4.
pub fn render() -> String {
    // It fails on a family without metrics alone, of which none is gathered.
    let families: Vec<_> = REGISTRY.gather().into_iter().map(stripes::added_up).collect();
    TextEncoder::new().encode_to_string(&families).unwrap_or_default()
}

fn counter(about: Opts) -> IntCounter {
    listed(IntCounter::with_opts(about))
}

fn counters<const N: usize>(about: Opts, labels: [&str; N]) -> IntCounterVec {
    listed(IntCounterVec::new(about, &labels))
}

fn gauge(about: Opts) -> IntGauge {
    listed(IntGauge::with_opts(about))
}

fn gauges<const N: usize>(about: Opts, labels: [&str; N]) -> GaugeVec {
    listed(GaugeVec::new(about, &labels))
}

fn striped_counters<const N: usize>(about: Opts, labels: [&str; N]) -> Striped<IntCounterVec> {
    Striped(listed(IntCounterVec::new(about, &stripes::with_stripe(labels))))
}

fn times<const N: usize>(about: Opts, labels: [&str; N]) -> Striped<HistogramVec> {
    let about = HistogramOpts::from(about).buckets(BUCKETS.to_vec());
    Striped(listed(HistogramVec::new(about, &stripes::with_stripe(labels))))
}

/// A metric that is rendered with the others.
fn listed<M: Collector + Clone + 'static>(metric: prometheus::Result<M>) -> M {
    let metric = metric.expect("the names in this file are valid");
    REGISTRY.register(Box::new(metric.clone())).expect("each name is in this file once");
    metric
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn each_is_valid_and_in_the_docs() {
        let docs = concat!(
            include_str!("../../docs/operations.md"),
            include_str!("../../docs/freshness.md")
        );
        for (name, make) in NAMES {
            make();
            assert!(docs.contains(name), "{name} is in no document");
        }
    }

    #[test]
    fn times_are_sorted_into_buckets() {
        let view = VIEW_SECONDS.with_label_values(&["a \"view\""]);
        [0.00001, 0.0009].into_iter().for_each(|seconds| view.observe(seconds));
        // Of another thread, which may have another stripe.
        thread::scope(|scope| scope.spawn(|| view.observe(7.0)).join().unwrap());
        let text = render();
        for line in [
            "# TYPE unskew_view_seconds histogram",
            "unskew_view_seconds_bucket{view=\"a \\\"view\\\"\",le=\"0.00001\"} 1",
            "unskew_view_seconds_bucket{view=\"a \\\"view\\\"\",le=\"0.001\"} 2",
            "unskew_view_seconds_bucket{view=\"a \\\"view\\\"\",le=\"5\"} 2",
            "unskew_view_seconds_bucket{view=\"a \\\"view\\\"\",le=\"+Inf\"} 3",
            "unskew_view_seconds_sum{view=\"a \\\"view\\\"\"} 7.00091",
            "unskew_view_seconds_count{view=\"a \\\"view\\\"\"} 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
