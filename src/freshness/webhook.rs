//! Posting alerts: what Alertmanager and Slack take, and trying again where it fails.

use std::{fmt, time::Duration};

use reqwest::{Client, Response, StatusCode, Url, header::RETRY_AFTER, redirect::Policy};
use serde_json::{Value, json};

use super::{End, Measured, Notice, Shape, Webhook};
use crate::{
    error::{Error, Result},
    time::{Span, Timestamp},
};

/// How long one attempt may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a post is tried before the next round tries again.
const ATTEMPTS: u32 = 4;

/// The first pause between attempts; each is twice the one before.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How many intervals Alertmanager waits for a firing alert to be told again before it takes it
/// for resolved: as Prometheus has it.
const INTERVALS: i64 = 4;

/// A notice of a view.
#[derive(Debug)]
pub(super) struct Alert<'a> {
    pub(super) project: &'a str,
    pub(super) view: &'a str,
    pub(super) notice: &'a Notice,
    /// What was measured now, or why nothing could be; `None` for a view that is not watched.
    pub(super) measured: Option<&'a Result<Measured>>,
}

/// A webhook, ready to be posted to.
pub(super) struct Receiver {
    client: Client,
    url: Url,
    pub(super) shape: Shape,
}

/// Without the URL, which may be a secret.
impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl Receiver {
    pub(super) fn new(webhook: &Webhook) -> Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).redirect(Policy::none()).build();
        let client = client
            .map_err(|error| Error::internal(format!("no HTTP client: {}", error.without_url())))?;
        Ok(Self { client, url: webhook.url()?, shape: webhook.shape })
    }

    /// Posts alerts in one request, a few times if need be. One that goes on is told again after
    /// `interval`.
    pub(super) async fn tell(
        &self,
        alerts: &[Alert<'_>],
        interval: Span,
        now: Timestamp,
    ) -> Result<()> {
        let body = match self.shape {
            Shape::Alertmanager => alertmanager(alerts, interval, now),
            Shape::Slack => slack(alerts),
        };
        let mut pause = PAUSE;
        let mut attempt = 1;
        loop {
            let failed = match self.post(&body).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if !failed.may_pass || attempt == ATTEMPTS {
                let message = format!("not told after {attempt} attempts: {}", failed.message);
                return Err(Error::unavailable(message));
            }
            tokio::time::sleep(failed.pause.unwrap_or(pause).min(LONGEST_PAUSE)).await;
            pause *= 2;
            attempt += 1;
        }
    }

    async fn post(&self, body: &Value) -> Result<(), Failed> {
        match self.client.post(self.url.clone()).json(body).send().await {
            Ok(response) if response.status().is_success() => Ok(()),
            Ok(response) => Err(Failed::answered(&response)),
            Err(error) => {
                let message = chain(&error.without_url());
                Err(Failed { message, may_pass: true, pause: None })
            }
        }
    }
}

/// An attempt that failed.
struct Failed {
    message: String,
    /// Whether another attempt may do better.
    may_pass: bool,
    /// How long the receiver wants to be left alone.
    pause: Option<Duration>,
}

impl Failed {
    fn answered(response: &Response) -> Self {
        let status = response.status();
        let busy = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status);
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Self {
            message: format!("the answer was {status}"),
            may_pass: busy || status.is_server_error(),
            pause: asked.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs),
        }
    }
}

/// An error with what caused it: the outermost alone does not say what is wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// The body of `POST /api/v2/alerts`: a list of alerts, each named by its labels alone.
fn alertmanager(alerts: &[Alert<'_>], interval: Span, now: Timestamp) -> Value {
    let lapses = Timestamp(now.0.saturating_add(interval.0.saturating_mul(INTERVALS)));
    let alert = |alert: &Alert<'_>| {
        let (incident, until) = match alert.notice {
            Notice::Firing(incident) => (incident, lapses),
            Notice::Resolved { incident, until, .. } => (incident, *until),
        };
        let mut labels = json!({
            "alertname": "FeatureViewNotFresh",
            "project": alert.project,
            "feature_view": alert.view,
            "severity": "warning",
        });
        for (label, value) in [("owner", &incident.owner), ("team", &incident.team)] {
            if !value.is_empty() {
                labels[label] = value.as_str().into();
            }
        }
        json!({
            "labels": labels,
            "annotations": { "summary": alert.summary(), "description": alert.details() },
            "startsAt": incident.since,
            "endsAt": until,
        })
    };
    alerts.iter().map(alert).collect()
}

/// The body of a post to Slack: a message with a line for each alert.
fn slack(alerts: &[Alert<'_>]) -> Value {
    let line = |alert: &Alert<'_>| match alert.notice {
        Notice::Firing(_) => {
            format!(":rotating_light: {} ({})", alert.summary(), alert.details())
        }
        Notice::Resolved { incident, until, end } => {
            let mark = match end {
                End::Fresh => ":white_check_mark:",
                End::NotWatched => ":no_bell:",
            };
            let span = Span(until.0.saturating_sub(incident.since.0)).in_whole_seconds();
            format!("{mark} {} (after {span})", alert.summary())
        }
    };
    let lines: Vec<String> = alerts.iter().map(line).collect();
    json!({ "text": escape(&lines.join("\n")) })
}

/// The three characters that Slack takes for markup.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Alert<'_> {
    fn summary(&self) -> String {
        let Self { project, view, .. } = self;
        let said = match (self.notice, self.measured) {
            (Notice::Resolved { end: End::Fresh, .. }, _) => "is fresh again".to_owned(),
            (Notice::Resolved { end: End::NotWatched, .. }, _) | (Notice::Firing(_), None) => {
                "is not watched any more".to_owned()
            }
            (Notice::Firing(_), Some(Ok(measured))) => {
                let reason = measured.reason.as_deref().unwrap_or("it was not fresh");
                format!("is {}: {reason}", measured.state.as_str())
            }
            (Notice::Firing(_), Some(Err(error))) => {
                format!("cannot be measured: {}", error.message())
            }
        };
        format!("feature view {view} of {project} {said}")
    }

    fn details(&self) -> String {
        let Some(Ok(measured)) = self.measured else {
            return "nothing measured".to_owned();
        };
        let shown = |age: Option<Span>| {
            age.map_or("none".to_owned(), |age| age.in_whole_seconds().to_string())
        };
        format!(
            "threshold {}, oldest of {} rows {}, 95 % within {}, materialized up to {} ago",
            measured.threshold,
            measured.sampled,
            shown(measured.max_age),
            shown(measured.p95_age),
            shown(measured.watermark_age),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::freshness::{Incident, State};

    const HOUR: i64 = 3_600_000_000;

    fn measured(state: State, reason: Option<&str>) -> Result<Measured> {
        Ok(Measured {
            state,
            reason: reason.map(ToOwned::to_owned),
            threshold: Span(24 * HOUR),
            sampled: 3,
            other_definition: 0,
            max_age: Some(Span(26 * HOUR)),
            p95_age: Some(Span(25 * HOUR)),
            through: None,
            watermark_age: None,
        })
    }

    fn alert<'a>(notice: &'a Notice, measured: Option<&'a Result<Measured>>) -> Alert<'a> {
        Alert { project: "shop", view: "spend", notice, measured }
    }

    fn incident() -> Incident {
        let owner = "lin@example.com".to_owned();
        Incident { since: Timestamp(HOUR), owner, team: String::new() }
    }

    fn firing() -> Notice {
        Notice::Firing(incident())
    }

    fn resolved(end: End) -> Notice {
        Notice::Resolved { incident: incident(), until: Timestamp(2 * HOUR), end }
    }

    #[test]
    fn what_alertmanager_takes() {
        let check = |notice, measured: Option<Result<Measured>>, ends: &str, summary: &str| {
            let alerts = [alert(&notice, measured.as_ref())];
            let body = alertmanager(&alerts, Span(HOUR), Timestamp(3 * HOUR));
            let labels = json!({
                "alertname": "FeatureViewNotFresh", "project": "shop", "feature_view": "spend",
                "severity": "warning", "owner": "lin@example.com",
            });
            // Alertmanager knows an alert by its labels: they are the same from first to last.
            assert_eq!(body[0]["labels"], labels);
            assert_eq!(body[0]["startsAt"], "1970-01-01T01:00:00Z");
            assert_eq!(body[0]["endsAt"], ends);
            assert_eq!(body[0]["annotations"]["summary"], summary);
        };
        let stale = measured(State::Stale, Some("rows are older than 1d1h"));
        let summary = "feature view spend of shop is stale: rows are older than 1d1h";
        check(firing(), Some(stale), "1970-01-01T07:00:00Z", summary);
        let failed = Err(Error::unavailable("the store is down"));
        let summary = "feature view spend of shop cannot be measured: the store is down";
        check(firing(), Some(failed), "1970-01-01T07:00:00Z", summary);
        let summary = "feature view spend of shop is fresh again";
        let fresh = measured(State::Fresh, None);
        check(resolved(End::Fresh), Some(fresh), "1970-01-01T02:00:00Z", summary);
        let summary = "feature view spend of shop is not watched any more";
        check(resolved(End::NotWatched), None, "1970-01-01T02:00:00Z", summary);
    }

    #[test]
    fn what_slack_takes() {
        let stale = measured(State::Stale, Some("a < b & c"));
        let (firing, fresh, gone) = (firing(), resolved(End::Fresh), resolved(End::NotWatched));
        let stale = Some(&stale);
        let body = slack(&[alert(&firing, stale), alert(&fresh, stale), alert(&gone, None)]);
        let text = ":rotating_light: feature view spend of shop is stale: a &lt; b &amp; c \
                    (threshold 1d, oldest of 3 rows 1d2h, 95 % within 1d1h, materialized up to none ago)\n\
                    :white_check_mark: feature view spend of shop is fresh again (after 1h)\n\
                    :no_bell: feature view spend of shop is not watched any more (after 1h)";
        assert_eq!(body, json!({ "text": text }));
    }
}
