//! The clock, the names and the receivers of these tests.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use stentor_delivery::guard::Guard;
use stentor_delivery::resolve::Resolve;
use stentor_delivery::transport::{
    Destination, HttpSettings, HttpTransport, Outgoing, Permission, Sent, Transport as _,
};
use stentor_domain::address::AllowList;
use stentor_domain::attempt::{Answer, ErrorClass, Outcome};
use stentor_domain::endpoint_url::EndpointUrl;
use stentor_domain::{Clock, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A deadline that no test is meant to reach.
pub(crate) const AMPLE: Duration = Duration::from_secs(30);
/// A deadline that a test waits for.
pub(crate) const SHORT: Duration = Duration::from_millis(150);
/// Kept of a successful answer's body.
pub(crate) const KEEP: usize = 16;
/// The shortest complete answer.
pub(crate) const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// The payload of every request, unless a test says otherwise.
pub(crate) const PAYLOAD: &[u8] = br#"{"n": 1.0}"#;

/// A clock that goes one microsecond further with every look at it, and further by hand.
#[derive(Default)]
pub(crate) struct StepClock(AtomicU64);

impl StepClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0
            .fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::Relaxed);
    }
}

impl Clock for StepClock {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

type NameAnswer = Result<Vec<IpAddr>, ErrorClass>;

/// Answers every name with the next of its answers; the last one stays.
pub(crate) struct Names {
    answers: Mutex<Vec<NameAnswer>>,
    pub(crate) asked: AtomicUsize,
}

impl Names {
    pub(crate) fn new(answers: impl IntoIterator<Item = NameAnswer>) -> Arc<Self> {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        Arc::new(Self {
            answers: Mutex::new(answers),
            asked: AtomicUsize::new(0),
        })
    }

    pub(crate) fn local() -> Arc<Self> {
        Self::new([Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)])])
    }
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, _host: &'a str) -> BoxFuture<'a, NameAnswer> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock();
        let answer = match answers.len() {
            0 | 1 => answers.first().cloned().unwrap(),
            _ => answers.pop().unwrap(),
        };
        Box::pin(std::future::ready(answer))
    }
}

/// A transport that may reach 127.0.0.1 on every port, with its clock.
pub(crate) struct Sender {
    pub(crate) transport: HttpTransport,
    pub(crate) clock: Arc<StepClock>,
}

impl Sender {
    pub(crate) fn new() -> Self {
        Self::with(Names::local(), guard("127.0.0.1", &[]), Vec::new())
    }

    pub(crate) fn with(names: Arc<Names>, guard: Guard, extra_roots: Vec<CertificateDer<'static>>) -> Self {
        let settings = HttpSettings {
            guard,
            extra_roots,
            ..HttpSettings::default()
        };
        Self::of(settings, names)
    }

    pub(crate) fn of(settings: HttpSettings, names: Arc<Names>) -> Self {
        let clock = Arc::new(StepClock::default());
        let transport = HttpTransport::new(settings, names, clock.clone()).unwrap();
        Self { transport, clock }
    }

    pub(crate) async fn send(&self, url: &str) -> Sent {
        self.send_within(url, AMPLE).await
    }

    pub(crate) async fn send_within(&self, url: &str, timeout: Duration) -> Sent {
        self.send_body(url, timeout, Bytes::from_static(PAYLOAD)).await
    }

    pub(crate) async fn send_body(&self, url: &str, timeout: Duration, body: Bytes) -> Sent {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
        let request = Outgoing {
            destination: Destination::new(EndpointUrl::stored(url).unwrap()),
            headers,
            body,
            timeout,
            keep: KEEP,
            permission: Permission::new(|| true),
        };
        self.transport.send(request).await
    }
}

pub(crate) fn guard(allowed: &str, own_listeners: &[SocketAddr]) -> Guard {
    let allowed = AllowList::new(vec![allowed.parse().unwrap()]);
    Guard::new(allowed, own_listeners.to_vec())
}

/// The answer of an exchange that must have one.
pub(crate) fn answer(sent: &Sent) -> &Answer {
    sent.exchange.answer.as_ref().unwrap()
}

pub(crate) fn failed(class: ErrorClass) -> Outcome {
    Outcome::Failed(class)
}

/// A listener on loopback that counts its connections and treats each as told.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    accepting: AbortHandle,
}

impl Receiver {
    /// `behave` gets every connection with its number, from 1.
    pub(crate) async fn new<F, B>(behave: F) -> Self
    where
        F: Fn(usize, TcpStream) -> B + Send + 'static,
        B: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::spawn(behave(number, stream));
            }
        });
        Self {
            address,
            accepted,
            accepting: accepting.abort_handle(),
        }
    }

    /// Answers the first request of each connection with `bytes`, and keeps the connection open in silence.
    pub(crate) async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<Vec<u8>> = Arc::new(bytes.into());
        Self::new(move |_, mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                read_request(&mut stream).await;
                // The sender may have heard enough before everything is written.
                let _ = stream.write_all(&bytes).await;
                hold(stream).await;
            }
        })
        .await
    }

    /// Answers every request with [`OK`] and keeps its connections alive.
    pub(crate) async fn obedient() -> Self {
        Self::new(|_, mut stream| async move {
            while !read_request(&mut stream).await.is_empty() {
                stream.write_all(OK).await.unwrap();
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/in?a=b", self.address)
    }

    /// Connections so far.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Reads one request with its body; empty where the connection ended before it.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Vec::new(),
            Ok(count) => request.extend_from_slice(&chunk[..count]),
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        if body.len() >= length {
            return request;
        }
    }
}

/// Keeps a connection open without a word, until the other side closes it.
pub(crate) async fn hold(mut stream: TcpStream) {
    let mut nothing = [0; 4096];
    while matches!(stream.read(&mut nothing).await, Ok(count) if count > 0) {}
}

/// Closes a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Lets every other future of this test's runtime, and the sockets, come to rest.
pub(crate) async fn settle() {
    for _ in 0..16 {
        tokio::task::yield_now().await;
    }
}
