//! A load: connections that ask one question after the other, and how long each answer took.
//!
//! One thread asks on all of them. What it sends was written before, and of what it gets it reads no
//! more than says where the answer ends: whatever the client costs is missing to the server, which
//! has the same processors.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, net::TcpStream};

/// Of how many answers one is kept, to be checked when the load is over.
const KEPT: usize = 499;

/// What a load came to.
pub struct Outcome {
    /// From the first question to the last answer.
    pub time: Duration,
    /// How long the answers took, in microseconds.
    pub micros: Histogram<u64>,
    /// Some of them, each with the place of its question.
    pub kept: Vec<(usize, Vec<u8>)>,
}

impl Outcome {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.time.as_secs_f64()
    }

    /// Takes what the same load came to another time along.
    pub fn add(&mut self, other: Self) {
        self.time += other.time;
        self.micros.add(other.micros).expect("both have the same bounds");
        self.kept.extend(other.kept);
    }

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
        let head = head_length(start)?;
        let text = std::str::from_utf8(&start[..head]).expect("a head is text");
        assert!(text.starts_with("HTTP/1.1 200 "), "{}", String::from_utf8_lossy(start));
        let length = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
        });
        Some(head + length.expect("the head says how long the body is"))
    }
}

/// The length of the head that an answer over HTTP begins with; `None` where it is not whole yet.
fn head_length(start: &[u8]) -> Option<usize> {
    Some(start.windows(4).position(|end| end == b"\r\n\r\n")? + 4)
}

/// The body of an answer over HTTP.
pub fn body(answer: &[u8]) -> &[u8] {
    &answer[head_length(answer).expect("it has a head")..]
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
        let asking = std::thread::spawn(move || Asking::new(&load).run());
        asking.join().expect("every answer was right")
    }
}

/// A load under way.
struct Asking<'a> {
    load: &'a Load,
    poll: Poll,
    lines: Vec<Line>,
    start: Instant,
    /// How long a line waits from one question to the next.
    pause: Option<Duration>,
    micros: Histogram<u64>,
    kept: Vec<(usize, Vec<u8>)>,
}

impl<'a> Asking<'a> {
    fn new(load: &'a Load) -> Self {
        let poll = Poll::new().expect("a thread can wait for sockets");
        let start = Instant::now();
        let pause = load.rate.map(|rate| Duration::from_secs_f64(load.connections as f64 / rate));
        let line = |number: usize| {
            let share = number as f64 / load.connections as f64;
            let due = start + pause.unwrap_or_default().mul_f64(share);
            Line::new(load.address, &poll, number, due)
        };
        let lines = (0..load.connections).map(line).collect();
        let micros = Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are sound");
        Self { load, poll, lines, start, pause, micros, kept: Vec::new() }
    }

    fn run(mut self) -> Outcome {
        let mut events = Events::with_capacity(self.lines.len());
        (0..self.lines.len()).for_each(|number| self.ask(number));
        while self.lines.iter().any(|line| !line.is_over) {
            let idle = self.lines.iter().filter(|line| line.asked.is_none() && !line.is_over);
            let next = idle.map(|line| line.due.saturating_duration_since(Instant::now())).min();
            match self.poll.poll(&mut events, next) {
                Err(error) if error.kind() != ErrorKind::Interrupted => panic!("{error}"),
                _ => {}
            }
            for event in &events {
                self.go_on(event.token().0);
            }
            if self.pause.is_some() {
                (0..self.lines.len()).for_each(|number| self.ask(number));
            }
        }
        // Up to the last answer: a slow one that was asked for in time is no faster for it.
        Outcome { time: self.start.elapsed(), micros: self.micros, kept: self.kept }
    }

    /// Asks the next question on a line that waits for nothing, if it is due.
    fn ask(&mut self, number: usize) {
        let line = &mut self.lines[number];
        let now = Instant::now();
        if line.asked.is_some() || line.is_over || line.due > now {
            return;
        }
        if now - self.start >= self.load.time {
            line.is_over = true;
            return;
        }
        if let Some(pause) = self.pause {
            line.due += pause;
        }
        line.place = (line.place + 1) % self.load.questions.len();
        (line.asked, line.sent, line.got, line.length) = (Some(now), 0, 0, None);
        self.go_on(number);
    }

    /// Does on a line what can be done without waiting.
    fn go_on(&mut self, number: usize) {
        let line = &mut self.lines[number];
        let Some(asked) = line.asked else { return };
        match line.go_on(&self.load.questions[line.place], self.load.protocol) {
            Ok(false) => return,
            Ok(true) => {}
            // A server may end a connection between two answers.
            Err(_) if line.got == 0 => {
                let due = line.due;
                self.lines[number] = Line::new(self.load.address, &self.poll, number, due);
                return self.ask(number);
            }
            Err(error) => panic!("the server ended an answer in its midst: {error}"),
        }
        let took = asked.elapsed().as_micros() as u64;
        self.micros.record(took.clamp(1, 60_000_000)).expect("it is within the bounds");
        if self.micros.len() as usize % KEPT == 1 {
            self.kept.push((line.place, line.buffer[..line.got].to_vec()));
        }
        line.asked = None;
        self.ask(number);
    }
}

/// A connection, with the question that is asked on it.
struct Line {
    stream: TcpStream,
    /// Which question.
    place: usize,
    /// When it was asked; `None` where none is.
    asked: Option<Instant>,
    /// Before when the next one is not asked.
    due: Instant,
    /// How much of the question is sent, and of the answer received.
    sent: usize,
    got: usize,
    /// How long the answer is, once that is known.
    length: Option<usize>,
    buffer: Vec<u8>,
    is_over: bool,
}

impl Line {
    fn new(address: SocketAddr, poll: &Poll, number: usize, due: Instant) -> Self {
        let stream = std::net::TcpStream::connect(address).expect("the server accepts");
        stream.set_nodelay(true).expect("the socket can be set");
        stream.set_nonblocking(true).expect("the socket can be set");
        let mut stream = TcpStream::from_std(stream);
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(number), both).expect("it is waited for");
        Self {
            stream,
            place: number * 7,
            asked: None,
            due,
            sent: 0,
            got: 0,
            length: None,
            buffer: vec![0; 64 << 10],
            is_over: false,
        }
    }

    /// Sends the rest of the question, or receives more of the answer; whether that is whole.
    fn go_on(&mut self, question: &[u8], protocol: Protocol) -> io::Result<bool> {
        while self.sent < question.len() {
            match self.stream.write(&question[self.sent..]) {
                Ok(more) => self.sent += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            // There is no answer yet: that there is one will be told.
            if self.sent == question.len() {
                return Ok(false);
            }
        }
        while self.length.is_none_or(|length| self.got < length) {
            if self.got == self.buffer.len() {
                self.buffer.resize(self.got * 2, 0);
            }
            match self.stream.read(&mut self.buffer[self.got..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(more) => self.got += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            self.length = self.length.or_else(|| protocol.length(&self.buffer[..self.got]));
        }
        assert_eq!(Some(self.got), self.length, "more than an answer");
        Ok(true)
    }
}
