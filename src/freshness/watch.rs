//! Looking again and again, and telling whoever wants to know.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    End, Incident, Measured, Monitor, Settings, Shape, State, Told,
    measure::in_seconds,
    webhook::{Alert, Receiver},
};
use crate::{
    error::Result,
    evaluate::InForce,
    metrics::{
        FRESHNESS_AGE, FRESHNESS_ERRORS, FRESHNESS_NOTICES, FRESHNESS_STATE, FRESHNESS_THRESHOLD,
    },
    time::{Span, Timestamp},
};

/// What was found at one moment.
#[derive(Debug)]
pub struct Round {
    /// When.
    pub at: Timestamp,
    /// How fresh each view is that says how fresh it should be.
    pub views: BTreeMap<String, Result<Measured>>,
}

/// Measures every view at the interval that the settings say until `stop` is done; sets gauges,
/// gives each round to `seen` and tells the webhooks when an incident starts, and when it is over.
///
/// What is in force is asked for at every round, so that definitions may change meanwhile. A
/// webhook that does not answer keeps the next round waiting, but for no longer than its attempts
/// take, and is told in a later one.
///
/// # Errors
/// [`crate::error::Kind::Invalid`] when a webhook has no URL. Nothing was measured then.
pub async fn watch(
    monitor: Monitor,
    settings: &Settings,
    in_force: impl Fn() -> Arc<InForce>,
    clock: impl Fn() -> Timestamp,
    mut seen: impl FnMut(&Round),
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let mut watcher = Watcher::new(settings)?;
    let period = u64::try_from(settings.every.0).unwrap_or_default().max(1);
    let mut ticks = interval(Duration::from_micros(period));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(stop);
    loop {
        let round = async {
            ticks.tick().await;
            let (in_force, at) = (in_force(), clock());
            let round = Round { at, views: monitor.measure(&in_force, at).await };
            seen(&round);
            watcher.take(&in_force, &round).await;
        };
        tokio::select! {
            () = round => {}
            () = &mut stop => return Ok(()),
        }
    }
}

/// Who is told, and what they were told.
struct Watcher<'a> {
    settings: &'a Settings,
    /// The views that have gauges.
    shown: BTreeSet<String>,
    /// The incident of a view that goes on.
    incidents: BTreeMap<String, Incident>,
    receivers: Vec<(Receiver, BTreeMap<String, Told>)>,
}

impl<'a> Watcher<'a> {
    fn new(settings: &'a Settings) -> Result<Self> {
        let receiver = |webhook| Ok((Receiver::new(webhook)?, BTreeMap::new()));
        let receivers = settings.webhook.iter().map(receiver).collect::<Result<_>>()?;
        Ok(Self { settings, shown: BTreeSet::new(), incidents: BTreeMap::new(), receivers })
    }

    /// Takes what was found, and tells what there is to tell.
    async fn take(&mut self, in_force: &InForce, round: &Round) {
        let Round { at, views } = round;
        self.show(views);
        // A view that went away, or does not say any more how fresh it should be, has no incident.
        self.incidents.retain(|view, _| views.contains_key(view));
        for (view, measured) in views {
            if let Ok(Measured { state: State::Fresh, .. }) = measured {
                self.incidents.remove(view);
            } else if !self.incidents.contains_key(view) {
                self.incidents.insert(view.clone(), incident(in_force, view, *at));
            }
        }
        let (settings, incidents) = (self.settings, &self.incidents);
        let telling = self
            .receivers
            .iter_mut()
            .map(|(receiver, told)| tell(receiver, told, incidents, settings, in_force, round));
        // All at once: one that does not answer does not keep the others.
        telling.collect::<FuturesUnordered<_>>().collect::<()>().await;
    }
}

impl Watcher<'_> {
    fn show(&mut self, views: &BTreeMap<String, Result<Measured>>) {
        for gone in self.shown.iter().filter(|view| !views.contains_key(*view)) {
            remove_gauges(gone);
        }
        self.shown = views.keys().cloned().collect();
        for (view, measured) in views {
            set_gauges(view, measured.as_ref().ok());
            // 0 where there was none: the first one is a rise then, which an alert can wait for.
            let errors = FRESHNESS_ERRORS.with_label_values(&[view]);
            if let Err(error) = measured {
                tracing::warn!(%error, view, "freshness was not measured");
                errors.inc();
            }
        }
    }
}

/// The incident of a view that is not fresh from now on.
fn incident(in_force: &InForce, view: &str, since: Timestamp) -> Incident {
    let view = in_force.state.definitions.feature_views.get(view);
    let (owner, team) =
        view.map(|view| (view.about.owner.clone(), view.about.team.clone())).unwrap_or_default();
    Incident { since, owner, team }
}

async fn tell(
    receiver: &Receiver,
    told: &mut BTreeMap<String, Told>,
    incidents: &BTreeMap<String, Incident>,
    settings: &Settings,
    in_force: &InForce,
    round: &Round,
) {
    for view in incidents.keys() {
        told.entry(view.clone()).or_default();
    }
    let repeat = (receiver.shape == Shape::Alertmanager).then_some(settings.due_after());
    let due = |(view, told): (&String, &mut Told)| {
        let end = || match round.views.contains_key(view) {
            true => End::Fresh,
            false => End::NotWatched,
        };
        let notice = told.next(incidents.get(view).ok_or_else(end), repeat, round.at)?;
        Some((view.clone(), notice))
    };
    let due: Vec<_> = told.iter_mut().filter_map(due).collect();
    if due.is_empty() {
        return;
    }
    let alerts = due.iter().map(|(view, notice)| {
        let measured = round.views.get(view);
        Alert { project: &in_force.project, view, notice, measured }
    });
    let alerts: Vec<_> = alerts.collect();
    let outcome = match receiver.tell(&alerts, settings.told_every(), round.at).await {
        Ok(()) => {
            for (view, notice) in due {
                told.entry(view).or_default().delivered(notice, round.at);
            }
            "delivered"
        }
        Err(error) => {
            tracing::error!(%error, webhook = receiver.shape.as_str(), "an alert was not delivered");
            "failed"
        }
    };
    FRESHNESS_NOTICES.with_label_values(&[receiver.shape.as_str(), outcome]).inc();
}

/// An age of a view.
type Age = fn(&Measured) -> Option<Span>;

/// The ages that there are, by the rows that they are of.
const AGES: [(&str, Age); 3] = [
    ("max", |measured| measured.max_age),
    ("p95", |measured| measured.p95_age),
    ("watermark", |measured| measured.watermark_age),
];

/// What Prometheus sees of a view; a view of which nothing is known has no state and no ages.
fn set_gauges(view: &str, known: Option<&Measured>) {
    for state in State::ALL {
        let is = known.is_some_and(|measured| measured.state == state);
        FRESHNESS_STATE.with_label_values(&[view, state.as_str()]).set(f64::from(u8::from(is)));
    }
    let seconds = |span: Option<Span>| span.map_or(f64::NAN, in_seconds);
    for (of, age) in AGES {
        FRESHNESS_AGE.with_label_values(&[view, of]).set(seconds(known.and_then(age)));
    }
    let threshold = seconds(known.map(|measured| measured.threshold));
    FRESHNESS_THRESHOLD.with_label_values(&[view]).set(threshold);
}

/// Prometheus sees nothing more of a view.
fn remove_gauges(view: &str) {
    // Each was set before, so none is missing.
    for state in State::ALL {
        let _ = FRESHNESS_STATE.remove_label_values(&[view, state.as_str()]);
    }
    for (of, _) in AGES {
        let _ = FRESHNESS_AGE.remove_label_values(&[view, of]);
    }
    let _ = FRESHNESS_THRESHOLD.remove_label_values(&[view]);
}

#[cfg(test)]
mod tests {
    use axum::{Json, Router, routing};
    use serde_json::Value;
    use tokio::{
        net::TcpListener,
        sync::mpsc::{Receiver, channel},
    };

    use super::*;
    use crate::{error::Error, evaluate::testing::in_force, metrics::render};

    const VIEW: &str = "view_of_the_gauges";

    /// What Prometheus sees of the view, without the names that all have in common.
    fn shown() -> Vec<String> {
        let lines = render();
        let lines = lines.lines().filter(|line| line.contains(VIEW) && !line.contains("errors"));
        lines.map(|line| line.replace("unskew_freshness_", "").replace(VIEW, "v")).collect()
    }

    fn stale() -> Result<Measured> {
        Ok(Measured {
            state: State::Stale,
            reason: None,
            threshold: Span(2_000_000),
            sampled: 3,
            other_definition: 0,
            max_age: Some(Span(3_500_000)),
            p95_age: Some(Span(3_000_000)),
            through: None,
            watermark_age: None,
        })
    }

    #[test]
    fn gauges_are_those_of_the_views_that_there_are() {
        let settings = Settings::default();
        let mut watcher = Watcher::new(&settings).unwrap();
        watcher.show(&[(VIEW.to_owned(), stale())].into());
        let expected = [
            "age_seconds{of=\"max\",view=\"v\"} 3.5",
            "age_seconds{of=\"p95\",view=\"v\"} 3",
            "age_seconds{of=\"watermark\",view=\"v\"} NaN",
            "state{state=\"fresh\",view=\"v\"} 0",
            "state{state=\"no_data\",view=\"v\"} 0",
            "state{state=\"stale\",view=\"v\"} 1",
            "threshold_seconds{view=\"v\"} 2",
        ];
        assert_eq!(shown(), expected);
        watcher.show(&[(VIEW.to_owned(), Err(Error::unavailable("no store")))].into());
        assert!(shown().iter().all(|line| line.ends_with(" NaN") || line.ends_with(" 0")));
        assert_eq!(shown().len(), expected.len());
        watcher.show(&BTreeMap::new());
        assert_eq!(shown(), [] as [&str; 0]);
    }

    const MINUTE: i64 = 60_000_000;

    fn spend_of(owner: &str) -> InForce {
        in_force(&format!(
            "[feature_view.spend]\nentities = [\"customer\"]\nsource = \"orders\"\n\
             owner = \"{owner}\"\nfreshness = {{ max_age = \"2s\" }}\nfeatures = {{ amount = \"int64\" }}\n"
        ))
    }

    /// An Alertmanager, and what it is told.
    async fn alertmanager() -> (String, Receiver<Value>) {
        let (told, posts) = channel(9);
        let post = async move |Json(post): Json<Value>| told.send(post).await.unwrap();
        let router = Router::new().route("/api/v2/alerts", routing::post(post));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        (url, posts)
    }

    #[tokio::test]
    async fn an_alert_is_one_and_the_same_until_it_is_over() {
        let (url, mut posts) = alertmanager().await;
        let settings =
            format!("every = \"5m\"\n[[webhook]]\nshape = \"alertmanager\"\nurl = \"{url}\"");
        let settings: Settings = toml::from_str(&settings).unwrap();
        let mut watcher = Watcher::new(&settings).unwrap();
        let mut check = async |minute: i64, in_force: &InForce, expected: [&str; 3]| {
            let about = &in_force.state.definitions.feature_views;
            let views = about.keys().map(|view| (view.clone(), stale())).collect();
            watcher.take(in_force, &Round { at: Timestamp(minute * MINUTE), views }).await;
            let post = posts.try_recv().unwrap();
            let alert = &post[0];
            assert_eq!(alert["startsAt"], "1970-01-01T00:00:00Z", "minute {minute}");
            let said =
                [&alert["labels"]["owner"], &alert["endsAt"], &alert["annotations"]["summary"]];
            assert_eq!(said, expected, "minute {minute}");
        };
        let stale = "feature view spend of shop is stale: it was not fresh";
        // Whoever looks less often than it should be told again tells as often as it looks.
        check(0, &spend_of("lin"), ["lin", "1970-01-01T00:20:00Z", stale]).await;
        // The labels are what names an alert: an owner who comes later is told of the next one.
        check(5, &spend_of("kim"), ["lin", "1970-01-01T00:25:00Z", stale]).await;
        let gone = "feature view spend of shop is not watched any more";
        check(10, &in_force(""), ["lin", "1970-01-01T00:10:00Z", gone]).await;
    }
}
