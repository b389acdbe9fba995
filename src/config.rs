//! `unskew.toml`: where a project keeps its things.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use crate::{
    error::{Error, Result},
    freshness,
    materialize::DEFAULT_STORE,
    name::{IDENTIFIER_RULE, is_identifier},
    online::{Credentials, RedisOptions, RedisUrl, Secret},
    server::Settings,
    storage::StorageSettings,
    time::Span,
    wasm::Limits,
};

/// The name of the file that makes a folder a project.
pub const FILE: &str = "unskew.toml";

/// The settings of a project. Relative paths are relative to its folder.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The project itself.
    pub project: Project,
    /// The online store of the views that name none.
    #[serde(default)]
    pub online: Store,
    /// The online stores that views may name.
    #[serde(default)]
    pub stores: BTreeMap<String, Store>,
    /// What a transform may use at the most.
    #[serde(default)]
    pub limits: Limits,
    /// What `unskew serve` takes, and how long it waits.
    #[serde(default)]
    pub server: Settings,
    /// Who is told of views that are not fresh.
    #[serde(default)]
    pub freshness: freshness::Settings,
    /// How object stores are reached, by their URLs.
    #[serde(default)]
    pub storage: StorageSettings,
}

/// `[project]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// Its name; an identifier.
    pub name: String,
    /// The registry: a folder, or a place in a bucket by its URL.
    #[serde(default = "registry")]
    pub registry: String,
    /// The folder with the definition files.
    #[serde(default = "definitions")]
    pub definitions: PathBuf,
}

/// `[online]` and `[stores.NAME]`: an online store, in a folder or in Redis.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "StoreKeys")]
pub enum Store {
    /// `path`: the folder of the embedded store.
    Embedded(PathBuf),
    /// `url`: a Redis.
    Redis(Box<Redis>),
}

impl Default for Store {
    fn default() -> Self {
        Self::Embedded(PathBuf::from("online"))
    }
}

/// An online store in Redis, as it is set up: secrets are named, not said.
#[derive(Debug, Clone, PartialEq)]
pub struct Redis {
    /// Where it is.
    pub url: RedisUrl,
    /// The user.
    pub username: Option<String>,
    /// The environment variable with the user's password.
    pub password_env: Option<String>,
    /// The user at the sentinels.
    pub sentinel_username: Option<String>,
    /// The environment variable with the password at the sentinels.
    pub sentinel_password_env: Option<String>,
    /// The file with the certificates of the authorities, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The files with the client's certificate and its private key, in PEM.
    pub client_files: Option<(PathBuf, PathBuf)>,
    /// What the names of keys begin with.
    pub prefix: Option<String>,
    /// Whether rows leave the store some time after their ttl.
    pub expire: bool,
    /// How long a connection may take.
    pub connect_timeout: Option<Span>,
    /// How long the answer to a read may take.
    pub read_timeout: Option<Span>,
    /// How long a write may take.
    pub write_timeout: Option<Span>,
}

/// The keys of the table of a store.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreKeys {
    path: Option<PathBuf>,
    url: Option<String>,
    username: Option<String>,
    password_env: Option<String>,
    sentinel_username: Option<String>,
    sentinel_password_env: Option<String>,
    ca_file: Option<PathBuf>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
    prefix: Option<String>,
    expire: Option<bool>,
    connect_timeout: Option<Span>,
    read_timeout: Option<Span>,
    write_timeout: Option<Span>,
}

impl TryFrom<StoreKeys> for Store {
    type Error = Error;

    fn try_from(keys: StoreKeys) -> Result<Self> {
        let url = match (keys.path.clone(), &keys.url) {
            (Some(path), None) => return keys.embedded(path),
            (None, Some(url)) => url.parse()?,
            (Some(_), Some(_)) => {
                return Err(Error::invalid("a store has a path or a url, and not both"));
            }
            (None, None) => return Err(Error::invalid("a store has a path or a url")),
        };
        let client_files = match (keys.certificate_file, keys.key_file) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(Error::invalid("certificate_file and key_file go together")),
        };
        Ok(Self::Redis(Box::new(Redis {
            url,
            username: keys.username,
            password_env: keys.password_env,
            sentinel_username: keys.sentinel_username,
            sentinel_password_env: keys.sentinel_password_env,
            ca_file: keys.ca_file,
            client_files,
            prefix: keys.prefix,
            expire: keys.expire.unwrap_or(true),
            connect_timeout: keys.connect_timeout,
            read_timeout: keys.read_timeout,
            write_timeout: keys.write_timeout,
        })))
    }
}

impl StoreKeys {
    fn embedded(self, path: PathBuf) -> Result<Store> {
        let of_redis = [
            ("username", self.username.is_some()),
            ("password_env", self.password_env.is_some()),
            ("sentinel_username", self.sentinel_username.is_some()),
            ("sentinel_password_env", self.sentinel_password_env.is_some()),
            ("ca_file", self.ca_file.is_some()),
            ("certificate_file", self.certificate_file.is_some()),
            ("key_file", self.key_file.is_some()),
            ("prefix", self.prefix.is_some()),
            ("expire", self.expire.is_some()),
            ("connect_timeout", self.connect_timeout.is_some()),
            ("read_timeout", self.read_timeout.is_some()),
            ("write_timeout", self.write_timeout.is_some()),
        ];
        match of_redis.iter().find(|(_, there)| *there) {
            Some((key, _)) => {
                Err(Error::invalid(format!("a store with a path has no {key}: it is for a url")))
            }
            None => Ok(Store::Embedded(path)),
        }
    }
}

impl Redis {
    /// The options of the store, with the secrets that `environment` has and the files in or
    /// relative to the folder `root`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Invalid`] when a variable is not set or a file cannot be read.
    pub fn options(
        &self,
        root: &Path,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<RedisOptions> {
        let secret = |name: &Option<String>| {
            let Some(name) = name else { return Ok(None) };
            let unset = || {
                Error::invalid(format!("the environment variable {name} is not set"))
                    .with_hint("it has the password of an online store: see unskew.toml")
            };
            environment(name).map(Secret::new).ok_or_else(unset).map(Some)
        };
        let read = |path: &Path| {
            fs::read_to_string(root.join(path)).map_err(|error| {
                Error::invalid(format!("{} cannot be read: {error}", path.display()))
            })
        };
        let mut options = RedisOptions::new(self.url.clone());
        options.credentials =
            Credentials { username: self.username.clone(), password: secret(&self.password_env)? };
        options.sentinel = Credentials {
            username: self.sentinel_username.clone(),
            password: secret(&self.sentinel_password_env)?,
        };
        options.tls.authorities = self.ca_file.as_deref().map(read).transpose()?;
        if let Some((certificate, key)) = &self.client_files {
            options.tls.client = Some((read(certificate)?, Secret::new(read(key)?)));
        }
        if let Some(prefix) = &self.prefix {
            options.prefix.clone_from(prefix);
        }
        options.expire = self.expire;
        for (to, given) in [
            (&mut options.connect_timeout, self.connect_timeout),
            (&mut options.read_timeout, self.read_timeout),
            (&mut options.write_timeout, self.write_timeout),
        ] {
            if let Some(span) = given {
                *to = Duration::from_micros(span.0.unsigned_abs());
            }
        }
        Ok(options)
    }
}

fn registry() -> String {
    "registry".to_owned()
}

fn definitions() -> PathBuf {
    PathBuf::from("features")
}

impl Config {
    /// Reads the settings in a project's folder.
    ///
    /// # Errors
    /// [`crate::error::Kind::NotFound`] without the file; [`crate::error::Kind::Invalid`], with
    /// the line, when it does not say what it should.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let shown = path.display();
        let text = fs::read_to_string(&path)
            .map_err(|error| Error::from(error).context(format!("{shown}")))?;
        Self::parse(&text).map_err(|error| error.context(format!("{shown}")))
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Self = toml::from_str(text)
            .map_err(|error| Error::invalid(error.to_string().trim_end().to_owned()))?;
        if !is_identifier(&config.project.name) {
            return Err(Error::invalid(format!("project.name is {:?}", config.project.name))
                .with_hint(IDENTIFIER_RULE));
        }
        if let Some(name) = config.stores.keys().find(|name| !is_identifier(name)) {
            return Err(
                Error::invalid(format!("a store is called {name:?}")).with_hint(IDENTIFIER_RULE)
            );
        }
        if config.stores.contains_key(DEFAULT_STORE) {
            return Err(Error::invalid(format!("a store is called {DEFAULT_STORE:?}"))
                .with_hint("the store of views that name none is set up in [online]"));
        }
        config.storage.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_enough() {
        let config = Config::parse("[project]\nname = \"shop\"\n").unwrap();
        assert_eq!(config.project.registry, "registry");
        assert_eq!(config.online, Store::Embedded("online".into()));
    }

    #[test]
    fn stores_are_folders_or_redis() {
        let config = Config::parse(
            "[project]\nname = \"shop\"\n[online]\npath = \"near\"\n\
             [stores.fraud]\nurl = \"redis://cache/2\"\npassword_env = \"SECRET\"\n\
             prefix = \"fraud:\"\nread_timeout = \"50ms\"\n",
        )
        .unwrap();
        assert_eq!(config.online, Store::Embedded("near".into()));
        let Store::Redis(redis) = &config.stores["fraud"] else { panic!("a folder") };
        let secret = |name: &str| (name == "SECRET").then(|| "hunter2".to_owned());
        let options = redis.options(Path::new("."), secret).unwrap();
        assert_eq!(options.url.to_string(), "redis://cache:6379/2");
        assert_eq!(options.credentials.password, Some(Secret::new("hunter2")));
        assert_eq!((options.prefix.as_str(), options.expire), ("fraud:", true));
        assert_eq!(options.read_timeout, Duration::from_millis(50));
        let error = redis.options(Path::new("."), |_| None).unwrap_err();
        assert_eq!(error.message(), "the environment variable SECRET is not set");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let check = |text: &str, expect: &str| {
            let message = Config::parse(text).unwrap_err().to_string();
            assert!(message.contains(expect), "{message}");
        };
        check("[project]\nname = \"shop\"\nregister = \"x\"\n", "line 3");
        check("[project]\nname = \"Shop\"\n", "project.name is \"Shop\"");
        let store = |keys: &str| format!("[project]\nname = \"shop\"\n[online]\n{keys}\n");
        check(&store(""), "a store has a path or a url");
        check(&store("path = \"x\"\nurl = \"redis://x\""), "and not both");
        check(&store("path = \"x\"\nprefix = \"x\""), "a store with a path has no prefix");
        check(&store("url = \"redis://me:hunter2@x\""), "there is a user or a password in it");
        check(&store("url = \"redis://x\"\nkey_file = \"x\""), "go together");
        check(&store("url = \"redis://x\"\nport = 1"), "unknown field `port`");
        check(&store("url = \"redis://x\"\nread_timeout = 1"), "read_timeout");
        check(
            "[project]\nname = \"shop\"\n[stores.Fraud]\npath = \"x\"\n",
            "a store is called \"Fraud\"",
        );
        check(
            "[project]\nname = \"shop\"\n[stores.default]\npath = \"x\"\n",
            "a store is called \"default\"",
        );
        check("[online]\npath = \"x\"\n", "missing field `project`");
    }
}
