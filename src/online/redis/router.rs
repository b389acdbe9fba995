//! Commands to the servers that have their keys, again where that is worth it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use redis::{Cmd, cmd};
use tokio::time::sleep;

use super::{
    answer::Answer,
    cluster::Cluster,
    layout::Tag,
    options::{Address, RedisOptions, Topology},
    scripts,
    sentinel::Sentinels,
    server::{Dialer, Lane, Server, Silence},
};
use crate::error::{Error, Result};

/// The longest that is waited before something is tried again.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Commands, each on keys of one tag.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// As they are sent, one after the other.
    packed: Vec<u8>,
    /// The tag of each, and where it ends.
    places: Vec<(Tag, usize)>,
}

impl Commands {
    pub(super) fn with_capacity(commands: usize) -> Self {
        Self { packed: Vec::new(), places: Vec::with_capacity(commands) }
    }

    pub(super) fn push(&mut self, tag: Tag, command: &Cmd) {
        command.write_packed_command(&mut self.packed);
        self.places.push((tag, self.packed.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

/// Commands that are sent, again where that is worth it.
struct Sent {
    packed: Bytes,
    places: Vec<(Tag, usize)>,
}

impl Sent {
    /// Some of the commands, each behind `ASKING` where that is wanted.
    fn some(&self, places: &[usize], asking: bool) -> Bytes {
        if !asking && places.iter().copied().eq(0..self.places.len()) {
            return self.packed.clone();
        }
        let mut some = Vec::new();
        for place in places {
            if asking {
                cmd("ASKING").write_packed_command(&mut some);
            }
            let start = place.checked_sub(1).map_or(0, |before| self.places[before].1);
            some.extend_from_slice(&self.packed[start..self.places[*place].1]);
        }
        some.into()
    }
}

/// The servers of a store.
#[derive(Debug)]
pub(super) struct Router {
    options: Arc<RedisOptions>,
    servers: Servers,
}

#[derive(Debug)]
enum Servers {
    Single(Arc<Server>),
    Sentinel(Sentinels),
    Cluster(Cluster),
}

/// Where a command is sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    /// To whoever has its keys.
    Owner,
    /// To a server that is just taking over its keys.
    Taking(Address),
}

/// What came of a command.
enum Outcome {
    Answered(Answer),
    Again(Route, String),
    /// The server was not asked: it has failed too often.
    Resting(String),
    /// Nobody has let us in: to ask again is of no use.
    Refused(String),
}

impl Router {
    pub(super) fn new(options: RedisOptions) -> Result<Self> {
        options.check()?;
        let options = Arc::new(options);
        let dialer = Dialer::new(&options, &options.credentials, options.url.database)?;
        let servers = match (&options.url.topology, options.url.addresses.as_slice()) {
            (Topology::Single, [address]) => {
                Servers::Single(Arc::new(Server::new(address.clone(), Arc::new(dialer), &options)))
            }
            (Topology::Single, _) => return Err(Error::invalid("one server has one address")),
            (Topology::Sentinel(service), _) => {
                let options = Arc::clone(&options);
                Servers::Sentinel(Sentinels::new(service, options, dialer.of_masters())?)
            }
            (Topology::Cluster, _) => Servers::Cluster(Cluster::new(Arc::clone(&options), dialer)),
        };
        Ok(Self { options, servers })
    }

    pub(super) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// The answers to commands. An error of a command that would come again is its answer.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](crate::error::Kind::Unavailable) when a server does not answer, or
    /// does not answer for its keys, however often it is asked.
    pub(super) fn run(&self, lane: Lane, commands: Commands) -> BoxFuture<'_, Result<Vec<Answer>>> {
        self.try_to_run(lane, commands).boxed()
    }

    async fn try_to_run(&self, lane: Lane, commands: Commands) -> Result<Vec<Answer>> {
        let Commands { packed, places } = commands;
        let commands = Sent { packed: packed.into(), places };
        let count = commands.places.len();
        let mut answers: Vec<Option<Answer>> = vec![None; count];
        let mut waiting: Vec<(usize, Route)> =
            (0..count).map(|place| (place, Route::Owner)).collect();
        let mut tries = Tries::new(lane, &self.options);
        loop {
            let noticed = Instant::now();
            let mut trouble = None;
            for (place, outcome) in self.round(&tries, &commands, &waiting, noticed).await {
                match outcome {
                    Outcome::Answered(answer) => answers[place] = Some(answer),
                    Outcome::Again(route, why) => {
                        trouble.get_or_insert((Vec::new(), why)).0.push((place, route));
                    }
                    // Whoever waits for a read is told at once.
                    Outcome::Resting(why) if lane == Lane::Read => {
                        return Err(self.unavailable(&why));
                    }
                    Outcome::Resting(why) => {
                        let again = (place, Route::Owner);
                        trouble.get_or_insert((Vec::new(), why)).0.push(again);
                    }
                    Outcome::Refused(why) => return Err(self.refused(&why)),
                }
            }
            let Some((again, why)) = trouble else {
                return Ok(answers.into_iter().flatten().collect());
            };
            if !tries.pause().await {
                return Err(self.unavailable(&why));
            }
            self.refresh(noticed).await;
            waiting = again;
        }
    }

    /// The answer of one server to one command.
    ///
    /// # Errors
    /// As [`Router::run`].
    pub(super) async fn ask(&self, server: &Server, command: Cmd) -> Result<Answer> {
        let command = Bytes::from(command.get_packed_command());
        let mut tries = Tries::new(Lane::Bulk, &self.options);
        loop {
            let why = match server.send(tries.lane, tries.patience(), command.clone(), 1).await {
                Ok(answers) => match answers.into_iter().next().map(judge) {
                    Some(Outcome::Answered(answer)) => return Ok(answer),
                    Some(
                        Outcome::Again(_, why) | Outcome::Resting(why) | Outcome::Refused(why),
                    ) => why,
                    None => "no answer".to_owned(),
                },
                Err(Silence::Refused(why)) => return Err(self.refused(&why)),
                Err(silence) => told(&silence, server),
            };
            if !tries.pause().await {
                return Err(self.unavailable(&why));
            }
        }
    }

    /// The servers that together have every key.
    ///
    /// # Errors
    /// As [`Router::run`].
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Server>>> {
        let mut tries = Tries::new(Lane::Bulk, &self.options);
        loop {
            let why = match self.known(Instant::now()).await {
                Ok(()) => {
                    return Ok(match &self.servers {
                        Servers::Single(server) => vec![Arc::clone(server)],
                        Servers::Sentinel(sentinels) => sentinels.master().into_iter().collect(),
                        Servers::Cluster(cluster) => cluster.masters(),
                    });
                }
                Err(Silence::Refused(why)) => return Err(self.refused(&why)),
                Err(Silence::Lost(why)) => why,
                Err(Silence::Resting) => RESTING.to_owned(),
            };
            if !tries.pause().await {
                return Err(self.unavailable(&why));
            }
        }
    }

    /// Sends each of the waiting commands once.
    async fn round(
        &self,
        tries: &Tries,
        commands: &Sent,
        waiting: &[(usize, Route)],
        noticed: Instant,
    ) -> Vec<(usize, Outcome)> {
        if let Err(silence) = self.known(noticed).await {
            return waiting.iter().map(|(place, _)| (*place, failed(&silence, None))).collect();
        }
        let cluster = match &self.servers {
            Servers::Single(server) => return all(server, tries, commands, waiting).await,
            Servers::Sentinel(sentinels) => match sentinels.master() {
                Some(server) => return all(&server, tries, commands, waiting).await,
                // known() has found one.
                None => return Vec::new(),
            },
            Servers::Cluster(cluster) => cluster,
        };
        let mut groups: BTreeMap<_, (Arc<Server>, Vec<usize>)> = BTreeMap::new();
        let mut outcomes = Vec::with_capacity(waiting.len());
        for (place, route) in waiting {
            let server = match route {
                Route::Owner => cluster.owner(commands.places[*place].0),
                Route::Taking(address) => Some(cluster.server(address.clone())),
            };
            match server {
                Some(server) => {
                    let group = (Arc::as_ptr(&server).addr(), *route != Route::Owner);
                    groups.entry(group).or_insert_with(|| (server, Vec::new())).1.push(*place);
                }
                None => {
                    let why = "no server has the slot of a key".to_owned();
                    outcomes.push((*place, Outcome::Again(Route::Owner, why)));
                }
            }
        }
        let sent = groups.into_iter().map(|((_, asking), (server, places))| async move {
            let sent = send(&server, tries, commands, &places, asking).await;
            places.into_iter().zip(sent).collect::<Vec<_>>()
        });
        outcomes.extend(join_all(sent).await.into_iter().flatten());
        outcomes
    }

    /// Makes sure that it is known which servers there are.
    async fn known(&self, noticed: Instant) -> Result<(), Silence> {
        match &self.servers {
            Servers::Sentinel(sentinels) if sentinels.master().is_none() => {
                sentinels.refresh(noticed).await
            }
            Servers::Cluster(cluster) if !cluster.is_known() => cluster.refresh(noticed).await,
            _ => Ok(()),
        }
    }

    /// After trouble: asks again which servers there are.
    async fn refresh(&self, noticed: Instant) {
        let refreshed = match &self.servers {
            Servers::Single(_) => Ok(()),
            Servers::Sentinel(sentinels) => sentinels.refresh(noticed).await,
            Servers::Cluster(cluster) => cluster.refresh(noticed).await,
        };
        if let Err(silence) = refreshed {
            tracing::debug!(?silence, "nobody says which servers an online store has");
        }
    }

    fn unavailable(&self, why: &str) -> Error {
        Error::unavailable(format!("the online store {} does not answer: {why}", self.options.url))
    }

    fn refused(&self, why: &str) -> Error {
        Error::unavailable(format!("the online store {} lets nobody in: {why}", self.options.url))
            .with_hint("see username and password_env of the store in unskew.toml")
    }
}

const RESTING: &str = "it failed time and again and is left alone for a moment";

/// The outcomes of the waiting commands, where one server has every key.
async fn all(
    server: &Server,
    tries: &Tries,
    commands: &Sent,
    waiting: &[(usize, Route)],
) -> Vec<(usize, Outcome)> {
    let places: Vec<usize> = waiting.iter().map(|(place, _)| *place).collect();
    let sent = send(server, tries, commands, &places, false).await;
    places.into_iter().zip(sent).collect()
}

/// The outcomes of some commands on one server, in their order.
async fn send(
    server: &Server,
    tries: &Tries,
    commands: &Sent,
    places: &[usize],
    asking: bool,
) -> Vec<Outcome> {
    let count = if asking { places.len() * 2 } else { places.len() };
    let some = commands.some(places, asking);
    let mut answers = match server.send(tries.lane, tries.patience(), some, count).await {
        Ok(answers) => answers,
        Err(silence) => return places.iter().map(|_| failed(&silence, Some(server))).collect(),
    };
    if asking {
        // Every other answer is one to ASKING.
        answers = answers.into_iter().skip(1).step_by(2).collect();
    }
    let lacks_script = |answer: &Answer| matches!(answer, Answer::Error(complaint) if complaint.code == "NOSCRIPT");
    if answers.iter().any(lacks_script) {
        let mut load = Vec::new();
        for script in scripts::ALL {
            cmd("SCRIPT").arg("LOAD").arg(script.text).write_packed_command(&mut load);
        }
        let (lane, patience, count) = (tries.lane, tries.patience(), scripts::ALL.len());
        if let Err(silence) = server.send(lane, patience, load.into(), count).await {
            return places.iter().map(|_| failed(&silence, Some(server))).collect();
        }
    }
    answers.into_iter().map(judge).collect()
}

/// Whether an answer is one, or the command is worth another try.
fn judge(answer: Answer) -> Outcome {
    let Answer::Error(complaint) = &answer else {
        return Outcome::Answered(answer);
    };
    let route = match complaint.code.as_str() {
        "ASK" => redirect(&complaint.details).map_or(Route::Owner, Route::Taking),
        "MOVED" | "TRYAGAIN" | "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY"
        | "NOSCRIPT" => Route::Owner,
        _ => return Outcome::Answered(answer),
    };
    Outcome::Again(route, complaint.to_string())
}

/// The address in the details of `ASK`: a slot, then host and port.
fn redirect(details: &str) -> Option<Address> {
    let (host, port) = details.split_whitespace().nth(1)?.rsplit_once(':')?;
    let port = port.parse().ok()?;
    (!host.is_empty()).then(|| Address { host: host.to_owned(), port })
}

fn failed(silence: &Silence, server: Option<&Server>) -> Outcome {
    match (silence, server) {
        (Silence::Refused(why), _) => Outcome::Refused(why.clone()),
        (Silence::Resting, Some(server)) => Outcome::Resting(told(silence, server)),
        (Silence::Resting, None) => Outcome::Resting(RESTING.to_owned()),
        (Silence::Lost(_), Some(server)) => Outcome::Again(Route::Owner, told(silence, server)),
        (Silence::Lost(why), None) => Outcome::Again(Route::Owner, why.clone()),
    }
}

fn told(silence: &Silence, server: &Server) -> String {
    match silence {
        Silence::Lost(why) | Silence::Refused(why) => format!("{}: {why}", server.address()),
        Silence::Resting => format!("{}: {RESTING}", server.address()),
    }
}

/// How often something is tried: a read a few times, since somebody waits for it; a write or a
/// walk as long as its timeout, so that a server which is started again or replaced is not noticed.
struct Tries {
    lane: Lane,
    made: u32,
    attempts: u32,
    read_timeout: Duration,
    /// When the time of a write or a walk is up.
    until: Instant,
}

impl Tries {
    fn new(lane: Lane, options: &RedisOptions) -> Self {
        Self {
            lane,
            made: 1,
            attempts: options.attempts,
            read_timeout: options.read_timeout,
            until: Instant::now() + options.write_timeout,
        }
    }

    /// How long an answer is waited for now. An attempt at a write gets half of the time that is
    /// left, as long as it is not the last: where a connection was lost without a word, a new one is
    /// of use.
    fn patience(&self) -> Duration {
        let left = self.until.saturating_duration_since(Instant::now());
        match self.lane {
            Lane::Read => self.read_timeout,
            Lane::Bulk if self.made < self.attempts => left / 2,
            Lane::Bulk => left,
        }
    }

    /// Waits before the next try; `false`, at once, where there is to be none.
    async fn pause(&mut self) -> bool {
        let pause = Duration::from_millis(10).saturating_mul(1 << self.made.min(10));
        // Between half and all of it, so that those who failed together do not come back together.
        let share = 0.5 + rand::random::<f64>() / 2.0;
        let pause = pause.min(LONGEST_PAUSE).mul_f64(share);
        let goes_on = match self.lane {
            Lane::Read => self.made < self.attempts,
            Lane::Bulk => Instant::now() + pause < self.until,
        };
        if goes_on {
            sleep(pause).await;
            self.made += 1;
        }
        goes_on
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::{
        super::fake::{Fake, text},
        *,
    };
    use crate::error::Kind;

    /// The answer to `CLUSTER SLOTS`.
    fn slots(ranges: &[(u16, u16, &Address)]) -> String {
        let range = |(first, last, Address { host, port }): &(u16, u16, &Address)| {
            format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{}:{port}\r\n", text(host))
        };
        format!("*{}\r\n{}", ranges.len(), ranges.iter().map(range).collect::<String>())
    }

    /// Commands to give what keys have.
    fn get(names: &[String]) -> Commands {
        let mut commands = Commands::default();
        for name in names {
            commands.push(Tag::of(name.as_bytes()), cmd("GET").arg(name));
        }
        commands
    }

    /// A Cluster of two nodes until somebody asks one of them for a key: then a new node has all
    /// slots. It answers to `GET` with the name of the key.
    async fn cluster_whose_slots_move() -> Router {
        let [low, high, new] = [Fake::bind().await, Fake::bind().await, Fake::bind().await];
        let url = format!("redis+cluster://{}", low.address).parse().unwrap();
        let addresses = [&low, &high, &new].map(|node| node.address.clone());
        let has_moved = Arc::new(AtomicBool::new(false));
        for node in [low, high] {
            let (has_moved, [low, high, new]) = (Arc::clone(&has_moved), addresses.clone());
            node.serve(move |words| match (words, has_moved.load(Ordering::Relaxed)) {
                (["CLUSTER", ..], false) => slots(&[(0, 8191, &low), (8192, 16_383, &high)]),
                (["CLUSTER", ..], true) => slots(&[(0, 16_383, &new)]),
                _ => {
                    has_moved.store(true, Ordering::Relaxed);
                    format!("-MOVED 0 {new}\r\n")
                }
            });
        }
        new.serve(|words| text(words[1]));
        Router::new(RedisOptions::new(url)).unwrap()
    }

    #[tokio::test]
    async fn every_command_has_its_own_answer_when_slots_move() {
        let names_in = |half: u16| {
            let names = (0..).map(|id| format!("entity {id}"));
            names.filter(move |name| Tag::of(name.as_bytes()).slot() / 8192 == half)
        };
        // By turns, so that no order of the two nodes is that of the names.
        let names: Vec<String> =
            names_in(0).zip(names_in(1)).take(3).flat_map(|(low, high)| [low, high]).collect();
        let router = cluster_whose_slots_move().await;
        let answers = router.run(Lane::Read, get(&names)).await.unwrap();
        let expected: Vec<Answer> =
            names.into_iter().map(|name| Answer::Text(name.into())).collect();
        assert_eq!(answers, expected);
    }

    #[tokio::test]
    async fn sentinels_and_nodes_that_do_not_answer_are_asked_once_for_all() {
        let check = async |scheme: &str, path: &str| {
            let asked = Arc::new(AtomicUsize::new(0));
            let mut addresses = Vec::new();
            for _ in 0..3 {
                let (silent, asked) = (Fake::bind().await, Arc::clone(&asked));
                addresses.push(silent.address.to_string());
                silent.serve(move |_| {
                    asked.fetch_add(1, Ordering::Relaxed);
                    String::new()
                });
            }
            let url = format!("{scheme}://{}{path}", addresses.join(",")).parse().unwrap();
            let mut options = RedisOptions::new(url);
            options.read_timeout = Duration::from_millis(50);
            options.breaker_failures = 5;
            options.breaker_pause = Duration::from_secs(3600);
            let router = Router::new(options).unwrap();
            let name = ["a".to_owned()];
            for read in join_all((0..20).map(|_| router.run(Lane::Read, get(&name)))).await {
                assert_eq!(read.unwrap_err().kind(), Kind::Unavailable, "{scheme}");
            }
            let asked = asked.load(Ordering::Relaxed);
            assert!(asked <= 5 * 3, "{scheme}: asked {asked} times");
        };
        check("redis+sentinel", "/main").await;
        check("redis+cluster", "").await;
    }

    #[tokio::test]
    async fn a_node_that_answers_again_is_found() {
        let [low, high] = [Fake::bind().await, Fake::bind().await];
        let url = format!("redis+cluster://{}", low.address).parse().unwrap();
        let map = slots(&[(0, 8191, &low.address), (8192, 16_383, &high.address)]);
        low.serve(move |_| map.clone());
        tokio::spawn(async move {
            // After the first attempt was waited for in vain.
            sleep(Duration::from_millis(1200)).await;
            high.serve(|words| text(words[1]));
        });
        let mut options = RedisOptions::new(url);
        options.write_timeout = Duration::from_secs(2);
        options.breaker_failures = 1;
        options.breaker_pause = Duration::from_millis(50);
        let mut names = (0..).map(|id| format!("entity {id}"));
        let name = names.find(|name| Tag::of(name.as_bytes()).slot() >= 8192).unwrap();
        let router = Router::new(options).unwrap();
        let answers = router.run(Lane::Bulk, get(std::slice::from_ref(&name))).await;
        assert_eq!(answers.unwrap(), [Answer::Text(name.into())]);
    }

    /// A sentinel that says that these are the master, one after the other; the last one stays.
    async fn sentinel(masters: Vec<Address>) -> Address {
        let (sentinel, asked) = (Fake::bind().await, AtomicUsize::new(0));
        let address = sentinel.address.clone();
        sentinel.serve(move |_| {
            let asked = asked.fetch_add(1, Ordering::Relaxed);
            let Address { host, port } = &masters[asked.min(masters.len() - 1)];
            format!("*2\r\n{}{}", text(host), text(&port.to_string()))
        });
        address
    }

    /// A server of this role, whose keys all have that name.
    async fn server(role: &'static str, name: &'static str) -> Address {
        let server = Fake::bind().await;
        let address = server.address.clone();
        server.serve(move |words| match words {
            ["HELLO", "2"] => {
                format!("*4\r\n{}:2\r\n{}{}", text("proto"), text("role"), text(role))
            }
            _ => text(name),
        });
        address
    }

    #[tokio::test]
    async fn a_sentinel_that_does_not_answer_keeps_nobody_waiting() {
        let (silent, other) = (Fake::bind().await, Fake::bind().await);
        let knows = sentinel(vec![server("master", "new").await]).await;
        let sentinels = format!("{},{},{knows}", silent.address, other.address);
        let mut options =
            RedisOptions::new(format!("redis+sentinel://{sentinels}/main").parse().unwrap());
        options.read_timeout = Duration::from_secs(10);
        let begin = Instant::now();
        let answers = Router::new(options).unwrap().run(Lane::Read, get(&["a".to_owned()])).await;
        assert_eq!(answers.unwrap(), [Answer::Text("new".into())]);
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }

    #[tokio::test]
    async fn a_master_that_has_become_a_replica_is_not_read() {
        let masters = vec![server("replica", "old").await, server("master", "new").await];
        let url = format!("redis+sentinel://{}/main", sentinel(masters).await).parse().unwrap();
        let router = Router::new(RedisOptions::new(url)).unwrap();
        let answers = router.run(Lane::Read, get(&["a".to_owned()])).await.unwrap();
        assert_eq!(answers, [Answer::Text("new".into())]);
    }

    #[tokio::test]
    async fn a_write_and_its_repetitions_take_no_longer_than_its_timeout() {
        let asked = Arc::new(AtomicUsize::new(0));
        let (silent, counted) = (Fake::bind().await, Arc::clone(&asked));
        let url = format!("redis://{}", silent.address).parse().unwrap();
        silent.serve(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            String::new()
        });
        let mut options = RedisOptions::new(url);
        options.write_timeout = Duration::from_millis(1500);
        let router = Router::new(options).unwrap();
        let begin = Instant::now();
        let written = router.run(Lane::Bulk, get(&["a".to_owned()])).await;
        assert_eq!(written.unwrap_err().kind(), Kind::Unavailable);
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        assert!(asked.load(Ordering::Relaxed) > 1, "a lost connection is not waited for");
    }
}
