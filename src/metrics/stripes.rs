//! Meters that every request adds to. A number that all threads write to goes from processor to
//! processor with every addition, and each waits for it; here each thread has a number of its own, its
//! stripe, and whoever reads adds them up.
//!
//! The stripe is one more label of the metric, which is gone again where metrics are
//! [added up](added_up).

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use prometheus::{
    core::{MetricVec, MetricVecBuilder},
    proto::{Bucket, Counter, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// The label of the stripe. It is the last one of those that a metric is made with.
const STRIPE: &str = "stripe";

/// As many as there are processors. More than that would only be more to add up.
static STRIPES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, |count| count.get().min(64));
    (0..processors).map(|stripe| stripe.to_string()).collect()
});

/// The stripe of this thread. Threads that begin one after the other have different ones.
fn own() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Relaxed) % STRIPES.len();
    }
    OWN.with(|own| *own)
}

/// These labels of a metric, and that of the stripe.
pub(super) fn with_stripe<const N: usize>(labels: [&str; N]) -> Vec<&str> {
    labels.into_iter().chain([STRIPE]).collect()
}

/// A metric whose meters are striped.
pub struct Striped<V>(pub(super) V);

impl<B: MetricVecBuilder> Striped<MetricVec<B>> {
    /// The meter with these values of the labels.
    pub fn with_label_values(&self, values: &[&str]) -> Stripes<B::M> {
        let stripe = |stripe: &String| {
            let values: Vec<&str> = values.iter().copied().chain([stripe.as_str()]).collect();
            self.0.with_label_values(&values)
        };
        Stripes(STRIPES.iter().map(stripe).collect())
    }
}

/// A counter or histogram of which each thread uses its own stripe.
#[derive(Clone)]
pub struct Stripes<M>(Arc<[M]>);

impl<M> Deref for Stripes<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0[own()]
    }
}

/// The same metric without stripes: the sums of those that are equal in all other labels.
pub(super) fn added_up(mut family: MetricFamily) -> MetricFamily {
    let striped = |metric: &Metric| metric.get_label().iter().any(|label| label.name() == STRIPE);
    if !family.get_metric().iter().any(striped) {
        return family;
    }
    let mut sums = BTreeMap::<Vec<(String, String)>, Vec<Metric>>::new();
    for metric in family.take_metric() {
        let labels = metric.get_label().iter().filter(|label| label.name() != STRIPE);
        let labels = labels.map(|label| (label.name().to_owned(), label.value().to_owned()));
        sums.entry(labels.collect()).or_default().push(metric);
    }
    let is_counter = family.get_field_type() == MetricType::COUNTER;
    let sum = |(labels, stripes): (Vec<_>, Vec<Metric>)| {
        let mut metric = Metric::from_label(labels.into_iter().map(pair).collect());
        match is_counter {
            true => metric.set_counter(count(&stripes)),
            false => metric.set_histogram(histogram(&stripes)),
        }
        metric
    };
    family.set_metric(sums.into_iter().map(sum).collect());
    family
}

fn pair((name, value): (String, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name);
    pair.set_value(value);
    pair
}

fn count(stripes: &[Metric]) -> Counter {
    let mut sum = Counter::default();
    sum.set_value(stripes.iter().map(|stripe| stripe.get_counter().get_value()).sum());
    sum
}

fn histogram(stripes: &[Metric]) -> Histogram {
    let stripes: Vec<&Histogram> = stripes.iter().map(Metric::get_histogram).collect();
    let mut sum = Histogram::default();
    sum.set_sample_count(stripes.iter().map(|stripe| stripe.get_sample_count()).sum());
    sum.set_sample_sum(stripes.iter().map(|stripe| stripe.get_sample_sum()).sum());
    let mut buckets: Vec<Bucket> = stripes.first().map_or(vec![], |one| one.get_bucket().to_vec());
    for (place, bucket) in buckets.iter_mut().enumerate() {
        let counts = stripes.iter().map(|stripe| stripe.get_bucket()[place].cumulative_count());
        bucket.set_cumulative_count(counts.sum());
    }
    sum.set_bucket(buckets);
    sum
}
