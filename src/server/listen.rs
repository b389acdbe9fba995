//! Connections: accepted up to a number, each with bounds on how long its client may take, and let
//! go in order when the server is asked to stop.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Settings,
    front::Front,
    streams::{Overdue, Streams},
};
use crate::metrics::CONNECTIONS;

/// What HTTP/2 begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long to wait before more of a preface is looked for, and after a failed accept.
const MOMENT: Duration = Duration::from_millis(20);

/// The most bytes that the head of a request may have.
const MAX_HEAD: u32 = 32 << 10;

/// Serves connections until `shutdown` is done; then lets the requests under way finish, for as
/// long as the settings say, and no longer: a client that never ends its request does not keep
/// the server.
pub(super) async fn serve(
    listener: TcpListener,
    front: Front,
    settings: &Settings,
    shutdown: impl Future<Output = ()>,
) {
    let connections = Connections {
        builder: builder(settings),
        front,
        header_timeout: settings.header_timeout.into(),
        write_timeout: settings.write_timeout.into(),
        draining: CancellationToken::new(),
        cut_off: CancellationToken::new(),
    };
    let permits = Arc::new(Semaphore::new(settings.max_connections as usize));
    let tracker = TaskTracker::new();
    let accepting = async {
        loop {
            let (stream, permit) = accept(&listener, &permits).await;
            tracker.spawn(connections.clone().serve(stream, permit));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    tracker.close();
    connections.draining.cancel();
    if timeout(settings.drain_timeout.into(), tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "requests were cut off at the end of the time");
    }
    connections.cut_off.cancel();
    tracker.wait().await;
}

/// The next connection, once there is room for it.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else {
            // Nobody closes the semaphore.
            return std::future::pending().await;
        };
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            // The client is gone already, or there are no more files for this process.
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(MOMENT).await;
            }
        }
    }
}

fn builder(settings: &Settings) -> Builder<TokioExecutor> {
    let header_timeout: Duration = settings.header_timeout.into();
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_headers(64)
        .max_buf_size(MAX_HEAD as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(header_timeout)
        .keep_alive_timeout(header_timeout)
        .max_concurrent_streams(128)
        .max_header_list_size(MAX_HEAD);
    builder
}

/// What every connection is served with.
#[derive(Clone)]
struct Connections {
    builder: Builder<TokioExecutor>,
    front: Front,
    header_timeout: Duration,
    write_timeout: Duration,
    /// Cancelled when the server is asked to stop: who has not asked for anything yet is let go,
    /// and the others with what they have asked for.
    draining: CancellationToken,
    /// Cancelled when the time to finish is over.
    cut_off: CancellationToken,
}

impl Connections {
    async fn serve(self, stream: TcpStream, _permit: OwnedSemaphorePermit) {
        CONNECTIONS.inc();
        let cut_off = self.cut_off.child_token();
        tokio::select! {
            () = self.converse(stream) => {}
            () = cut_off.cancelled() => {}
        }
        CONNECTIONS.dec();
    }

    async fn converse(self, stream: TcpStream) {
        // A small answer is not held back to be sent with the next one.
        let _ = stream.set_nodelay(true);
        // One of its own: whoever looks at a token locks it.
        let draining = self.draining.child_token();
        let first_words = tokio::select! {
            heard = timeout(self.header_timeout, is_http2(&stream)) => heard,
            () = draining.cancelled() => return,
        };
        let (builder, streams) = match first_words {
            Ok(Ok(true)) => (self.builder.http2_only(), Some(Streams::new())),
            Ok(Ok(false)) => (self.builder.http1_only(), None),
            _ => return,
        };
        let io = TokioIo::new(Impatient { stream, patience: self.write_timeout, stalled: None });
        let mut served = pin!(builder.serve_connection(io, self.front.on(streams.clone())));
        // Once it is said that no more is taken, the client has as long again to end: what else is
        // on the connection may be well.
        let (mut idle, mut unread) = (self.header_timeout, self.write_timeout);
        let mut leaving = false;
        loop {
            tokio::select! {
                ended = served.as_mut() => {
                    if let Err(error) = ended {
                        // Garbage, a client that went away or was too slow: nobody here can mend
                        // that.
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = draining.cancelled(), if !leaving => {}
                overdue = overdue(streams.as_ref(), idle, unread) => {
                    if leaving {
                        tracing::debug!(?overdue, "a connection was given up");
                        return;
                    }
                }
            }
            served.as_mut().graceful_shutdown();
            leaving = true;
            idle += self.header_timeout;
            unread += self.write_timeout;
        }
    }
}

/// As [`Streams::overdue`]; never without streams: HTTP/1 has a timer of its own for idle clients,
/// and sends all that it has.
async fn overdue(streams: Option<&Streams>, idle: Duration, unread: Duration) -> Overdue {
    match streams {
        Some(streams) => streams.overdue(idle, unread).await,
        None => std::future::pending().await,
    }
}

/// Whether the client speaks HTTP/2; nothing is taken from the stream.
async fn is_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    loop {
        let length = stream.peek(&mut start).await?;
        match start.get(..length) {
            Some([]) | None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(sent) if !PREFACE.starts_with(sent) => return Ok(false),
            Some(sent) if sent.len() == PREFACE.len() => return Ok(true),
            Some(_) => sleep(MOMENT).await,
        }
    }
}

/// A stream that fails when its client takes nothing for too long.
struct Impatient {
    stream: TcpStream,
    patience: Duration,
    /// Set while the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn writing<T>(
        &mut self,
        context: &mut TaskContext<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.writing(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.writing(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, net::SocketAddr, time::Instant};

    use axum::{Router, routing::get};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::server::{admission::Admission, front::Paths};

    const TIMEOUT: Duration = Duration::from_millis(500);

    /// Serves `/large`, an answer of many bytes, and `/slow`, one that comes late.
    async fn serving() -> SocketAddr {
        let text = "header_timeout = \"500ms\"\nwrite_timeout = \"500ms\"\ndrain_timeout = \"1s\"";
        let settings: Settings = toml::from_str(text).unwrap();
        let slow = async || {
            sleep(TIMEOUT * 3).await;
            "at last"
        };
        let routes = Router::new()
            .route("/large", get(async || vec![0_u8; 20_000]))
            .route("/slow", get(slow));
        let paths = Paths { all: BTreeSet::new(), open: BTreeSet::new() };
        let admission = Admission::new(&settings).unwrap();
        let front = Front::new(routes, paths.into(), admission.into(), settings.gzip_bytes);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            serve(listener, front, &settings, std::future::pending()).await;
        });
        address
    }

    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW_UPDATE: u8 = 8;

    /// What an acknowledgement and the last frame of a stream are marked with.
    const ACK_OR_END: u8 = 1;

    /// A client of HTTP/2 that says the least there is to say.
    struct Client(TcpStream);

    impl Client {
        /// One that takes no more than so many bytes of an answer before it allows more.
        async fn new(address: SocketAddr, window: u16) -> Self {
            let mut client = Self(TcpStream::connect(address).await.unwrap());
            client.0.write_all(PREFACE).await.unwrap();
            let [high, low] = window.to_be_bytes();
            client.send(SETTINGS, 0, 0, &[0, 4, 0, 0, high, low]).await.unwrap();
            client
        }

        async fn send(&mut self, kind: u8, flags: u8, of: u8, payload: &[u8]) -> io::Result<()> {
            let head = [0, 0, payload.len() as u8, kind, flags, 0, 0, 0, of];
            self.0.write_all(&[&head, payload].concat()).await
        }

        /// Asks for a path on the first stream.
        async fn ask(&mut self, path: &str) {
            // GET, http, the path as it is, and one letter of authority; all ends here.
            let start = [0x82, 0x86, 0x04, path.len() as u8];
            let block = [&start, path.as_bytes(), &[0x01, 1, b'x']].concat();
            self.send(HEADERS, 0x04 | ACK_OR_END, 1, &block).await.unwrap();
        }

        /// Answers what has to be, until the answer is there or the server ends the connection:
        /// whether it is there. Allows as much as it has, after a while, where it `reads`.
        async fn listen(&mut self, reads: bool) -> io::Result<bool> {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await?;
                let [_, high, low, kind, flags, ..] = head;
                let mut payload = vec![0; usize::from(u16::from_be_bytes([high, low]))];
                self.0.read_exact(&mut payload).await?;
                match kind {
                    DATA if flags & ACK_OR_END != 0 => return Ok(true),
                    DATA if reads => {
                        sleep(TIMEOUT / 5).await;
                        self.send(WINDOW_UPDATE, 0, 1, &[0, 0, high, low]).await?;
                    }
                    SETTINGS | PING if flags & ACK_OR_END == 0 => {
                        let payload = if kind == PING { &*payload } else { &[] };
                        self.send(kind, ACK_OR_END, 0, payload).await?;
                    }
                    _ => {}
                }
            }
        }
    }

    #[tokio::test]
    async fn http2_is_kept_for_those_who_ask_and_read() {
        let address = serving().await;
        let check = async |what: &str, window: u16, path: Option<&str>, reads, expected| {
            let start = Instant::now();
            let mut client = Client::new(address, window).await;
            if let Some(path) = path {
                client.ask(path).await;
            }
            let listened = timeout(Duration::from_secs(10), client.listen(reads)).await;
            let answered = listened.unwrap_or_else(|_| panic!("{what}: it is held for ever"));
            assert_eq!(answered.unwrap_or(false), expected, "{what}");
            let took = start.elapsed();
            assert!(took >= TIMEOUT, "{what}: it ended after {took:?}");
        };
        check("idle", 1_000, None, true, false).await;
        check("deaf", 0, Some("/large"), false, false).await;
        check("deaf but for one byte", 1, Some("/large"), false, false).await;
        check("slow", 1_000, Some("/large"), true, true).await;
        check("patient", 1_000, Some("/slow"), true, true).await;
    }
}
