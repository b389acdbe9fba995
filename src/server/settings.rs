//! `[server]` of `unskew.toml`: what the server takes, and how long it waits.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ConsumerSettings, Rate, body::SPREAD};
use crate::{
    error::{Error, Result},
    time::Span,
};

/// The bounds of everything that a caller can make the server hold or wait for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Connections that are open at a time; further ones wait in the system's queue.
    pub max_connections: u32,
    /// How long a connection may take to send the head of a request, and may idle between two.
    pub header_timeout: Span,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Span,
    /// How long a client may leave what it asked for unread.
    pub write_timeout: Span,
    /// Bytes of the body of a request, decompressed.
    pub max_body_bytes: u64,
    /// Bytes of the body of an answer, before it is compressed.
    pub max_answer_bytes: u64,
    /// Bytes of the bodies of all requests and answers at a time, with the values in those of
    /// requests; small bodies are not counted. No less than one may take.
    pub max_bodies_bytes: u64,
    /// Entity rows of a request, and rows of a push.
    pub max_rows: u32,
    /// Answers from this size on, in bytes, are compressed for clients that take gzip.
    pub gzip_bytes: u16,
    /// How long the server goes on, no longer ready, before it takes no more connections: so that
    /// a load balancer sees it.
    pub drain_delay: Span,
    /// How long requests under way have to finish after that.
    pub drain_timeout: Span,
    /// How often the registry is asked whether another snapshot is in force; `0s`: never.
    pub reload_interval: Span,
    /// How long an answer, or a write, may take.
    pub request_timeout: Span,
    /// Requests that are worked on at a time; further ones wait for their turn.
    pub max_concurrency: u32,
    /// Requests that wait for their turn at the most; further ones are sent away.
    pub max_queue: u32,
    /// How long a request waits for its turn before it is sent away.
    pub queue_timeout: Span,
    /// The header with a consumer's key.
    pub api_key_header: String,
    /// Whether requests without a key are answered.
    pub anonymous: bool,
    /// How often those without a key may ask, all of them together.
    pub anonymous_rate: Option<Rate>,
    /// Those who have a key, by name.
    pub consumers: BTreeMap<String, ConsumerSettings>,
    /// How often features of a view may be asked for, by all together.
    pub view_rates: BTreeMap<String, Rate>,
}

const SECOND: i64 = 1_000_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_connections: 4_096,
            header_timeout: Span(30 * SECOND),
            body_timeout: Span(30 * SECOND),
            write_timeout: Span(30 * SECOND),
            max_body_bytes: 16 << 20,
            max_answer_bytes: 64 << 20,
            max_bodies_bytes: 1 << 30,
            max_rows: 10_000,
            gzip_bytes: 32_768,
            drain_delay: Span(0),
            drain_timeout: Span(10 * SECOND),
            reload_interval: Span(5 * SECOND),
            request_timeout: Span(30 * SECOND),
            max_concurrency: 256,
            max_queue: 1_024,
            queue_timeout: Span(SECOND),
            api_key_header: "x-api-key".to_owned(),
            anonymous: true,
            anonymous_rate: None,
            consumers: BTreeMap::new(),
            view_rates: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Refuses settings under which nothing could be served.
    ///
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid), naming the setting and its valid values.
    pub(super) fn check(&self) -> Result<()> {
        // A body, and its values beside it.
        let one_body = self.max_body_bytes.saturating_mul(1 + SPREAD).max(self.max_answer_bytes);
        let bounds = [
            ("max_connections", u64::from(self.max_connections), 1, 1 << 20),
            ("header_timeout (µs)", self.header_timeout.0.unsigned_abs(), 1_000, DAY),
            ("body_timeout (µs)", self.body_timeout.0.unsigned_abs(), 1_000, DAY),
            ("write_timeout (µs)", self.write_timeout.0.unsigned_abs(), 1_000, DAY),
            ("max_body_bytes", self.max_body_bytes, 1_024, 1 << 32),
            ("max_answer_bytes", self.max_answer_bytes, 1_024, 1 << 32),
            ("max_bodies_bytes", self.max_bodies_bytes, one_body, 1 << 40),
            ("max_rows", u64::from(self.max_rows), 1, 1_000_000),
            ("request_timeout (µs)", self.request_timeout.0.unsigned_abs(), 1_000, DAY),
            ("queue_timeout (µs)", self.queue_timeout.0.unsigned_abs(), 0, DAY),
            ("max_concurrency", u64::from(self.max_concurrency), 1, 1 << 20),
            ("max_queue", u64::from(self.max_queue), 0, 1 << 20),
            ("drain_timeout (µs)", self.drain_timeout.0.unsigned_abs(), 0, DAY),
        ];
        match bounds.into_iter().find(|(_, value, least, most)| value < least || value > most) {
            Some((name, value, least, most)) => Err(Error::invalid(format!(
                "server.{name} is {value} and has to be between {least} and {most}"
            ))),
            None => Ok(()),
        }
    }
}

const DAY: u64 = 86_400_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_bounds_are_named() {
        let check = |text: &str, expected: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            assert_eq!(settings.check().unwrap_err().message(), expected);
        };
        Settings::default().check().unwrap();
        check(
            "max_body_bytes = 134217728",
            "server.max_bodies_bytes is 1073741824 and has to be between 1207959552 and \
             1099511627776",
        );
        check("max_rows = 0", "server.max_rows is 0 and has to be between 1 and 1000000");
        check(
            "header_timeout = \"2d\"",
            "server.header_timeout (µs) is 172800000000 and has to be between 1000 and 86400000000",
        );
    }
}
