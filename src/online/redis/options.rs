//! Where a Redis store is, and how it is talked to.

use std::{fmt, str::FromStr, time::Duration};

use crate::error::{Error, Result};

/// A text that is never shown: a password, a private key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A user and its password, as far as they are needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user of the access control list; `default`, where there is none.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
}

/// What TLS needs besides the certificates of the public authorities. All in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The authorities that sign the servers' certificates, in place of the public ones.
    pub authorities: Option<String>,
    /// The certificate of the client and its private key, where servers ask for one.
    pub client: Option<(String, Secret)>,
}

/// How a [`RedisStore`](super::RedisStore) is opened.
#[derive(Debug, Clone)]
pub struct RedisOptions {
    /// Where it is.
    pub url: RedisUrl,
    /// Who signs in to Redis.
    pub credentials: Credentials,
    /// Who signs in to the sentinels.
    pub sentinel: Credentials,
    /// What TLS needs, where the URL says `rediss`.
    pub tls: TlsOptions,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// Whether rows of views with a ttl leave the store some time after it has passed.
    pub expire: bool,
    /// How long a connection may take, sign-in included.
    pub connect_timeout: Duration,
    /// How long the answer to a read may take.
    pub read_timeout: Duration,
    /// How long a piece of a write, or a step of a walk over the keys, may take with all its
    /// repetitions.
    pub write_timeout: Duration,
    /// How often a read is tried before it fails; a write is tried as long as its timeout, of which
    /// each of so many attempts but the last gets half of what is left. Both can be repeated.
    pub attempts: u32,
    /// After so many failures in a row a server is not asked any more, …
    pub breaker_failures: u32,
    /// … until this time has passed. Then one request tries.
    pub breaker_pause: Duration,
}

impl RedisOptions {
    /// The options for a store at this URL: keys begin with `unskew:`, rows expire, and whoever
    /// asks waits for two seconds at most where nothing answers.
    pub fn new(url: RedisUrl) -> Self {
        Self {
            url,
            credentials: Credentials::default(),
            sentinel: Credentials::default(),
            tls: TlsOptions::default(),
            prefix: "unskew:".to_owned(),
            expire: true,
            connect_timeout: Duration::from_millis(500),
            read_timeout: Duration::from_millis(500),
            write_timeout: Duration::from_secs(10),
            attempts: 3,
            breaker_failures: 5,
            breaker_pause: Duration::from_secs(1),
        }
    }

    /// Refuses what cannot be used.
    pub(super) fn check(&self) -> Result<()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-.:".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(plain) {
            return Err(Error::invalid(format!("the prefix of keys is {:?}", self.prefix))
                .with_hint("a prefix is 1 to 64 letters, digits and _ - . :, as in \"unskew:\""));
        }
        if self.attempts == 0 || self.breaker_failures == 0 {
            return Err(Error::invalid("a store that is tried 0 times never answers"));
        }
        Ok(())
    }
}

/// A server's host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// How the servers of a store belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// There is one.
    Single,
    /// The addresses are those of sentinels, which know the master of a service of this name.
    Sentinel(String),
    /// The addresses are those of some nodes of a Cluster, which know all of them.
    Cluster,
}

/// Where a Redis store is. There is never a user or a password in it, so it can be shown.
///
/// ```text
/// redis://host:6379/0 · redis+sentinel://host:26379,host:26379/service/0 · redis+cluster://host:6379,host:6379
/// ```
/// With `rediss` in place of `redis`, connections are TLS. Ports and the number of the database can
/// be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Whether connections are TLS.
    pub tls: bool,
    /// How the servers belong together.
    pub topology: Topology,
    /// At least one.
    pub addresses: Vec<Address>,
    /// The number of the database.
    pub database: i64,
}

const FORMS: &str = "a URL is redis://host:port/database, redis+sentinel://host:port,…/service or \
                     redis+cluster://host:port,…; with rediss in place of redis for TLS";

impl FromStr for RedisUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // What is wrong is not repeated: there may be a password in it.
        let wrong =
            |what: String| Error::invalid(format!("not a URL of Redis: {what}")).with_hint(FORMS);
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| wrong("there is no :// in it".to_owned()))?;
        if rest.contains('@') {
            return Err(wrong("there is a user or a password in it".to_owned()).with_hint(
                "set username, and password_env to the environment variable with the password",
            ));
        }
        let (protocol, kind) = scheme.split_once('+').unwrap_or((scheme, "single"));
        let tls = match protocol {
            "redis" => false,
            "rediss" => true,
            other => return Err(wrong(format!("it begins with {other:?}"))),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (topology, default_port, database) = match (kind, path.split_once('/')) {
            ("single", None) => (Topology::Single, 6379, path),
            ("cluster", None) if ["", "0"].contains(&path) => (Topology::Cluster, 6379, ""),
            ("sentinel", None) if !path.is_empty() => {
                (Topology::Sentinel(path.to_owned()), 26379, "")
            }
            ("sentinel", Some((service, database))) if !service.is_empty() => {
                (Topology::Sentinel(service.to_owned()), 26379, database)
            }
            ("sentinel", _) => return Err(wrong("it names no service".to_owned())),
            ("cluster", _) => return Err(wrong("a Cluster has database 0 alone".to_owned())),
            ("single", _) => return Err(wrong("its path is no number of a database".to_owned())),
            (other, _) => return Err(wrong(format!("there is no +{other}"))),
        };
        let addresses = hosts.split(',').map(|host| address(host, default_port));
        let addresses: Vec<_> = addresses
            .collect::<Option<_>>()
            .ok_or_else(|| wrong("a host or port in it is none".to_owned()))?;
        if topology == Topology::Single && addresses.len() > 1 {
            return Err(wrong("one server has one address".to_owned()));
        }
        let database = match database {
            "" => 0,
            number => number
                .parse::<u16>()
                .map_err(|_| wrong("its path is no number of a database".to_owned()))?
                .into(),
        };
        Ok(Self { tls, topology, addresses, database })
    }
}

fn address(text: &str, default_port: u16) -> Option<Address> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Some(default_port), |port| port.parse().ok())?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
    let good = !host.is_empty() && host.chars().all(is_host);
    good.then(|| Address { host: host.to_owned(), port })
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        f.write_str(match self.topology {
            Topology::Single => "://",
            Topology::Sentinel(_) => "+sentinel://",
            Topology::Cluster => "+cluster://",
        })?;
        for (place, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if place > 0 { "," } else { "" })?;
        }
        if let Topology::Sentinel(service) = &self.topology {
            write!(f, "/{service}")?;
        }
        if self.database != 0 {
            write!(f, "/{}", self.database)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_the_servers_are() {
        let check = |text: &str, shown: &str| {
            let url: RedisUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(shown.parse::<RedisUrl>().unwrap(), url);
        };
        check("redis://cache", "redis://cache:6379");
        check("rediss://cache:7000/3", "rediss://cache:7000/3");
        check("redis://[::1]:7000", "redis://[::1]:7000");
        check("redis://[::1]", "redis://[::1]:6379");
        check("redis+sentinel://a,b:5/main", "redis+sentinel://a:26379,b:5/main");
        check("rediss+sentinel://a/main/2", "rediss+sentinel://a:26379/main/2");
        check("redis+cluster://a:1,b:2", "redis+cluster://a:1,b:2");
    }

    #[test]
    fn other_urls_are_refused_and_not_repeated() {
        let check = |text: &str, expect: &str| {
            let error = text.parse::<RedisUrl>().unwrap_err();
            assert_eq!(error.message(), format!("not a URL of Redis: {expect}"), "{text}");
        };
        check("cache:6379", "there is no :// in it");
        check("redis://me:hunter2@cache", "there is a user or a password in it");
        check("http://cache", "it begins with \"http\"");
        check("redis+ring://cache", "there is no +ring");
        check("redis://a,b", "one server has one address");
        check("redis://cache/one", "its path is no number of a database");
        check("redis://cache/1/2", "its path is no number of a database");
        check("redis://cache:port", "a host or port in it is none");
        check("redis://", "a host or port in it is none");
        check("redis+sentinel://cache", "it names no service");
        check("redis+cluster://a/1", "a Cluster has database 0 alone");
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut options = RedisOptions::new("redis://cache".parse().unwrap());
        options.credentials.password = Some(Secret::new("hunter2"));
        options.tls.client = Some(("certificate".to_owned(), Secret::new("hunter2")));
        assert!(!format!("{options:?}").contains("hunter2"));
    }

    #[test]
    fn a_prefix_is_plain() {
        let check = |prefix: &str, good: bool| {
            let mut options = RedisOptions::new("redis://cache".parse().unwrap());
            options.prefix = prefix.to_owned();
            assert_eq!(options.check().is_ok(), good, "{prefix:?}");
        };
        check("unskew:", true);
        check("", false);
        check("{a}", false);
        check("a*", false);
    }
}
