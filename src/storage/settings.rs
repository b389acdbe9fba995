//! `[storage]` of `unskew.toml`: how a store is reached.

use std::{collections::BTreeMap, env, time::Duration};

use object_store::{BackoffConfig, RetryConfig};
use serde::Deserialize;

use crate::{
    error::{Error, Result},
    time::Span,
};

/// How often a request is repeated that was not answered.
const RETRIES: u64 = 3;

/// For how long it is repeated.
const RETRY_TIMEOUT: Span = Span(30_000_000);

/// What stands behind the name of an option whose value is in an environment variable.
const FROM_ENVIRONMENT: &str = "_env";

/// Parts of the names of options that are secrets: they come out of the environment alone.
const SECRETS: &[&str] = &["key", "secret", "token", "sas", "password", "credential", "bearer"];

/// The settings of stores, by the URLs that they are for: `s3://bucket`, or `s3://` for every
/// bucket that has none of its own.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct StorageSettings(BTreeMap<String, Options>);

/// The options of a store, by name, as `object_store` calls them.
type Options = BTreeMap<String, toml::Value>;

/// What a connection is made with.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) options: Vec<(String, String)>,
    pub(super) retry: RetryConfig,
}

impl StorageSettings {
    /// Checks that every entry is for a URL, and that no secret is written down.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] for the first that is wrong.
    pub fn check(&self) -> Result<()> {
        for (url, options) in &self.0 {
            if !url.contains("://") {
                return Err(Error::invalid(format!("[storage.\"{url}\"] is for no URL"))
                    .with_hint("as in [storage.\"s3://bucket\"]"));
            }
            for name in options.keys() {
                let secret = SECRETS.iter().any(|part| name.contains(part));
                if secret && !name.ends_with(FROM_ENVIRONMENT) {
                    return Err(Error::invalid(format!(
                        "[storage.\"{url}\"]: {name} is a secret, and no secret stands in a file"
                    ))
                    .with_hint(format!(
                        "name the environment variable that holds it: {name}_env = \"VARIABLE\""
                    )));
                }
            }
        }
        Ok(())
    }

    /// The settings of a bucket: its own, or those of its scheme.
    pub(super) fn of(&self, bucket: &str) -> Result<Settings> {
        let scheme = bucket.split_inclusive("://").next().unwrap_or(bucket);
        let own = self.0.get(bucket).or_else(|| self.0.get(&format!("{bucket}/")));
        let none = Options::new();
        let given = own.or_else(|| self.0.get(scheme)).unwrap_or(&none);
        let mut options = Vec::new();
        let (mut retries, mut timeout) = (RETRIES, RETRY_TIMEOUT);
        for (name, value) in given {
            let value = text(name, value)?;
            match (name.as_str(), name.strip_suffix(FROM_ENVIRONMENT)) {
                ("retries", _) => retries = count(&value)?,
                ("retry_timeout", _) => timeout = value.parse()?,
                (_, Some(option)) => options.push((option.to_owned(), variable(option, &value)?)),
                (option, None) => options.push((option.to_owned(), value)),
            }
        }
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: usize::try_from(retries).unwrap_or(usize::MAX),
            retry_timeout: Duration::from_micros(timeout.0.unsigned_abs()),
        };
        Ok(Settings { options, retry })
    }
}

fn text(name: &str, value: &toml::Value) -> Result<String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Boolean(_) | toml::Value::Integer(_) => Ok(value.to_string()),
        _ => Err(Error::invalid(format!("{name} is {value} and should be text, a number or true"))),
    }
}

fn count(text: &str) -> Result<u64> {
    let most = 20;
    let count = text.parse().map_err(|_| Error::invalid(format!("retries is {text:?}, no count")));
    match count? {
        over if over > most => Err(Error::limit("retries", most, RETRIES, over)),
        count => Ok(count),
    }
}

fn variable(option: &str, name: &str) -> Result<String> {
    env::var(name).map_err(|_| {
        Error::invalid(format!("{option}: there is no environment variable {name}"))
            .with_hint(format!("set it, or take {option}_env out of unskew.toml"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> StorageSettings {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_buckets_own_settings_come_before_those_of_its_scheme() {
        let settings = settings(
            "['s3://']\nregion = 'a'\n['s3://mine']\nallow_http = true\nretries = 0\n\
             secret_access_key_env = 'CARGO_PKG_NAME'\n",
        );
        settings.check().unwrap();
        let mine = settings.of("s3://mine").unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(mine.retry.max_retries, 0);
        assert_eq!(mine.options, [pair("allow_http", "true"), pair("secret_access_key", "unskew")]);
        let other = settings.of("s3://other").unwrap();
        assert_eq!((other.retry.max_retries, other.options), (3, vec![pair("region", "a")]));
        assert!(settings.of("gs://other").unwrap().options.is_empty());
    }

    #[test]
    fn secrets_and_mistakes_are_refused() {
        let check = |text: &str, expect: &str| {
            let settings = settings(text);
            let error = settings.check().and_then(|()| settings.of("s3://b").map(|_| ()));
            let error = error.unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        check("['s3://b']\nsecret_access_key = 'x'", "secret_access_key is a secret");
        check("['s3://b']\nsecret_access_key = 'x'", "secret_access_key_env = \"VARIABLE\"");
        check("['bucket']\nregion = 'x'", "[storage.\"bucket\"] is for no URL");
        check("['s3://b']\ntoken_env = 'NOT_SET_ANYWHERE'", "no environment variable NOT_SET");
        check("['s3://b']\nretries = 99", "retries over the limit: limit 20");
        check("['s3://b']\nregion = [1]", "region is [1]");
    }
}
