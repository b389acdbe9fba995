//! One server: its connections, its timeouts, and whether it is worth asking.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind,
    IntoConnectionInfo as _, Pipeline, RedisConnectionInfo, RedisError, RedisResult,
    TlsCertificates, Value, aio::MultiplexedConnection,
};
use tokio::{sync::Mutex, time::timeout};

use super::{
    breaker::Breaker,
    options::{Address, Credentials, RedisOptions, TlsOptions},
};
use crate::error::{Error, Result};

/// Which of a server's connections: the answers of one come in the order of its questions, so that
/// reads do not stand behind writes and walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Requests for features.
    Read,
    /// Writes, and walks over the keys.
    Bulk,
}

/// Why a server did not answer.
#[derive(Debug, Clone)]
pub(super) enum Silence {
    /// It has failed so often that it was not asked.
    Resting,
    /// It cannot be reached, or does not answer in time.
    Lost(String),
    /// It does not let us in.
    Refused(String),
}

/// How connections are made.
#[derive(Debug)]
pub(super) struct Dialer {
    tls: Option<TlsCertificates>,
    credentials: Credentials,
    database: i64,
    connect_timeout: Duration,
    read_timeout: Duration,
    write_timeout: Duration,
}

impl Dialer {
    pub(super) fn new(options: &RedisOptions, credentials: &Credentials, database: i64) -> Self {
        if options.url.tls {
            // Two implementations of TLS's mathematics are linked, and nobody chooses for us. An
            // error says that somebody has chosen before.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Self {
            tls: options.url.tls.then(|| certificates(&options.tls)),
            credentials: credentials.clone(),
            database,
            connect_timeout: options.connect_timeout,
            read_timeout: options.read_timeout,
            write_timeout: options.write_timeout,
        }
    }

    /// A client for a server; nothing is connected yet.
    fn client(&self, address: &Address) -> RedisResult<Client> {
        let mut settings = RedisConnectionInfo::default().set_db(self.database);
        if let Some(password) = &self.credentials.password {
            settings = settings.set_password(password.reveal());
        }
        if let Some(username) = &self.credentials.username {
            settings = settings.set_username(username);
        }
        let (host, port) = (address.host.clone(), address.port);
        let info = |address: ConnectionAddr| {
            Ok::<_, RedisError>(address.into_connection_info()?.set_redis_settings(settings))
        };
        match &self.tls {
            Some(certificates) => {
                let address =
                    ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
                Client::build_with_tls(info(address)?, certificates.clone())
            }
            None => Client::open(info(ConnectionAddr::Tcp(host, port))?),
        }
    }

    /// Refuses certificates that are none.
    pub(super) fn check(&self, address: &Address) -> Result<()> {
        self.client(address).map(drop).map_err(|error| {
            Error::invalid(format!("the settings of an online store cannot be used: {error}"))
        })
    }

    /// Connects and signs in.
    pub(super) async fn connect(
        &self,
        address: &Address,
        lane: Lane,
    ) -> Result<MultiplexedConnection, Silence> {
        let answers = match lane {
            Lane::Read => self.read_timeout,
            Lane::Bulk => self.write_timeout,
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(answers));
        let client = self.client(address).map_err(|error| silence(&error))?;
        let connected = client.get_multiplexed_async_connection_with_config(&config);
        match timeout(self.connect_timeout, connected).await {
            Ok(connected) => connected.map_err(|error| silence(&error)),
            Err(_) => Err(Silence::Lost(format!(
                "no connection within {} ms",
                self.connect_timeout.as_millis()
            ))),
        }
    }
}

fn certificates(options: &TlsOptions) -> TlsCertificates {
    TlsCertificates {
        client_tls: options.client.as_ref().map(|(certificate, key)| ClientTlsConfig {
            client_cert: certificate.as_bytes().to_vec(),
            client_key: key.reveal().as_bytes().to_vec(),
        }),
        root_cert: options.authorities.as_ref().map(|pem| pem.as_bytes().to_vec()),
    }
}

fn silence(error: &RedisError) -> Silence {
    match error.kind() {
        ErrorKind::AuthenticationFailed => Silence::Refused(error.to_string()),
        _ if error.is_timeout() => Silence::Lost("no answer in time".to_owned()),
        _ => Silence::Lost(error.to_string()),
    }
}

/// A server. Whatever is asked goes through here.
#[derive(Debug)]
pub(super) struct Server {
    address: Address,
    dialer: Arc<Dialer>,
    breaker: Breaker,
    born: Instant,
    read: Line,
    bulk: Line,
}

impl Server {
    pub(super) fn new(address: Address, dialer: Arc<Dialer>, options: &RedisOptions) -> Self {
        Self {
            address,
            dialer,
            breaker: Breaker::new(options.breaker_failures, options.breaker_pause),
            born: Instant::now(),
            read: Line::default(),
            bulk: Line::default(),
        }
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends commands in one piece and gives the answer to each; an error of a command is an
    /// answer. Where there is no answer, none or some of the commands may have been carried out.
    pub(super) async fn send(
        &self,
        lane: Lane,
        commands: &Pipeline,
        count: usize,
    ) -> Result<Vec<Value>, Silence> {
        if !self.breaker.allows(self.born.elapsed()) {
            return Err(Silence::Resting);
        }
        let answers = self.try_to_send(lane, commands, count).await;
        match &answers {
            Ok(_) => self.breaker.succeeded(),
            Err(_) => self.breaker.failed(self.born.elapsed()),
        }
        answers
    }

    async fn try_to_send(
        &self,
        lane: Lane,
        commands: &Pipeline,
        count: usize,
    ) -> Result<Vec<Value>, Silence> {
        let line = match lane {
            Lane::Read => &self.read,
            Lane::Bulk => &self.bulk,
        };
        let connection = match line.open.load_full() {
            Some(connection) => connection,
            None => line.connect(&self.dialer, &self.address, lane).await?,
        };
        let mut sender = MultiplexedConnection::clone(&connection);
        match sender.send_packed_commands(commands, 0, count).await {
            Ok(answers) if answers.len() == count => Ok(answers),
            Ok(answers) => {
                line.drop_connection(&connection);
                Err(Silence::Lost(format!("{} answers to {count} commands", answers.len())))
            }
            Err(error) => {
                line.drop_connection(&connection);
                Err(silence(&error))
            }
        }
    }

    /// Forgets the connections: the server is no longer what it was.
    pub(super) fn disconnect(&self) {
        self.read.open.store(None);
        self.bulk.open.store(None);
    }
}

/// A connection that is made when it is needed, by one while the others wait for what comes of it.
#[derive(Debug, Default)]
struct Line {
    open: ArcSwapOption<MultiplexedConnection>,
    /// Held by the one who connects: when that failed the last time, and why.
    connecting: Mutex<Option<(Instant, Silence)>>,
}

impl Line {
    async fn connect(
        &self,
        dialer: &Dialer,
        address: &Address,
        lane: Lane,
    ) -> Result<Arc<MultiplexedConnection>, Silence> {
        let asked = Instant::now();
        let mut failure = self.connecting.lock().await;
        if let Some(connection) = self.open.load_full() {
            return Ok(connection);
        }
        if let Some((at, silence)) = &*failure
            && *at >= asked
        {
            return Err(silence.clone());
        }
        match dialer.connect(address, lane).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.open.store(Some(Arc::clone(&connection)));
                *failure = None;
                Ok(connection)
            }
            Err(silence) => {
                *failure = Some((Instant::now(), silence.clone()));
                Err(silence)
            }
        }
    }

    /// Whoever comes next connects anew, unless somebody has already.
    fn drop_connection(&self, failed: &Arc<MultiplexedConnection>) {
        let open = self.open.load();
        if open.as_ref().is_some_and(|open| Arc::ptr_eq(open, failed)) {
            self.open.compare_and_swap(&open, None);
        }
    }
}
