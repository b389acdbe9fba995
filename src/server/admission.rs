//! Who may ask, how often, and how many at a time: what comes over that is told at once when to try
//! again, so that the requests that are taken keep their speed.

use std::{
    collections::BTreeMap,
    env,
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use axum::http::{HeaderMap, HeaderName, StatusCode};
use governor::{
    DefaultDirectRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};
use serde::Deserialize;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use super::{Settings, error::Failure};
use crate::{
    digest::Digest,
    error::{Error, Kind, Result},
    serve::Stage,
    time::Span,
};

/// How often something may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second, over time.
    pub requests_per_second: NonZeroU32,
    /// Requests at once after a pause; as many as a second's, where it is not given.
    #[serde(default)]
    pub burst: Option<NonZeroU32>,
}

impl Rate {
    fn limiter(self) -> DefaultDirectRateLimiter {
        let burst = self.burst.unwrap_or(self.requests_per_second);
        RateLimiter::direct(Quota::per_second(self.requests_per_second).allow_burst(burst))
    }
}

/// Somebody who asks, known by a key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumerSettings {
    /// The environment variable with its key.
    pub key_env: String,
    /// How often it may ask; as often as it likes, where nothing is said.
    #[serde(default)]
    pub rate: Option<Rate>,
}

/// Who asks. Metrics have its name as a label, so there are only as many as are configured.
#[derive(Debug)]
pub(super) struct Consumer {
    name: String,
    /// The digest of its key; `None` for those who bring none.
    key: Option<Digest>,
    rate: Option<(Rate, DefaultDirectRateLimiter)>,
}

impl Consumer {
    fn new(name: &str, key: Option<&str>, rate: Option<Rate>) -> Self {
        Self {
            name: name.to_owned(),
            key: key.map(Digest::of),
            rate: rate.map(|rate| (rate, rate.limiter())),
        }
    }

    /// Whether it does not ask too often.
    fn check_rate(&self) -> Result<(), Failure> {
        match &self.rate {
            Some((rate, limiter)) => {
                check(limiter, *rate, || format!("requests a second of consumer {}", self.name))
            }
            None => Ok(()),
        }
    }
}

/// The name of those who bring no key.
const ANONYMOUS: &str = "anonymous";

/// What metrics call whoever is not known, and paths that there are not.
pub(super) const OTHER: &str = "other";

/// The names that metrics give to callers who are not configured: none of them can be configured.
const RESERVED: [&str; 2] = [ANONYMOUS, OTHER];

/// What stands in front of every route that takes work.
#[derive(Debug)]
pub(super) struct Admission {
    header: HeaderName,
    consumers: Vec<Consumer>,
    /// Those who bring no key, where they may ask at all.
    anonymous: Option<Consumer>,
    views: BTreeMap<String, (Rate, DefaultDirectRateLimiter)>,
    turns: Semaphore,
    max_concurrency: u32,
    waiting: AtomicU32,
    max_queue: u32,
    patience: Span,
    deadline: Span,
}

impl Admission {
    /// What the settings say, with the keys from the environment.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a header that is none, a consumer with a reserved name, a key that is
    /// missing, empty or another consumer's.
    pub(super) fn new(settings: &Settings) -> Result<Self> {
        Self::with_keys(settings, |variable| env::var(variable).ok())
    }

    fn with_keys(settings: &Settings, key: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let header = settings.api_key_header.parse().map_err(|_| {
            Error::invalid(format!(
                "server.api_key_header is {:?}, which cannot be a header's name",
                settings.api_key_header
            ))
        })?;
        let mut consumers: Vec<Consumer> = Vec::new();
        for (name, consumer) in &settings.consumers {
            if RESERVED.contains(&name.as_str()) {
                return Err(Error::invalid(format!(
                    "server.consumers.{name}: the name is reserved"
                )));
            }
            let variable = &consumer.key_env;
            let key = key(variable).filter(|key| !key.is_empty()).ok_or_else(|| {
                Error::invalid(format!("server.consumers.{name} has no key"))
                    .with_hint(format!("set the environment variable {variable}"))
            })?;
            let consumer = Consumer::new(name, Some(&key), consumer.rate);
            if let Some(twin) = consumers.iter().find(|other| other.key == consumer.key) {
                return Err(Error::invalid(format!(
                    "server.consumers.{name} has the key of {}",
                    twin.name
                )));
            }
            consumers.push(consumer);
        }
        let anonymous = Consumer::new(ANONYMOUS, None, settings.anonymous_rate);
        Ok(Self {
            header,
            consumers,
            anonymous: settings.anonymous.then_some(anonymous),
            views: settings
                .view_rates
                .iter()
                .map(|(view, rate)| (view.clone(), (*rate, rate.limiter())))
                .collect(),
            turns: Semaphore::new(settings.max_concurrency as usize),
            max_concurrency: settings.max_concurrency,
            waiting: AtomicU32::new(0),
            max_queue: settings.max_queue,
            patience: settings.queue_timeout,
            deadline: settings.request_timeout,
        })
    }

    /// Who asks, by the name that metrics have for them, and whether they may.
    pub(super) fn admit(&self, headers: &HeaderMap) -> (&str, Result<(), Failure>) {
        match self.identify(headers) {
            Ok(consumer) => (&consumer.name, consumer.check_rate()),
            Err(unknown) => (OTHER, Err(unknown)),
        }
    }

    fn identify(&self, headers: &HeaderMap) -> Result<&Consumer, Failure> {
        let consumer = match headers.get(&self.header) {
            Some(key) => self.find(key.as_bytes()),
            None => self.anonymous.as_ref(),
        };
        let Some(consumer) = consumer else {
            let error = Error::invalid("Invalid or missing API key")
                .with_hint(format!("send the key of a consumer as {}", self.header));
            return Err(Failure::unauthorized(&error));
        };
        Ok(consumer)
    }

    /// The consumer with this key. Digests are compared, all of them and whole, so that how long
    /// it takes tells nothing about any key.
    fn find(&self, key: &[u8]) -> Option<&Consumer> {
        let given = Digest::of(key);
        let mut found = None;
        for consumer in &self.consumers {
            let known = consumer.key.unwrap_or_else(|| Digest::of([]));
            let pairs = known.as_bytes().iter().zip(given.as_bytes());
            let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
            if std::hint::black_box(difference) == 0 {
                found = Some(consumer);
            }
        }
        found
    }

    /// Whether these views may be asked for now.
    pub(super) fn check_views<'a>(
        &self,
        views: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Failure> {
        if self.views.is_empty() {
            return Ok(());
        }
        for view in views {
            if let Some((rate, limiter)) = self.views.get(view) {
                check(limiter, *rate, || format!("requests a second for view {view}"))?;
            }
        }
        Ok(())
    }

    /// Does the work of a request in its turn and within its time. Its body is there already, so
    /// that a slow client has no turn.
    pub(super) async fn in_turn<T>(
        &self,
        queue: &Stage,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let since = Instant::now();
        let _turn = self.turn().await?;
        queue.took(since);
        timeout(self.deadline.into(), work).await.unwrap_or_else(|_| {
            let message = format!("no answer within {}", self.deadline);
            Err(Failure::overloaded(&Error::unavailable(message)))
        })
    }

    /// A turn to work, at once or after others; none where too many wait already, or it takes too
    /// long.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, Failure> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let place = Place::take(&self.waiting);
        if place.waiting > self.max_queue {
            let (limit, waiting) = (u64::from(self.max_queue), u64::from(place.waiting));
            let error = Error::limit("requests that wait", limit, waiting - 1, waiting);
            return Err(Failure::overloaded(&error));
        }
        match timeout(self.patience.into(), self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                let error = Error::new(
                    Kind::Unavailable,
                    format!(
                        "the request waited for {} behind {} others: the server is at its limit",
                        self.patience, self.max_concurrency
                    ),
                );
                Err(Failure::overloaded(&error))
            }
        }
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    queue: &'a AtomicU32,
    waiting: u32,
}

impl<'a> Place<'a> {
    fn take(queue: &'a AtomicU32) -> Self {
        Self { queue, waiting: queue.fetch_add(1, Ordering::Relaxed) + 1 }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.fetch_sub(1, Ordering::Relaxed);
    }
}

fn check(
    limiter: &DefaultDirectRateLimiter,
    rate: Rate,
    what: impl Fn() -> String,
) -> Result<(), Failure> {
    limiter.check().map_err(|until| {
        let wait: Duration = until.wait_time_from(DefaultClock::default().now());
        let limit = u64::from(rate.requests_per_second.get());
        Failure::too_often(&Error::limit(&what(), limit, limit, limit + 1), wait)
    })
}

impl Failure {
    fn unauthorized(error: &Error) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, error)
    }

    fn too_often(error: &Error, wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error).retry_after(wait)
    }

    /// What cannot be taken now can be tried again at once.
    pub(super) fn overloaded(error: &Error) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error).retry_after(Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(settings: &str) -> Result<Admission> {
        let settings: Settings = toml::from_str(settings).unwrap();
        Admission::with_keys(&settings, |variable| match variable {
            "RANKING" => Some("secret".to_owned()),
            "TWIN" => Some("secret".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        })
    }

    fn headers(name: &'static str, key: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), key.parse().unwrap())])
    }

    #[test]
    fn consumers_are_known_by_their_keys() {
        let ranking = "[consumers.ranking]\nkey_env = \"RANKING\"\n";
        let check = |settings: &str, headers: &HeaderMap, expected: Option<&str>| {
            let admission = admission(settings).unwrap();
            let consumer = admission.identify(headers);
            assert_eq!(
                consumer.ok().map(|consumer| consumer.name.to_string()).as_deref(),
                expected
            );
        };
        check(ranking, &headers("x-api-key", "secret"), Some("ranking"));
        check(ranking, &headers("x-api-key", "secrets"), None);
        check(ranking, &headers("x-api-key", ""), None);
        check(ranking, &HeaderMap::new(), Some("anonymous"));
        check(&format!("anonymous = false\n{ranking}"), &HeaderMap::new(), None);
        let other = format!("api_key_header = \"x-team\"\n{ranking}");
        check(&other, &headers("x-team", "secret"), Some("ranking"));
        check(&other, &headers("x-api-key", "secret"), Some("anonymous"));
    }

    #[test]
    fn settings_that_let_nobody_be_known_are_refused() {
        let check = |settings: &str, expected: &str| {
            assert_eq!(admission(settings).unwrap_err().to_string(), expected);
        };
        check(
            "[consumers.a]\nkey_env = \"NOWHERE\"",
            "server.consumers.a has no key\nhint: set the environment variable NOWHERE",
        );
        check(
            "[consumers.a]\nkey_env = \"EMPTY\"",
            "server.consumers.a has no key\nhint: set the environment variable EMPTY",
        );
        check(
            "[consumers.a]\nkey_env = \"RANKING\"\n[consumers.b]\nkey_env = \"TWIN\"",
            "server.consumers.b has the key of a",
        );
        check(
            "[consumers.other]\nkey_env = \"RANKING\"",
            "server.consumers.other: the name is reserved",
        );
        check(
            "api_key_header = \"x key\"",
            "server.api_key_header is \"x key\", which cannot be a header's name",
        );
    }

    #[test]
    fn whoever_asks_too_often_is_told_when_to_try_again() {
        let admission = admission(
            "anonymous_rate = { requests_per_second = 1, burst = 2 }\n\
             [view_rates]\norders = { requests_per_second = 1 }\n",
        )
        .unwrap();
        let ask = || admission.identify(&HeaderMap::new()).unwrap().check_rate();
        assert!(ask().is_ok() && ask().is_ok());
        let refused = ask().unwrap_err();
        assert_eq!(
            refused.told(),
            (
                429,
                "requests a second of consumer anonymous over the limit: limit 1, current 1, requested 2",
                Some(1)
            )
        );
        admission.check_views(["basket", "orders", "basket"]).unwrap();
        let refused = admission.check_views(["basket", "orders"]).unwrap_err();
        assert_eq!(
            refused.told(),
            (
                429,
                "requests a second for view orders over the limit: limit 1, current 1, requested 2",
                Some(1)
            )
        );
    }

    #[tokio::test]
    async fn those_who_wait_are_few_and_do_not_wait_long() {
        let admission =
            admission("max_concurrency = 1\nmax_queue = 1\nqueue_timeout = \"50ms\"").unwrap();
        let first = admission.turn().await.unwrap();
        let (one, two) = tokio::join!(admission.turn(), admission.turn());
        let messages = [one, two].map(|turn| turn.unwrap_err());
        assert_eq!(
            messages[0].told(),
            (
                503,
                "the request waited for 50ms behind 1 others: the server is at its limit",
                Some(1)
            )
        );
        assert_eq!(
            messages[1].told(),
            (503, "requests that wait over the limit: limit 1, current 1, requested 2", Some(1))
        );
        let (waiting, ()) = tokio::join!(admission.turn(), async { drop(first) });
        assert!(waiting.is_ok());
        assert_eq!(admission.waiting.load(Ordering::Relaxed), 0);
    }
}
