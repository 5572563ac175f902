//! A small server made of our listener, and a client that writes raw bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::Extension;
use axum::routing::{get, post};
use axum::{Router, body::Body};
use bytes::Bytes;
use stentor_http::body::{BodyLimits, JsonBytes};
use stentor_http::listen::{ListenLimits, PeerAddr, bind, serve};
use stentor_http::problem::with_fallbacks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;

/// No test waits that long unless it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An answer that no socket buffers whole.
pub(crate) const LARGE_BYTES: usize = 32 * 1024 * 1024;

/// How many handlers of `/forever`, `/endless` and `/gate` have begun, and how many are still there.
#[derive(Clone, Debug)]
pub(crate) struct Handlers {
    begun: Arc<watch::Sender<usize>>,
    alive: Arc<watch::Sender<usize>>,
    gate: Arc<Notify>,
}

impl Handlers {
    fn enter(&self) -> Entered {
        self.alive.send_modify(|count| *count += 1);
        self.begun.send_modify(|count| *count += 1);
        Entered(self.clone())
    }

    pub(crate) fn begun(&self) -> usize {
        *self.begun.borrow()
    }

    pub(crate) async fn until_begun(&self, count: usize) {
        within(self.begun.subscribe().wait_for(|begun| *begun >= count))
            .await
            .unwrap();
    }

    pub(crate) async fn until_none_is_alive(&self) {
        within(self.alive.subscribe().wait_for(|alive| *alive == 0))
            .await
            .unwrap();
    }

    /// Lets one handler of `/gate` answer.
    pub(crate) fn open_gate(&self) {
        self.gate.notify_one();
    }
}

pub(crate) struct Entered(Handlers);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.alive.send_modify(|count| *count -= 1);
    }
}

/// A body without end that counts the bytes taken from it.
pub(crate) struct Endless {
    pub(crate) taken: Arc<AtomicUsize>,
    /// Held as long as the body.
    pub(crate) _entered: Option<Entered>,
}

impl Endless {
    pub(crate) const FRAME: usize = 100;
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.taken.fetch_add(Self::FRAME, Ordering::Relaxed);
        Poll::Ready(Some(Ok(http_body::Frame::data(Bytes::from_static(
            &[b'1'; Self::FRAME],
        )))))
    }
}

pub(crate) struct Server {
    pub(crate) addr: SocketAddr,
    pub(crate) handlers: Handlers,
    stop: Option<oneshot::Sender<()>>,
    grace: Option<oneshot::Sender<()>>,
    ended: JoinHandle<usize>,
}

pub(crate) fn small_bodies() -> BodyLimits {
    BodyLimits {
        bytes_max: 1024,
        ..BodyLimits::default()
    }
}

pub(crate) async fn start(limits: ListenLimits) -> Server {
    start_with(limits, small_bodies()).await
}

pub(crate) async fn start_with(limits: ListenLimits, bodies: BodyLimits) -> Server {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let addr = listener.local_addr().unwrap();
    let handlers = Handlers {
        begun: Arc::new(watch::Sender::new(0)),
        alive: Arc::new(watch::Sender::new(0)),
        gate: Arc::new(Notify::new()),
    };
    let (stop, stopped) = oneshot::channel();
    let (grace, over) = oneshot::channel();
    let router = router(handlers.clone(), bodies);
    let ended = tokio::spawn(serve(
        listener,
        router,
        limits,
        async { stopped.await.unwrap_or(()) },
        async { over.await.unwrap_or(()) },
    ));
    Server {
        addr,
        handlers,
        stop: Some(stop),
        grace: Some(grace),
        ended,
    }
}

fn router(handlers: Handlers, bodies: BodyLimits) -> Router {
    let (forever, endless, gate) = (handlers.clone(), handlers.clone(), handlers);
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route(
            "/echo",
            post(|JsonBytes(bytes): JsonBytes| async move { Body::from(bytes) }),
        )
        .route(
            "/peer",
            get(|Extension(PeerAddr(peer)): Extension<PeerAddr>| async move { peer.to_string() }),
        )
        .route("/large", get(|| async { vec![b'x'; LARGE_BYTES] }))
        .route(
            "/endless",
            get(async move || {
                Body::new(Endless {
                    taken: Arc::default(),
                    _entered: Some(endless.enter()),
                })
            }),
        )
        .route("/panic", get(async || -> &'static str { panic!("on purpose") }))
        .route(
            "/forever",
            get(async move || -> &'static str {
                let _entered = forever.enter();
                std::future::pending().await
            })
            .post(|| async { "unread" }),
        )
        .route(
            "/gate",
            get(async move || {
                let _entered = gate.enter();
                gate.gate.notified().await;
                "opened"
            }),
        );
    with_fallbacks(router).layer(Extension(bodies))
}

impl Server {
    /// Asks the listener to stop, and returns at once.
    pub(crate) fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// Ends the time of grace.
    pub(crate) fn end_grace(&mut self) {
        self.grace.take().unwrap().send(()).unwrap();
    }

    /// Waits for `serve`; gives how many connections it dropped.
    pub(crate) async fn ended(self) -> usize {
        within(self.ended).await.unwrap()
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        within(TcpStream::connect(self.addr)).await.unwrap()
    }

    /// Opens a connection and sends `bytes`.
    pub(crate) async fn send(&self, bytes: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_ref()).await.unwrap();
        stream
    }

    /// Sends `bytes` and gives all that comes until the server closes.
    pub(crate) async fn ask(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.send(bytes).await;
        read_to_close(&mut stream).await
    }

    /// Panics unless a new client is served.
    pub(crate) async fn assert_healthy(&self) {
        let answer = self.ask(HEALTH_AND_CLOSE).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"),
            "{answer}"
        );
    }
}

pub(crate) const HEALTH: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n";
pub(crate) const HEALTH_AND_CLOSE: &str = "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the server should have acted long ago")
}

/// What comes until the server closes, with or without a reset.
pub(crate) async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut scratch = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = within(stream.read(&mut scratch)).await {
        bytes.extend_from_slice(&scratch[..count]);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer of a connection that stays open; its body has a `Content-Length`.
pub(crate) async fn read_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap_or("0");
            if body.len() == length.parse::<usize>().unwrap() {
                return text;
            }
        }
        bytes.push(within(stream.read_u8()).await.unwrap());
    }
}

/// The JSON document at the end of an answer.
pub(crate) fn document(answer: &str) -> serde_json::Value {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no document in {answer}"))
}

/// The answer's status.
pub(crate) fn status(answer: &str) -> u16 {
    answer
        .get(9..12)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_else(|| panic!("no status in {answer:?}"))
}

/// A POST of `/echo` with these further header lines (each ended by CRLF) and what follows the head.
pub(crate) fn post_echo(headers: &str, rest: &str) -> String {
    format!("POST /echo HTTP/1.1\r\nhost: a\r\n{headers}\r\n{rest}")
}
