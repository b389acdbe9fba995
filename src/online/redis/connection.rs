//! A connection to a server, which many ask on at once.
//!
//! Whoever asks while others wait is sent along with them, and the answers come in the order of the
//! questions: a task writes and reads, and cuts what it reads into answers. What they say is read by
//! whoever asked ([`answer`](super::answer)).
//!
//! The crate `redis` writes the commands. Its own connection does the same as this one, but reads
//! answers by a combinator of parsers, in the one task: that took a quarter of the time of a request
//! for a hundred entities.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{mpsc, oneshot},
};
use tokio_util::io::{poll_read_buf, poll_write_buf};

use super::{answer, options::Address, tls::Tls};

/// How much room is made when more is received, and how much is too little.
const ROOM: usize = 64 << 10;
const LITTLE: usize = 4 << 10;

/// Fewer bytes than this are not sent at once.
const FEW: usize = 1 << 10;

/// What bytes go through: TCP, or TLS over it.
trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// An open connection. It ends when it is dropped, or fails.
#[derive(Debug)]
pub(super) struct Connection(mpsc::UnboundedSender<Question>);

/// Commands, and who waits for the answers to them.
#[derive(Debug)]
struct Question {
    commands: Bytes,
    count: usize,
    asker: oneshot::Sender<Result<Bytes, String>>,
}

impl Connection {
    /// Connects to a server.
    pub(super) async fn open(address: &Address, tls: Option<&Tls>) -> io::Result<Self> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let transport: Box<dyn Transport> = match tls {
            Some(tls) => Box::new(tls.connect(address, stream).await?),
            None => Box::new(stream),
        };
        let (asked, questions) = mpsc::unbounded_channel();
        tokio::spawn(Conversation::new(transport, questions).hold());
        Ok(Self(asked))
    }

    /// Sends commands in one piece, and gives the answers to them as they came: as many as it is
    /// told there are commands. Whoever stops waiting leaves nothing behind.
    ///
    /// # Errors
    /// Why there are none: the connection is of no use then.
    pub(super) async fn ask(&self, commands: Bytes, count: usize) -> Result<Bytes, String> {
        let (asker, answers) = oneshot::channel();
        let ended = || "the connection has ended".to_owned();
        self.0.send(Question { commands, count, asker }).map_err(|_| ended())?;
        answers.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Whether it is of no use any more.
    pub(super) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

/// What the task of a connection knows.
struct Conversation {
    transport: Box<dyn Transport>,
    questions: mpsc::UnboundedReceiver<Question>,
    unsent: BytesMut,
    /// Whether those who are about to ask have had the time to.
    is_gathered: bool,
    is_flushed: bool,
    received: BytesMut,
    /// Those whose answers are still to come, in the order in which they asked.
    waiting: VecDeque<Waiting>,
}

/// Somebody whose answers come next.
struct Waiting {
    /// How many of them have not come, and how many bytes those are that have.
    missing: usize,
    length: usize,
    asker: oneshot::Sender<Result<Bytes, String>>,
}

impl Conversation {
    fn new(transport: Box<dyn Transport>, questions: mpsc::UnboundedReceiver<Question>) -> Self {
        Self {
            transport,
            questions,
            unsent: BytesMut::new(),
            is_gathered: false,
            is_flushed: true,
            received: BytesMut::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Until nobody can ask any more, or the connection fails: everybody is told why.
    async fn hold(mut self) {
        let Err(error) = poll_fn(|cx| self.poll(cx)).await else { return };
        self.questions.close();
        let never_sent = std::iter::from_fn(|| self.questions.try_recv().ok());
        let askers = self.waiting.into_iter().map(|waiting| waiting.asker);
        for asker in askers.chain(never_sent.map(|question| question.asker)) {
            // Some do not wait any more.
            let _ = asker.send(Err(error.to_string()));
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Poll::Ready(question) = self.questions.poll_recv(cx) {
            let Some(Question { commands, count, asker }) = question else {
                return Poll::Ready(Ok(()));
            };
            self.unsent.extend_from_slice(&commands);
            self.waiting.push_back(Waiting { missing: count, length: 0, asker });
        }
        if (1..FEW).contains(&self.unsent.len()) && !self.is_gathered {
            // After the tasks that are about to run, which may ask as well: to send a short question
            // costs more than to write it, and several are sent for the price of one.
            self.is_gathered = true;
            cx.waker().wake_by_ref();
        } else if let Poll::Ready(Err(error)) = self.poll_send(cx) {
            return Poll::Ready(Err(error));
        }
        // Answers are taken while there is more to send: both sides might wait otherwise.
        loop {
            ready!(self.poll_receive(cx))?;
            self.hand_out()?;
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            self.is_flushed = false;
            let sent = poll_write_buf(Pin::new(&mut self.transport), cx, &mut self.unsent);
            if ready!(sent)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.is_flushed = true;
        }
        self.is_gathered = false;
        Poll::Ready(Ok(()))
    }

    /// Receives what there is, and something at least.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.received.capacity() - self.received.len() < LITTLE {
            self.received.reserve(ROOM);
        }
        match ready!(poll_read_buf(Pin::new(&mut self.transport), cx, &mut self.received))? {
            0 => {
                let ended = "the server has closed the connection";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, ended)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Gives those their answers whose answers are whole.
    fn hand_out(&mut self) -> io::Result<()> {
        while let Some(first) = self.waiting.front_mut() {
            while first.missing > 0 {
                let Some(length) = answer::length(&self.received[first.length..])? else {
                    return Ok(());
                };
                first.length += length;
                first.missing -= 1;
            }
            let answers = self.received.split_to(first.length).freeze();
            if let Some(first) = self.waiting.pop_front() {
                // Some do not wait any more.
                let _ = first.asker.send(Ok(answers));
            }
        }
        match self.received.is_empty() {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer to no question")),
        }
    }
}
