//! Connections: accepted up to a number, each with bounds on how long its client may take, and let
//! go in order when the server is asked to stop.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Settings, front::Front};
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
    let graceful = GracefulShutdown::new();
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
            tracker.spawn(connections.clone().serve(stream, permit, graceful.watcher()));
        }
    };
    tokio::select! {
        () = accepting => {}
        () = shutdown => {}
    }
    drop(listener);
    tracker.close();
    connections.draining.cancel();
    if timeout(settings.drain_timeout.into(), graceful.shutdown()).await.is_err() {
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
    /// Cancelled when the server is asked to stop: who has not asked for anything yet is let go.
    draining: CancellationToken,
    /// Cancelled when the time to finish is over.
    cut_off: CancellationToken,
}

impl Connections {
    async fn serve(self, stream: TcpStream, _permit: OwnedSemaphorePermit, watcher: Watcher) {
        CONNECTIONS.inc();
        let cut_off = self.cut_off.clone();
        tokio::select! {
            () = self.converse(stream, watcher) => {}
            () = cut_off.cancelled() => {}
        }
        CONNECTIONS.dec();
    }

    async fn converse(self, stream: TcpStream, watcher: Watcher) {
        // A small answer is not held back to be sent with the next one.
        let _ = stream.set_nodelay(true);
        let first_words = tokio::select! {
            heard = timeout(self.header_timeout, is_http2(&stream)) => heard,
            () = self.draining.cancelled() => return,
        };
        let Ok(Ok(http2)) = first_words else {
            return;
        };
        let builder = match http2 {
            true => self.builder.http2_only(),
            false => self.builder.http1_only(),
        };
        let io = TokioIo::new(Impatient { stream, patience: self.write_timeout, stalled: None });
        let served = builder.serve_connection(io, self.front).into_owned();
        if let Err(error) = watcher.watch(served).await {
            // Garbage, a client that went away or was too slow: nobody here can mend that.
            tracing::debug!(%error, "a connection ended");
        }
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
