//! The limit: a bare client that fetches as many bytes from Redis, without a feature server between.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tokio::{task::JoinSet, time::sleep};

use super::{
    load::{Outcome, histogram},
    project::{ENTITIES, FEATURES, VIEWS},
};

/// What a row of ten features takes: version, fingerprint, and a tag, a length and eight bytes for
/// each.
const ROW: usize = 25 + 17 + FEATURES * 13;

/// A Redis of our own, stopped when this is dropped.
pub struct Redis {
    child: Child,
    /// `redis://HOST:PORT`.
    pub url: String,
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Redis {
    /// Starts one on a free port, which keeps nothing on disk.
    pub async fn start(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = free.local_addr().expect("it has an address").port().to_string();
        drop(free);
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("there is a redis-server: make servers installs it");
        let redis = Self { child, url: format!("redis://127.0.0.1:{port}") };
        for _ in 0..100 {
            if redis.connect().await.is_ok() {
                return redis;
            }
            sleep(Duration::from_millis(50)).await;
        }
        panic!("redis-server does not answer");
    }

    async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        redis::Client::open(self.url.as_str())?.get_multiplexed_async_connection().await
    }

    /// Writes a hash for every entity, with a row of our size for every view.
    pub async fn fill(&self) {
        let mut connection = self.connect().await.expect("it answers");
        for first in (0..ENTITIES).step_by(1_000) {
            let mut pipe = redis::pipe();
            for id in first..first + 1_000 {
                let row = vec![id as u8; ROW];
                let fields: Vec<(String, &[u8])> =
                    (0..VIEWS).map(|view| (field(view), row.as_slice())).collect();
                pipe.hset_multiple(key(id), &fields).ignore();
            }
            pipe.query_async::<()>(&mut connection).await.expect("it is written");
        }
    }

    /// Fetches the rows of so many entities again and again, on so many connections.
    pub async fn fetch(&self, entities: usize, connections: usize, time: Duration) -> Outcome {
        let mut tasks = JoinSet::new();
        for connection in 0..connections {
            let connected = self.connect().await.expect("it answers");
            tasks.spawn(fetch(connected, connection, entities, time));
        }
        Outcome::of(tasks.join_all().await, time)
    }
}

async fn fetch(
    mut connection: MultiplexedConnection,
    number: usize,
    entities: usize,
    time: Duration,
) -> hdrhistogram::Histogram<u64> {
    let fields: Vec<String> = (0..VIEWS).map(field).collect();
    let mut micros = histogram();
    let start = Instant::now();
    let mut next = number as i64 * 7_919;
    while start.elapsed() < time {
        let asked = Instant::now();
        let mut pipe = redis::pipe();
        for row in 0..entities as i64 {
            pipe.cmd("HMGET").arg(key((next + row * 104_729) % ENTITIES)).arg(&fields);
        }
        let rows: Vec<Vec<Vec<u8>>> = pipe.query_async(&mut connection).await.expect("it answers");
        assert_eq!((rows.len(), rows[0][0].len()), (entities, ROW));
        let took = asked.elapsed().as_micros() as u64;
        micros.record(took.clamp(1, 60_000_000)).expect("it is within the bounds");
        next += 1;
    }
    micros
}

fn key(id: i64) -> String {
    format!("limit:{id:08}")
}

fn field(view: usize) -> String {
    format!("view_{view:03}")
}
