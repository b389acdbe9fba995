//! A load: connections that ask one request after the other, and how long each took.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::{Body, to_bytes};
use hdrhistogram::Histogram;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet, time::sleep_until};

/// What a load came to.
pub struct Outcome {
    /// Answers a second.
    pub rate: f64,
    /// How long they took, in microseconds.
    pub micros: Histogram<u64>,
}

impl Outcome {
    /// From what every connection saw within `time`.
    pub fn of(seen: impl IntoIterator<Item = Histogram<u64>>, time: Duration) -> Self {
        let mut micros = histogram();
        for histogram in seen {
            micros.add(histogram).expect("all have the same bounds");
        }
        Self { rate: micros.len() as f64 / time.as_secs_f64(), micros }
    }

    /// The time in milliseconds that this part of the answers took at the most.
    pub fn millis(&self, quantile: f64) -> f64 {
        self.micros.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// An empty histogram: up to a minute, to three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound")
}

/// Asks on so many connections for so long, one request after the other; at `rate` requests a second
/// all together, where one is given. Every answer has to be 200.
pub async fn http(
    address: SocketAddr,
    bodies: &Arc<Vec<String>>,
    connections: usize,
    time: Duration,
    rate: Option<f64>,
) -> Outcome {
    let pause = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
    let mut tasks = JoinSet::new();
    for connection in 0..connections {
        let bodies = Arc::clone(bodies);
        tasks.spawn(async move { converse(address, &bodies, connection, time, pause).await });
    }
    Outcome::of(tasks.join_all().await, time)
}

async fn connect(address: SocketAddr) -> http1::SendRequest<Body> {
    let stream = TcpStream::connect(address).await.expect("the server accepts");
    stream.set_nodelay(true).expect("the socket can be set");
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await.expect("it is HTTP");
    tokio::spawn(driver);
    sender
}

async fn converse(
    address: SocketAddr,
    bodies: &[String],
    connection: usize,
    time: Duration,
    pause: Option<Duration>,
) -> Histogram<u64> {
    let mut sender = connect(address).await;
    let mut micros = histogram();
    let start = Instant::now();
    let mut due = start + pause.unwrap_or_default().mul_f64(connection as f64 / 16.0 % 1.0);
    for body in bodies.iter().cycle().skip(connection * 7) {
        if let Some(pause) = pause {
            sleep_until(due.into()).await;
            due += pause;
        }
        let asked = Instant::now();
        if asked - start >= time {
            break;
        }
        let request = Request::post("/get-online-features")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Body::from(body.clone()))
            .expect("the request is sound");
        // Feast's workers end after so many requests, and their connections with them.
        let Ok(answer) = sender.send_request(request).await else {
            sender = connect(address).await;
            continue;
        };
        let status = answer.status();
        let text = to_bytes(Body::new(answer.into_body()), usize::MAX).await.expect("to its end");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&text));
        let took = asked.elapsed().as_micros() as u64;
        micros.record(took.clamp(1, 60_000_000)).expect("it is within the bounds");
    }
    micros
}
