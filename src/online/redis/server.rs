//! One server: its connections, its timeouts, and whether it is worth asking.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use redis::Cmd;
use tokio::{sync::Mutex, time::timeout};

use super::{
    answer::{self, Answer},
    breaker::Breaker,
    connection::Connection,
    options::{Address, Credentials, RedisOptions},
    tls::{Tls, server_name},
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

/// Why there is no answer, for one of those who asked.
struct Failure {
    silence: Silence,
    /// Whether nobody else has learned of it: what many wait for fails once, however many they are.
    is_news: bool,
}

/// How connections are made, and how long they may take.
#[derive(Debug)]
pub(super) struct Dialer {
    tls: Option<Tls>,
    /// What a connection begins with.
    greeting: Vec<Greeting>,
    connect_timeout: Duration,
}

/// A command that signs in, chooses the database or asks for the server's role.
enum Greeting {
    SignIn(Cmd),
    Choose(Cmd),
    AskRole(Cmd),
}

impl std::fmt::Debug for Greeting {
    /// A command may have a password in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::SignIn(_) => "SignIn(…)",
            Self::Choose(_) => "Choose(…)",
            Self::AskRole(_) => "AskRole(…)",
        })
    }
}

impl Dialer {
    /// # Errors
    /// [`Kind::Invalid`](crate::error::Kind::Invalid) for certificates that are none, and a host
    /// that no certificate can be for.
    pub(super) fn new(
        options: &RedisOptions,
        credentials: &Credentials,
        database: i64,
    ) -> Result<Self> {
        let unusable = |what: String| {
            Error::invalid(format!("the settings of an online store cannot be used: {what}"))
        };
        let tls = match options.url.tls {
            true => Some(Tls::new(&options.tls).map_err(unusable)?),
            false => None,
        };
        for address in options.url.addresses.iter().filter(|_| tls.is_some()) {
            server_name(address).map_err(unusable)?;
        }
        Ok(Self {
            tls,
            greeting: greeting(credentials, database),
            connect_timeout: options.connect_timeout,
        })
    }

    /// The same, for masters alone: a server that was one may have become a replica, which answers
    /// reads as well, and from then on with what is old.
    pub(super) fn of_masters(mut self) -> Self {
        let role = redis::cmd("HELLO").arg(2).to_owned();
        self.greeting.push(Greeting::AskRole(role));
        self
    }

    /// Connects and signs in.
    pub(super) async fn connect(&self, address: &Address) -> Result<Connection, Silence> {
        match timeout(self.connect_timeout, self.greet(address)).await {
            Ok(connected) => connected,
            Err(_) => Err(Silence::Lost(format!(
                "no connection within {} ms",
                self.connect_timeout.as_millis()
            ))),
        }
    }

    async fn greet(&self, address: &Address) -> Result<Connection, Silence> {
        let opened = Connection::open(address, self.tls.as_ref()).await;
        let connection = opened.map_err(|error| Silence::Lost(error.to_string()))?;
        for greeting in &self.greeting {
            let (Greeting::SignIn(command)
            | Greeting::Choose(command)
            | Greeting::AskRole(command)) = greeting;
            let command = command.get_packed_command().into();
            let answers = ask(&connection, self.connect_timeout, command, 1).await?;
            match (greeting, answers.as_slice()) {
                (Greeting::Choose(_), [Answer::Error(said)]) => {
                    return Err(Silence::Lost(said.to_string()));
                }
                (_, [Answer::Error(said)]) => return Err(Silence::Refused(said.to_string())),
                (Greeting::AskRole(_), [answer]) if !is_master(answer) => {
                    return Err(Silence::Lost("it is no master".to_owned()));
                }
                _ => {}
            }
        }
        Ok(connection)
    }
}

/// Asks on a connection, and waits so long for the answers.
pub(super) async fn ask(
    connection: &Connection,
    limit: Duration,
    commands: Bytes,
    count: usize,
) -> Result<Vec<Answer>, Silence> {
    match timeout(limit, connection.ask(commands, count)).await {
        Ok(Ok(answers)) => {
            answer::parse(&answers, count).map_err(|error| Silence::Lost(error.to_string()))
        }
        Ok(Err(why)) => Err(Silence::Lost(why)),
        Err(_) => Err(Silence::Lost("no answer in time".to_owned())),
    }
}

/// Whether an answer to `HELLO`, which is names and what they mean by turns, is one of a master.
fn is_master(answer: &Answer) -> bool {
    let Answer::Array(parts) = answer else { return false };
    let is_text = |part: &Answer, text: &str| matches!(part, Answer::Text(part) if part == text);
    let (facts, _) = parts.as_chunks();
    facts.iter().any(|[name, fact]| is_text(name, "role") && is_text(fact, "master"))
}

fn greeting(credentials: &Credentials, database: i64) -> Vec<Greeting> {
    let sign_in = credentials.password.as_ref().map(|password| {
        let mut sign_in = redis::cmd("AUTH");
        sign_in.arg(&credentials.username).arg(password.reveal());
        Greeting::SignIn(sign_in)
    });
    let choose =
        (database != 0).then(|| Greeting::Choose(redis::cmd("SELECT").arg(database).to_owned()));
    sign_in.into_iter().chain(choose).collect()
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

    /// Sends commands in one piece and gives the answer to each, for which it waits no longer than
    /// `limit`; an error of a command is an answer. Where there is no answer, none or some of the
    /// commands may have been carried out.
    pub(super) async fn send(
        &self,
        lane: Lane,
        limit: Duration,
        commands: Bytes,
        count: usize,
    ) -> Result<Vec<Answer>, Silence> {
        if !self.breaker.allows(self.born.elapsed()) {
            return Err(Silence::Resting);
        }
        match self.try_to_send(lane, limit, commands, count).await {
            Ok(answers) => {
                self.breaker.succeeded();
                Ok(answers)
            }
            Err(Failure { silence, is_news }) => {
                if is_news {
                    self.breaker.failed(self.born.elapsed());
                }
                Err(silence)
            }
        }
    }

    /// As [`Server::send`] of a read, but also while the server is left alone, and no failure is
    /// counted. Whoever asks several servers at once drops the others at the first answer: the one
    /// try that a server gets after a pause would be dropped with them.
    pub(super) async fn send_aside(
        &self,
        limit: Duration,
        commands: Bytes,
        count: usize,
    ) -> Result<Vec<Answer>, Silence> {
        let answers = self.try_to_send(Lane::Read, limit, commands, count).await;
        let answers = answers.map_err(|failure| failure.silence)?;
        self.breaker.succeeded();
        Ok(answers)
    }

    async fn try_to_send(
        &self,
        lane: Lane,
        limit: Duration,
        commands: Bytes,
        count: usize,
    ) -> Result<Vec<Answer>, Failure> {
        let line = match lane {
            Lane::Read => &self.read,
            Lane::Bulk => &self.bulk,
        };
        let connection = match line.open() {
            Some(connection) => connection,
            None => line.connect(&self.dialer, &self.address).await?,
        };
        let answers = ask(&connection, limit, commands, count).await;
        answers.map_err(|silence| {
            let is_first = line.drop_connection(&connection);
            // A connection that ended is the failure of all who asked on it; who waited too long
            // waited alone.
            Failure { silence, is_news: is_first || !connection.has_ended() }
        })
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
    open: ArcSwapOption<Connection>,
    /// Held by the one who connects: when that failed the last time, and why.
    connecting: Mutex<Option<(Instant, Silence)>>,
}

impl Line {
    /// The connection, where there is one that has not ended.
    fn open(&self) -> Option<Arc<Connection>> {
        self.open.load_full().filter(|connection| !connection.has_ended())
    }

    async fn connect(
        &self,
        dialer: &Dialer,
        address: &Address,
    ) -> Result<Arc<Connection>, Failure> {
        let asked = Instant::now();
        let mut failure = self.connecting.lock().await;
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        if let Some((at, silence)) = &*failure
            && *at >= asked
        {
            return Err(Failure { silence: silence.clone(), is_news: false });
        }
        match dialer.connect(address).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                self.open.store(Some(Arc::clone(&connection)));
                *failure = None;
                Ok(connection)
            }
            Err(silence) => {
                *failure = Some((Instant::now(), silence.clone()));
                Err(Failure { silence, is_news: true })
            }
        }
    }

    /// Whoever comes next connects anew. Whether nobody else has seen to that.
    fn drop_connection(&self, failed: &Arc<Connection>) -> bool {
        let open = self.open.load();
        if !open.as_ref().is_some_and(|open| Arc::ptr_eq(open, failed)) {
            return false;
        }
        let was = self.open.compare_and_swap(&open, None);
        was.as_ref().is_some_and(|was| Arc::ptr_eq(was, failed))
    }
}
