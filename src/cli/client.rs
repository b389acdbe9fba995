//! A running feature server, from outside.

use std::time::Duration;

use reqwest::{Client, Response};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::{Error, Result};

/// How long a server may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The server at a URL.
pub(super) struct FeatureServerClient {
    url: String,
    client: Client,
}

impl FeatureServerClient {
    pub(super) fn new(url: &str) -> Result<Self> {
        let client = Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|error| Error::internal(format!("no HTTP client: {error}")))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.read(self.client.get(format!("{}{path}", self.url)).send().await).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T> {
        self.read(self.client.post(format!("{}{path}", self.url)).json(body).send().await).await
    }

    async fn read<T: DeserializeOwned>(&self, response: reqwest::Result<Response>) -> Result<T> {
        let response = response.map_err(|error| self.unavailable(&error))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| self.unavailable(&error))?;
        if !status.is_success() {
            return Err(refusal(status.as_u16(), &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            Error::unavailable(format!(
                "{} does not answer as a feature server does: {error}",
                self.url
            ))
        })
    }

    fn unavailable(&self, error: &reqwest::Error) -> Error {
        let cause =
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
        Error::unavailable(format!("the server at {} does not answer: {cause}", self.url))
            .with_hint("unskew serve starts one")
    }
}

/// The error in the body of a refusal: a JSON string with a JSON object in it.
fn refusal(status: u16, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<String>(body)
        .ok()
        .and_then(|inner| serde_json::from_str::<Value>(&inner).ok())
        .and_then(|detail| Some(detail.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    match status {
        400..=499 => Error::invalid(message),
        _ => Error::unavailable(format!("the server answered {status}: {message}")),
    }
}
