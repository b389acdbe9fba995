//! How many requests there are, and how long they take.

use std::{collections::HashMap, time::Duration};

use arc_swap::ArcSwap;
use axum::http::StatusCode;

use crate::metrics::{Histogram, IntCounter, REQUEST_SECONDS, REQUESTS, Stripes};

/// The meters of requests, each looked up once: there are as many as routes, statuses and configured
/// consumers make together.
#[derive(Default)]
pub(super) struct RequestMeters(ArcSwap<ByRoute>);

/// By route, by consumer, and then by status.
type ByRoute = HashMap<String, HashMap<String, Vec<Meters>>>;

/// A status, how many answers had it, and how long they took.
type Meters = (u16, Stripes<IntCounter>, Stripes<Histogram>);

impl RequestMeters {
    /// Counts and times an answer, by route, status and consumer.
    pub(super) fn saw(&self, route: &str, consumer: &str, status: StatusCode, took: Duration) {
        let status = status.as_u16();
        let known = self.0.load();
        let of_both = known.get(route).and_then(|route| route.get(consumer));
        let record = |(_, count, seconds): &Meters| {
            count.inc();
            seconds.observe(took.as_secs_f64());
        };
        match of_both.into_iter().flatten().find(|(known, ..)| *known == status) {
            Some(known) => record(known),
            None => record(&self.look_up(route, consumer, status)),
        }
    }

    fn look_up(&self, route: &str, consumer: &str, status: u16) -> Meters {
        let counted = REQUESTS.with_label_values(&[route, &status.to_string(), consumer]);
        let timed = REQUEST_SECONDS.with_label_values(&[route, consumer]);
        let meters = (status, counted, timed);
        self.0.rcu(|before| {
            let mut known = HashMap::clone(before);
            let of_both = known.entry(route.to_owned()).or_default().entry(consumer.to_owned());
            of_both.or_default().push(meters.clone());
            known
        });
        meters
    }
}
