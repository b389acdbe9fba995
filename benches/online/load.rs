//! A load: connections that ask one question after the other, and how long each answer took.
//!
//! One thread asks on all of them. What it sends was written before, and of what it gets it reads no
//! more than says where the answer ends: whatever the client costs is missing to the server, which
//! has the same processors.

use std::{net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{LocalSet, spawn_local},
    time::{Instant, sleep_until},
};

/// Of how many answers one is kept, to be checked when the load is over.
const KEPT: usize = 499;

/// What a load came to.
pub struct Outcome {
    /// Answers a second.
    pub rate: f64,
    /// How long they took, in microseconds.
    pub micros: Histogram<u64>,
    /// Some of them, each with the place of its question.
    pub kept: Vec<(usize, Vec<u8>)>,
}

impl Outcome {
    /// The time in milliseconds that this part of the answers took at the most.
    pub fn millis(&self, quantile: f64) -> f64 {
        self.micros.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// How a client knows where an answer ends.
#[derive(Clone, Copy)]
pub enum Protocol {
    /// Status 200, and as many bytes as the head says.
    Http,
    /// So many bytes: every answer of a bare client of Redis has the same length.
    Length(usize),
}

impl Protocol {
    /// The length of the answer that begins so; `None` where that cannot be said yet.
    fn length(self, start: &[u8]) -> Option<usize> {
        let Self::Http = self else {
            let Self::Length(length) = self else { unreachable!("there are two") };
            return Some(length);
        };
        let head = start.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
        let text = std::str::from_utf8(&start[..head]).expect("a head is text");
        assert!(text.starts_with("HTTP/1.1 200 "), "{}", String::from_utf8_lossy(start));
        let length = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        Some(head + length.expect("the head says how long the body is"))
    }
}

/// Who is asked, and how.
#[derive(Clone)]
pub struct Load {
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub questions: Arc<Vec<Vec<u8>>>,
    pub connections: usize,
    pub time: Duration,
    /// Questions a second, of all connections together; as many as are answered, where it is `None`.
    pub rate: Option<f64>,
}

impl Load {
    /// Asks, on a thread of its own, until the time is over.
    pub fn run(&self) -> Outcome {
        let load = self.clone();
        let asking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a thread can wait for sockets");
            LocalSet::new().block_on(&runtime, load.converse())
        });
        asking.join().expect("every answer was right")
    }

    async fn converse(self) -> Outcome {
        let load = Rc::new(self);
        let start = Instant::now();
        let one = |number| spawn_local(Rc::clone(&load).ask_again_and_again(number, start));
        let conversations: Vec<_> = (0..load.connections).map(one).collect();
        let (mut micros, mut kept) = (histogram(), Vec::new());
        for conversation in conversations {
            let (times, some) = conversation.await.expect("every answer was right");
            micros.add(times).expect("all have the same bounds");
            kept.extend(some);
        }
        // Up to the last answer: a slow one that was asked for in time is no faster for it.
        Outcome { rate: micros.len() as f64 / start.elapsed().as_secs_f64(), micros, kept }
    }

    async fn ask_again_and_again(
        self: Rc<Self>,
        number: usize,
        start: Instant,
    ) -> (Histogram<u64>, Vec<(usize, Vec<u8>)>) {
        let (mut micros, mut kept) = (histogram(), Vec::new());
        let mut line = Line::connect(&self).await;
        let pause = self.rate.map(|rate| Duration::from_secs_f64(self.connections as f64 / rate));
        let share = number as f64 / self.connections as f64;
        let mut due = start + pause.unwrap_or_default().mul_f64(share);
        let mut place = number * 7;
        loop {
            place = (place + 1) % self.questions.len();
            if let Some(pause) = pause {
                sleep_until(due).await;
                due += pause;
            }
            let asked = Instant::now();
            if asked - start >= self.time {
                return (micros, kept);
            }
            // A server may end a connection between two answers.
            let Some(answer) = line.ask(&self.questions[place], self.protocol).await else {
                line = Line::connect(&self).await;
                continue;
            };
            let took = asked.elapsed().as_micros() as u64;
            micros.record(took.clamp(1, 60_000_000)).expect("it is within the bounds");
            if micros.len() as usize % KEPT == 1 {
                kept.push((place, answer.to_vec()));
            }
        }
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound")
}

/// A connection, and room for an answer.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    async fn connect(load: &Load) -> Self {
        let stream = TcpStream::connect(load.address).await.expect("the server accepts");
        stream.set_nodelay(true).expect("the socket can be set");
        Self { stream, buffer: vec![0; 64 << 10] }
    }

    /// The whole answer; `None` where the server ended the connection before it began with it.
    async fn ask(&mut self, question: &[u8], protocol: Protocol) -> Option<&[u8]> {
        self.stream.write_all(question).await.ok()?;
        let (mut got, mut length) = (0, None);
        while length.is_none_or(|length| got < length) {
            if got == self.buffer.len() {
                self.buffer.resize(got * 2, 0);
            }
            match self.stream.read(&mut self.buffer[got..]).await {
                Ok(0) | Err(_) if got == 0 => return None,
                Ok(0) | Err(_) => panic!("the server ended an answer in its midst"),
                Ok(more) => got += more,
            }
            length = length.or_else(|| protocol.length(&self.buffer[..got]));
        }
        assert_eq!(Some(got), length, "more than an answer");
        Some(&self.buffer[..got])
    }
}
