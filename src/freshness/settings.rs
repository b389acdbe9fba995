//! `[freshness]` of `unskew.toml`.

use std::{env, fmt};

use serde::{Deserialize, de};

use crate::{
    error::{Error, Result},
    time::Span,
};

/// Who is told of views that are not fresh, and how often is looked.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How often is looked.
    #[serde(default = "every", deserialize_with = "interval")]
    pub every: Span,
    /// How often Alertmanager is told again of an incident that goes on; no more often than is
    /// looked.
    #[serde(default = "every", deserialize_with = "interval")]
    pub repeat: Span,
    /// Who is told.
    #[serde(default)]
    pub webhook: Vec<Webhook>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { every: every(), repeat: every(), webhook: Vec::new() }
    }
}

fn every() -> Span {
    Span(60 * 1_000_000)
}

impl Settings {
    /// How often Alertmanager is told in fact: no more often than is looked.
    pub(super) fn told_every(&self) -> Span {
        self.every.max(self.repeat)
    }

    /// After what time Alertmanager is told again at the next look: looks come a little early or
    /// late, and one that comes early is not passed over.
    pub(super) fn due_after(&self) -> Span {
        Span(self.repeat.0.saturating_sub(self.every.0 / 2))
    }

    /// Whether every webhook has a URL.
    ///
    /// # Errors
    /// Those of [`Webhook::url`].
    pub fn check(&self) -> Result<()> {
        self.webhook.iter().try_for_each(|webhook| webhook.url().map(drop))
    }
}

/// The shortest interval.
const SHORTEST: Span = Span(100_000);

fn interval<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
    let span = Span::deserialize(deserializer)?;
    match span.0 >= SHORTEST.0 {
        true => Ok(span),
        false => Err(de::Error::custom(format!("{span} is shorter than {SHORTEST}"))),
    }
}

/// Somebody to tell.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// What it understands.
    pub shape: Shape,
    /// Where it is. It may be a secret.
    url: Option<String>,
    /// The environment variable that says where.
    url_env: Option<String>,
}

/// What a webhook understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The API of Prometheus Alertmanager, version 2.
    Alertmanager,
    /// An incoming webhook of Slack.
    Slack,
}

impl Shape {
    /// The shape as a word.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Alertmanager => "alertmanager",
            Self::Slack => "slack",
        }
    }
}

impl Webhook {
    /// Where alerts are posted to. Alertmanager's is given without the path of its API.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when there is no such environment variable, or what is given
    /// is no URL. The message does not have it.
    pub fn url(&self) -> Result<reqwest::Url> {
        let refuse = |message: String| {
            Error::invalid(format!("freshness.webhook: {message}"))
                .with_hint("give url = \"https://…\", or url_env = \"NAME\" of an environment variable that has it")
        };
        let text = match (&self.url, &self.url_env) {
            (Some(url), None) => url.clone(),
            (None, Some(name)) => env::var(name)
                .map_err(|_| refuse(format!("the environment variable {name} is not set")))?,
            _ => return Err(refuse("it needs either url or url_env".to_owned())),
        };
        let mut url: reqwest::Url =
            text.trim().parse().map_err(|_| refuse("what is given is no URL".to_owned()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse(format!("its scheme is {}, not http or https", url.scheme())));
        }
        if self.shape == Shape::Alertmanager && !url.path().ends_with(ALERTS) {
            let path = format!("{}{ALERTS}", url.path().trim_end_matches('/'));
            url.set_path(&path);
        }
        Ok(url)
    }
}

/// Where Alertmanager takes alerts.
const ALERTS: &str = "/api/v2/alerts";

/// Without the URL: whoever knows it can post.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("shape", &self.shape).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(text: &str) -> Webhook {
        let settings: Settings = toml::from_str(&format!("[[webhook]]\n{text}")).unwrap();
        settings.webhook.into_iter().next().unwrap()
    }

    #[test]
    fn urls() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let url = webhook(text).url().map(|url| url.to_string());
            let url = url.map_err(|error| error.message().to_owned());
            assert_eq!(url.as_deref().map_err(String::as_str), expected, "{text}");
        };
        let alertmanager = |url: &str| format!("shape = \"alertmanager\"\nurl = \"{url}\"");
        check(&alertmanager("http://a:9093"), Ok("http://a:9093/api/v2/alerts"));
        check(&alertmanager("http://a:9093/"), Ok("http://a:9093/api/v2/alerts"));
        check(&alertmanager("http://a/am/api/v2/alerts"), Ok("http://a/am/api/v2/alerts"));
        check("shape = \"slack\"\nurl = \"https://s/T/B\"", Ok("https://s/T/B"));
        check(
            "shape = \"slack\"\nurl_env = \"UNSKEW_NO_SUCH\"",
            Err("freshness.webhook: the environment variable UNSKEW_NO_SUCH is not set"),
        );
        check("shape = \"slack\"", Err("freshness.webhook: it needs either url or url_env"));
        check(&alertmanager("secret"), Err("freshness.webhook: what is given is no URL"));
        check(
            &alertmanager("file:///secret"),
            Err("freshness.webhook: its scheme is file, not http or https"),
        );
    }

    #[test]
    fn a_url_is_not_shown() {
        let shown = format!("{:?}", webhook("shape = \"slack\"\nurl = \"https://s/secret\""));
        assert_eq!(shown, "Webhook { shape: Slack, .. }");
    }

    #[test]
    fn intervals_have_an_end() {
        let settings: Settings = toml::from_str("every = \"5s\"").unwrap();
        assert_eq!((settings.every, settings.repeat), (Span(5_000_000), every()));
        assert_eq!(settings.told_every(), every());
        assert_eq!(settings.due_after(), Span(57_500_000));
        let error = toml::from_str::<Settings>("every = \"0s\"").unwrap_err();
        assert!(error.to_string().contains("0s is shorter than 100ms"), "{error}");
    }
}
