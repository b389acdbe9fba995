//! The limits: what a bare client fetches from Redis without a feature server between, and what an
//! HTTP server gives that has its answer ready.

use std::{
    convert::Infallible,
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::Duration,
};

use axum::body::{Body, Bytes, to_bytes};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::runtime::Runtime;

use super::{
    load::{Load, Protocol},
    project::{ENTITIES, FEATURES, VIEWS, ids},
};

/// What a row of ten features takes: version, fingerprint, and a tag, a length and eight bytes for
/// each.
const ROW: usize = 25 + 17 + FEATURES * 13;

/// A Redis of our own, stopped when this is dropped.
pub struct Redis {
    child: Child,
    address: SocketAddr,
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
    pub fn start(folder: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let address = free.local_addr().expect("it has an address");
        drop(free);
        let port = address.port().to_string();
        let child = Command::new("redis-server")
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("there is a redis-server: make servers installs it");
        let redis = Self { child, address, url: format!("redis://{address}") };
        for _ in 0..100 {
            if redis.connect().is_ok() {
                return redis;
            }
            sleep(Duration::from_millis(50));
        }
        panic!("redis-server does not answer");
    }

    fn connect(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url.as_str())?.get_connection()
    }

    /// Writes a hash for every entity, with a row of our size for every view.
    pub fn fill(&self) {
        let mut connection = self.connect().expect("it answers");
        for first in (0..ENTITIES).step_by(1_000) {
            let mut pipe = redis::pipe();
            for id in first..first + 1_000 {
                let row = vec![id as u8; ROW];
                let fields: Vec<(String, &[u8])> =
                    (0..VIEWS).map(|view| (field(view), row.as_slice())).collect();
                pipe.hset_multiple(key(id), &fields).ignore();
            }
            pipe.exec(&mut connection).expect("it is written");
        }
    }

    /// A bare client that fetches the rows of so many entities at a time.
    pub fn load(&self, entities: usize, connections: usize, time: Duration) -> Load {
        let question = |number| {
            let mut question = String::new();
            for id in ids(number, entities) {
                let fields = (0..VIEWS).map(field);
                let parts = ["HMGET".to_owned(), key(id)].into_iter().chain(fields);
                write!(question, "*{}\r\n", VIEWS + 2).expect("a text takes all");
                for part in parts {
                    write!(question, "${}\r\n{part}\r\n", part.len()).expect("a text takes all");
                }
            }
            question.into_bytes()
        };
        let row = format!("${ROW}\r\n").len() + ROW + 2;
        let entity = format!("*{VIEWS}\r\n").len() + VIEWS * row;
        Load {
            address: self.address,
            protocol: Protocol::Length(entities * entity),
            questions: Arc::new((0..200).map(question).collect()),
            connections,
            time,
            rate: None,
        }
    }
}

fn key(id: i64) -> String {
    format!("limit:{id:08}")
}

fn field(view: usize) -> String {
    format!("view_{view:03}")
}

/// An HTTP server that reads a request and sends bytes which were there before; it ends when this is
/// dropped.
pub struct Canned {
    runtime: Option<Runtime>,
    pub address: SocketAddr,
}

impl Canned {
    /// Serves this body, as JSON, on as many threads as there are processors.
    pub fn serve(body: Vec<u8>) -> Self {
        let runtime = Runtime::new().expect("threads can be started");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it has an address");
        runtime.spawn(accept(listener, body.into()));
        Self { runtime: Some(runtime), address }
    }
}

impl Drop for Canned {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: tokio::net::TcpListener, body: Bytes) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection is accepted");
        stream.set_nodelay(true).expect("the socket can be set");
        let body = body.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let body = body.clone();
            async move {
                let _ = to_bytes(Body::new(request.into_body()), usize::MAX).await;
                let answer = Response::builder().header("content-type", "application/json");
                Ok::<_, Infallible>(answer.body(Body::from(body)).expect("it is an answer"))
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}
