//! The streams of an HTTP/2 connection: whether there are any, and whether their answers are taken.
//! Nothing below sees that: a client may take every byte that is sent, answer every ping, and never
//! allow the body of an answer.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use hyper::body::{Buf, Bytes, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

/// The streams of one connection.
#[derive(Debug, Clone)]
pub(super) struct Streams(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    /// Those that are open, by number, and when the client took something of the answer, or could
    /// have begun to; `None` as long as there is no answer.
    open: BTreeMap<u64, Option<Instant>>,
    next: u64,
    /// Since when none is open, where that is so.
    idle_since: Instant,
}

/// Why a connection is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// No stream was open for too long.
    Idle,
    /// Nothing of an answer was taken for too long.
    Unread,
}

impl Streams {
    /// Those of a connection that begins now.
    pub(super) fn new() -> Self {
        let known = Known { open: BTreeMap::new(), next: 0, idle_since: Instant::now() };
        Self(Arc::new(Mutex::new(known)))
    }

    /// A new one.
    pub(super) fn open(&self) -> Arc<Stream> {
        let mut known = self.lock();
        let number = known.next;
        known.next += 1;
        known.open.insert(number, None);
        Arc::new(Stream { streams: self.clone(), number })
    }

    /// Waits until the connection has idled, or an answer was left unread, for so long.
    pub(super) async fn overdue(&self, idle: Duration, unread: Duration) -> Overdue {
        loop {
            match self.check(Instant::now(), idle, unread) {
                Ok(next) => sleep_until(next).await,
                Err(overdue) => return overdue,
            }
        }
    }

    /// When to look again, where nothing is overdue.
    fn check(&self, now: Instant, idle: Duration, unread: Duration) -> Result<Instant, Overdue> {
        let known = self.lock();
        // Whatever begins from now on is not due before that.
        let later = now + idle.min(unread);
        let (due, overdue) = match known.open.values().flatten().min() {
            Some(taken) => (*taken + unread, Overdue::Unread),
            None if known.open.is_empty() => (known.idle_since + idle, Overdue::Idle),
            None => return Ok(later),
        };
        if due <= now { Err(overdue) } else { Ok(due.min(later)) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream, open until this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    streams: Streams,
    number: u64,
}

impl Stream {
    /// The client took something of the answer, or can begin to.
    fn took(&self) {
        self.streams.lock().open.insert(self.number, Some(Instant::now()));
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let mut known = self.streams.lock();
        known.open.remove(&self.number);
        if known.open.is_empty() {
            known.idle_since = Instant::now();
        }
    }
}

/// The body of an answer. It keeps its stream open, where it is on one, until all of it is taken.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    stream: Option<Arc<Stream>>,
}

impl Answer {
    /// This body, which is there to be taken from now on.
    pub(super) fn new(body: Body, stream: Option<Arc<Stream>>) -> Self {
        if let Some(stream) = &stream {
            stream.took();
        }
        Self { body, stream }
    }
}

impl hyper::body::Body for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let piece = |bytes| Piece { bytes, stream: self.stream.clone() };
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A piece of an answer, held until the client takes it.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    stream: Option<Arc<Stream>>,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, taken: usize) {
        self.bytes.advance(taken);
        if let Some(stream) = &self.stream {
            stream.took();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use hyper::body::Body as _;

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);
    const UNREAD: Duration = Duration::from_secs(10);

    #[test]
    fn a_connection_is_overdue_when_it_idles_or_an_answer_is_left() {
        let (start, streams) = (Instant::now(), Streams::new());
        // What is to be said so many seconds later.
        let check = |seconds: u64, expected: Result<u64, Overdue>| {
            let now = start + Duration::from_secs(seconds);
            let next = streams.check(now, IDLE, UNREAD);
            let next = next.map(|next| (next - now).as_secs_f64().round() as u64);
            assert_eq!(next, expected, "after {seconds} s");
        };
        check(0, Ok(10));
        check(25, Ok(5));
        check(31, Err(Overdue::Idle));
        let (first, second) = (streams.open(), streams.open());
        // A request may take as long as it takes.
        check(1_000, Ok(10));
        let mut body = Answer::new(Body::from("abc"), Some(first));
        check(4, Ok(6));
        check(11, Err(Overdue::Unread));
        let frame = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context));
        let frame = frame.now_or_never().unwrap().unwrap().unwrap();
        let mut piece = frame.into_data().unwrap();
        drop(body);
        check(11, Err(Overdue::Unread));
        let due = || streams.check(start + UNREAD / 2, IDLE, UNREAD).unwrap();
        let (before, pause) = (due(), Duration::from_millis(20));
        std::thread::sleep(pause);
        assert_eq!(due(), before);
        piece.advance(1);
        assert!(due() >= before + pause);
        drop(piece);
        check(1_000, Ok(10));
        drop(second);
        check(25, Ok(5));
        check(31, Err(Overdue::Idle));
    }
}
