//! Redis servers that a test starts for itself, on free ports, and stops.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use redis::Connection;
use tempfile::TempDir;
use unskew::online::{RedisOptions, RedisStore};

/// Arguments of a server that keeps nothing on the disk.
pub const PLAIN: &[&str] = &["--save", "", "--appendonly", "no"];

/// Arguments of a server that has on the disk whatever it acknowledged or showed.
pub const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

/// How long a server may take to be ready.
const READY: Duration = Duration::from_secs(20);

/// A server in a folder of its own. It is killed with the test.
pub struct Server {
    process: Child,
    pub port: u16,
    pub folder: TempDir,
    arguments: Vec<String>,
}

impl Server {
    /// Starts a server with these arguments besides its port and its folder.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// As [`Server::start`], in a folder with files for it.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let port = free_port();
        let process = spawn(port, folder.path(), &arguments);
        let server = Self { process, port, folder, arguments };
        server.wait();
        server
    }

    fn wait(&self) {
        wait_for("the server listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on its port and its files.
    pub fn restart(&mut self) {
        self.process = spawn(self.port, self.folder.path(), &self.arguments);
        self.wait();
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn options(&self) -> RedisOptions {
        options(&self.url())
    }

    pub fn store(&self) -> RedisStore {
        RedisStore::new(self.options()).unwrap()
    }

    /// A connection of the test's own.
    pub fn connect(&self) -> Connection {
        redis::Client::open(self.url()).unwrap().get_connection().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Options for a busy machine: an answer may take its time.
pub fn options(url: &str) -> RedisOptions {
    let mut options = RedisOptions::new(url.parse().unwrap());
    options.connect_timeout = Duration::from_secs(10);
    options.read_timeout = Duration::from_secs(10);
    options.write_timeout = Duration::from_secs(30);
    options
}

fn spawn(port: u16, folder: &Path, arguments: &[String]) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = Command::new("redis-server");
    // A configuration file comes first, and a sentinel writes to its own.
    let (file, rest): (Vec<_>, Vec<_>) = arguments.iter().partition(|text| text.ends_with(".conf"));
    command.args(file).args(["--port", &port.to_string(), "--dir"]).arg(folder);
    command.args(["--bind", "127.0.0.1", "--daemonize", "no"]).args(rest);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("redis-server is installed: make servers")
}

/// A port that is free now, and so is the one ten thousand above it: a Cluster's nodes talk there.
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        if port < 55_000 && TcpListener::bind(("127.0.0.1", port + 10_000)).is_ok() {
            return port;
        }
    }
}

pub fn wait_for(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < READY, "{what}: not within {READY:?}");
        sleep(Duration::from_millis(20));
    }
}

/// Runs a program to its end, and gives what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}{error}");
    said
}

/// Three masters that are a Cluster.
pub struct Cluster {
    pub nodes: [Server; 3],
}

impl Cluster {
    pub fn start() -> Self {
        let nodes = [(); 3].map(|()| {
            Server::start(&["--cluster-enabled", "yes", "--save", "", "--appendonly", "no"])
        });
        let addresses: Vec<String> =
            nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut arguments = vec!["--cluster", "create"];
        arguments.extend(addresses.iter().map(String::as_str));
        arguments.extend(["--cluster-replicas", "0", "--cluster-yes"]);
        run("redis-cli", &arguments);
        let cluster = Self { nodes };
        cluster.wait();
        cluster
    }

    /// Waits until every node has heard who has what.
    pub fn wait(&self) {
        for node in &self.nodes {
            wait_for("the Cluster is there", || {
                let info: redis::RedisResult<String> =
                    redis::cmd("CLUSTER").arg("INFO").query(&mut node.connect());
                info.is_ok_and(|info| info.contains("cluster_state:ok"))
            });
        }
    }

    pub fn url(&self) -> String {
        format!("redis+cluster://127.0.0.1:{}", self.nodes[0].port)
    }

    /// The id of a node.
    pub fn id(&self, node: usize) -> String {
        redis::cmd("CLUSTER").arg("MYID").query(&mut self.nodes[node].connect()).unwrap()
    }
}

/// A master, a replica and three sentinels that watch them as the service `main`.
pub struct Watched {
    pub servers: [Server; 2],
    pub sentinels: [Server; 3],
}

impl Watched {
    pub fn start() -> Self {
        let master = Server::start(&["--save", "", "--repl-diskless-sync-delay", "0"]);
        let port = master.port.to_string();
        let replica = Server::start(&["--save", "", "--replicaof", "127.0.0.1", &port]);
        let sentinels = [(); 3].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("sentinel.conf");
            let settings = format!(
                "sentinel monitor main 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds main 500\n\
                 sentinel failover-timeout main 3000\n"
            );
            fs::write(&file, settings).unwrap();
            Server::start_in(folder, &[file.to_str().unwrap(), "--sentinel"])
        });
        let watched = Self { servers: [master, replica], sentinels };
        watched.wait();
        watched
    }

    /// Waits until the replica follows, and the sentinels know of it and of each other.
    fn wait(&self) {
        wait_for("the replica follows", || {
            let info: String = redis::cmd("INFO")
                .arg("replication")
                .query(&mut self.servers[1].connect())
                .unwrap();
            info.contains("master_link_status:up")
        });
        for sentinel in &self.sentinels {
            wait_for("the sentinels know each other", || {
                let info: String =
                    redis::cmd("INFO").arg("sentinel").query(&mut sentinel.connect()).unwrap();
                info.contains("status=ok") && info.contains("slaves=1,sentinels=3")
            });
        }
    }

    pub fn url(&self) -> String {
        let addresses: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", addresses.join(","))
    }
}
