//! The sockets: our own accept loop, because a stock one lets a silent client stay for ever.
//!
//! A connection that sends no complete head for ten seconds is closed, idle ones included; one that
//! does not take its answer for thirty is closed too.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::Peer;
use crate::app::App;

/// For a whole request head, and for the next request on an idle connection.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// For a client to take some of its answer.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);
/// After the word to stop: connections in use are ended by an answer that says so, which loses no
/// request, and `/health/ready` can still be seen to say no.
const FAREWELL: Duration = Duration::from_millis(500);
const LAST_HEADS: Duration = Duration::from_millis(200);
/// Requests under way at a stop may take this long.
const LAST_ORDERS: Duration = Duration::from_secs(10);
/// Holds the largest head that is answered in the contract's shape, and a little more.
const READ_BUFFER: usize = 128 * 1024;
/// Out of file descriptors, or a like trouble of the machine.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts and answers until told to stop; then says goodbye, takes no new connections, and finishes
/// the requests under way.
pub async fn serve(app: App, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
    let local = listener.local_addr()?;
    app.limits.settle().await;
    let server = Server {
        router: super::router(app.clone()),
        graceful: GracefulShutdown::new(),
        places: Arc::new(Semaphore::new(app.config.max_connections)),
        hard_stop: CancellationToken::new(),
        app,
    };
    tracing::info!(server.address = %local, "listening");
    tokio::select! {
        () = server.accept_all(&listener) => {}
        () = server.farewell(&stop) => {}
    }
    server.accept_backlog(listener);
    // Who was let in last has yet to send its request.
    sleep(LAST_HEADS).await;
    if timeout(LAST_ORDERS, server.graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections did not finish in time and are closed");
    }
    server.hard_stop.cancel();
    Ok(())
}

struct Server {
    app: App,
    router: Router,
    graceful: GracefulShutdown,
    places: Arc<Semaphore>,
    hard_stop: CancellationToken,
}

impl Server {
    /// Returns when it is time to close the door.
    async fn farewell(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        self.app.begin_stopping();
        tracing::info!("stopping: finishing the requests under way");
        sleep(FAREWELL).await;
    }

    /// Never returns; dropped when the server stops.
    async fn accept_all(&self, listener: &TcpListener) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, remote)) => self.spawn(stream, remote, place),
                // That connection alone is gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Closes the door. Who was already let in by the kernel is answered, not reset: the kernel itself is
    /// asked, for the runtime hears of a connection a moment later.
    fn accept_backlog(&self, listener: TcpListener) {
        let Ok(listener) = listener.into_std() else { return };
        while let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let Ok((stream, remote)) = listener.accept() else { return };
            let stream = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            if let Ok(stream) = stream {
                self.spawn(stream, remote, place);
            }
        }
    }

    fn spawn(&self, stream: TcpStream, remote: SocketAddr, place: OwnedSemaphorePermit) {
        let connection = connection(self.app.clone(), self.router.clone(), stream, remote, self.graceful.watcher());
        let hard_stop = self.hard_stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection => {}
                () = hard_stop.cancelled() => {}
            }
            drop(place);
        });
    }
}

async fn connection(app: App, router: Router, stream: TcpStream, remote: SocketAddr, watcher: Watcher) {
    let Ok(local) = stream.local_addr() else { return };
    // Answers are written whole: waiting to fill a packet only delays them.
    drop(stream.set_nodelay(true));
    let peer = Peer { remote, local };
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let (app, answer) = (app.clone(), router.clone().oneshot(request));
        async move {
            let mut response = answer.await?;
            if app.is_stopping() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(READ_BUFFER)
        .serve_connection(TokioIo::new(Impatient::new(stream)), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(error = %error, "a connection ended early");
    }
}

/// A socket whose writes fail when the other side takes nothing for [`WRITE_DEADLINE`].
struct Impatient {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Impatient {
    fn new(stream: TcpStream) -> Self {
        Self { stream, stalled: None }
    }

    /// Lets a finished write through, and starts or watches the clock of a waiting one.
    fn judge<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let clock = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_DEADLINE)));
        match clock.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Impatient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Impatient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
