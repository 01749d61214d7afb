//! Accepts connections and serves HTTP on them, each in bounds: a client that opens one and says nothing is let go, and when too many
//! are open the next waits in the system's queue.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

/// A request's head is there within this, counted from the first byte of it, or the connection ends; so does one that idles longer.
const HEAD: Duration = Duration::from_secs(75);
/// Connections open at once; a realtime call is one. Each costs some 10 kB and a file descriptor.
const CONNECTIONS: usize = 16_384;
/// A client that takes nothing for this long while there is something for it is gone: what it asked for costs money as long as it is thought
/// to wait. A phone that was in a tunnel is back by then.
const READ: Duration = Duration::from_secs(60);
/// Where the system has no descriptor left, the next try waits for this.
const RECOVER: Duration = Duration::from_millis(100);

/// Serves `app` on `listener` until `shutdown` resolves; then no connection is accepted any more and those open are finished. Dropping the
/// future ends them at once.
pub async fn serve(listener: TcpListener, app: axum::Router, shutdown: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    http.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD);
    let (http, room) = (Arc::new(http), Arc::new(Semaphore::new(CONNECTIONS)));
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((socket, permit)) => {
                connections.spawn(serve_one(socket, http.clone(), app.clone(), stopping.clone(), permit));
            }
            Err(error) => {
                tracing::warn!(%error, "A connection could not be accepted.");
                tokio::time::sleep(RECOVER).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let _ = stop.send(true);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// The next connection, once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    // A token is a few bytes and must not wait for the next one to fill a packet.
    let _ = socket.set_nodelay(true);
    Ok((socket, permit))
}

async fn serve_one(
    socket: TcpStream,
    http: Arc<auto::Builder<TokioExecutor>>,
    app: axum::Router,
    mut stopping: watch::Receiver<bool>,
    _room: OwnedSemaphorePermit,
) {
    let mut connection = pin!(http.serve_connection_with_upgrades(TokioIo::new(Patient::new(socket)), TowerToHyperService::new(app)));
    // How a connection ends is the client's affair: it reset, timed out, or sent what is no HTTP and was told so.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = async { drop(stopping.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// A socket whose other end has to read what is written.
struct Patient {
    socket: TcpStream,
    /// Runs while the other end takes nothing.
    patience: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    fn new(socket: TcpStream) -> Patient {
        Patient { socket, patience: None }
    }

    /// What came of a write; an error where the other end has taken nothing for too long.
    fn bear<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        ready!(self.patience.get_or_insert_with(|| Box::pin(sleep(READ))).as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.bear(written, context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.bear(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::Notify;

    use super::*;

    async fn started(app: axum::Router) -> (std::net::SocketAddr, Arc<Notify>, tokio::task::JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let stop = Arc::new(Notify::new());
        let told = stop.clone();
        (address, stop, tokio::spawn(serve(listener, app, async move { told.notified().await })))
    }

    #[tokio::test]
    async fn what_is_asked_before_the_stop_is_answered_and_nothing_after_it() {
        let (go, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (gate, seen) = (go.clone(), begun.clone());
        let slow = move || {
            let (gate, seen) = (gate.clone(), seen.clone());
            async move {
                seen.notify_one();
                gate.notified().await;
                "done"
            }
        };
        let (address, stop, served) = started(axum::Router::new().route("/", get(slow))).await;
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
        begun.notified().await;
        stop.notify_one();
        go.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("it answers and hangs up");
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        served.await.expect("it ends").expect("without an error");
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_does_not_hold_what_it_asked_for() {
        struct Gone(Arc<Notify>);
        impl Drop for Gone {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let gone = Arc::new(Notify::new());
        let told = gone.clone();
        let endless = move || {
            let held = Gone(told.clone());
            let pieces = futures::stream::repeat_with(move || {
                let _ = &held;
                Ok::<_, io::Error>(vec![b'a'; 65_536])
            });
            async { axum::body::Body::from_stream(pieces) }
        };
        let (address, ..) = started(axum::Router::new().route("/", get(endless))).await;
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it reads");
        gone.notified().await;
        drop(client);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_says_nothing_is_let_go() {
        let (address, ..) = started(axum::Router::new()).await;
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all(b"GET / HTTP/1.1\r\nhost").await.expect("it reads");
        let mut answer = Vec::new();
        let read = client.read_to_end(&mut answer).await;
        assert!(read.is_err() || answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
    }
}
