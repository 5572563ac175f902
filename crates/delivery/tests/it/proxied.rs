//! Through an egress proxy: only by tunnels to addresses that were vetted here, and never at the receiver's cost where the
//! proxy fails (RX-45).

use crate::encrypted::http2_receiver;
use crate::identity::{NAME, identity};
use crate::world::{
    AMPLE, Names, OK, Receiver, SHORT, Sender, answer, failed, guard, hold, read_request, settle,
};
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use std::net::IpAddr;
use std::sync::Arc;
use stentor_delivery::egress::EgressProxy;
use stentor_delivery::guard::Guard;
use stentor_delivery::transport::HttpSettings;
use stentor_domain::attempt::{ErrorClass, Outcome};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// A proxy that opens every tunnel, and the heads of what it was asked.
struct Proxy {
    receiver: Receiver,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn new() -> Self {
        Self::refusing("nobody").await
    }

    /// Refuses tunnels to this address, by 502.
    async fn refusing(address: &'static str) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        let receiver = Receiver::new(move |_, stream| tunnel(stream, Arc::clone(&noted), address)).await;
        Self { receiver, heads }
    }

    /// The same, spoken to over TLS.
    async fn encrypted(acceptor: TlsAcceptor) -> Self {
        let heads = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&heads);
        let receiver = Receiver::new(move |_, stream| {
            let (acceptor, noted) = (acceptor.clone(), Arc::clone(&noted));
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
                    tunnel(stream, noted, "nobody").await;
                }
            }
        })
        .await;
        Self { receiver, heads }
    }

    fn egress(&self) -> EgressProxy {
        EgressProxy::parse(&format!("http://{}", self.receiver.address)).unwrap()
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

async fn tunnel<S>(mut stream: S, heads: Arc<Mutex<Vec<String>>>, refused: &'static str)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = read_head(&mut stream).await;
    let address = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().push(head);
    if address.starts_with(refused) {
        let _ = stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
        return;
    }
    let mut there = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\nvia: proxy\r\n\r\n")
        .await
        .unwrap();
    let _ = copy_bidirectional(&mut stream, &mut there).await;
}

/// Reads up to the empty line, and not a byte more.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

fn through(proxy: EgressProxy, roots: Vec<CertificateDer<'static>>) -> Sender {
    with_guard(proxy, roots, guard("127.0.0.0/8", &[]))
}

fn with_guard(proxy: EgressProxy, roots: Vec<CertificateDer<'static>>, guard: Guard) -> Sender {
    let settings = HttpSettings {
        guard,
        extra_roots: roots,
        egress_proxy: Some(proxy),
        ..HttpSettings::default()
    };
    Sender::of(settings, Names::local())
}

/// A proxy that refuses every tunnel by 503, with one header line.
async fn refusing_with(line: &'static str) -> Receiver {
    Receiver::new(move |_, mut stream| async move {
        read_head(&mut stream).await;
        let answer = format!("HTTP/1.1 503 No\r\n{line}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        hold(stream).await;
    })
    .await
}

/// A receiver whose connections must not be reached, and its URL under a name.
async fn unreached() -> (Receiver, String) {
    let receiver = Receiver::obedient().await;
    let url = format!("http://{NAME}:{}/", receiver.address.port());
    (receiver, url)
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_vetted_address_and_never_for_the_name() {
    let proxy = Proxy::new().await;
    let (receiver, url) = unreached().await;
    let sender = through(proxy.egress(), Vec::new());
    for _ in 0..3 {
        let sent = sender.send(&url).await;
        assert_eq!(sent.outcome, Outcome::Answered(200));
        assert_eq!(sent.exchange.address, Some(receiver.address));
    }
    // One tunnel, kept for the exchanges that followed.
    let asked = format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", receiver.address);
    assert_eq!(proxy.heads(), [asked]);
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn what_the_receiver_gets_through_the_proxy_is_what_it_gets_without() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&requests);
    let receiver = Receiver::new(move |_, mut stream| {
        let noted = Arc::clone(&noted);
        async move {
            let request = read_request(&mut stream).await;
            noted.lock().push(String::from_utf8(request).unwrap());
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::new().await;
    let egress = proxy.egress().with_credentials("me:hunter2").unwrap();
    Sender::new().send(&receiver.url()).await;
    let sent = through(egress, Vec::new()).send(&receiver.url()).await;
    let timing = sent.exchange.timing;
    assert!(timing.connect_micros.is_some() && timing.first_byte_micros.is_some());
    let requests = requests.lock();
    assert_eq!(requests[0], requests[1]);
    assert!(proxy.heads()[0].contains("\r\nproxy-authorization: Basic bWU6aHVudGVyMg==\r\n"));
}

#[tokio::test]
async fn tls_is_spoken_with_the_receiver_through_the_tunnel() {
    let shown = identity(&[b"h2", b"http/1.1"]);
    let receiver = http2_receiver(shown.acceptor).await;
    let port = receiver.address.port();
    let proxy = Proxy::new().await;
    let sender = through(proxy.egress(), vec![shown.root]);
    for _ in 0..2 {
        let sent = sender.send(&format!("https://{NAME}:{port}/")).await;
        assert_eq!(answer(&sent).body, "taken");
        assert_eq!(sent.exchange.address, Some(receiver.address));
    }
    assert_eq!(proxy.receiver.accepted(), 1);

    // The certificate is asked for the name of the URL, whatever was asked of the proxy.
    let sent = sender.send(&format!("https://127.0.0.1:{port}/")).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Tls));
    let sent = through(proxy.egress(), Vec::new())
        .send(&format!("https://{NAME}:{port}/"))
        .await;
    assert_eq!(sent.outcome, failed(ErrorClass::Tls));
}

#[tokio::test]
async fn a_proxy_may_be_spoken_to_over_tls_and_its_certificate_counts() {
    let shown = identity(&[b"http/1.1"]);
    let proxy = Proxy::encrypted(shown.acceptor).await;
    let (receiver, url) = unreached().await;
    let egress = |host: &str| {
        let port = proxy.receiver.address.port();
        EgressProxy::parse(&format!("https://{host}:{port}")).unwrap()
    };
    let wrong_name = through(egress("127.0.0.1"), vec![shown.root.clone()])
        .send(&url)
        .await;
    let unknown = through(egress(NAME), Vec::new()).send(&url).await;
    for sent in [wrong_name, unknown] {
        assert_eq!(sent.outcome, failed(ErrorClass::Proxy));
        assert!(
            sent.exchange
                .detail
                .unwrap()
                .starts_with("its TLS handshake failed")
        );
    }
    assert_eq!(receiver.accepted(), 0);

    let sent = through(egress(NAME), vec![shown.root.clone()]).send(&url).await;
    assert_eq!(sent.outcome, Outcome::Answered(200));

    // TLS within TLS.
    let inner = identity(&[b"h2"]);
    let receiver = http2_receiver(inner.acceptor).await;
    let sender = through(egress(NAME), vec![shown.root, inner.root]);
    let sent = sender
        .send(&format!("https://{NAME}:{}/", receiver.address.port()))
        .await;
    assert_eq!(answer(&sent).body, "taken");
}

#[tokio::test]
async fn the_guard_stays_on_and_the_proxy_hears_nothing_of_what_is_forbidden() {
    let proxy = Proxy::new().await;
    let (receiver, by_name) = unreached().await;
    let forbidding = with_guard(proxy.egress(), Vec::new(), Guard::default());
    let own = with_guard(
        proxy.egress(),
        Vec::new(),
        guard("127.0.0.0/8", &[receiver.address]),
    );
    for sender in [forbidding, own] {
        for url in [&receiver.url(), &by_name] {
            assert_eq!(sender.send(url).await.outcome, failed(ErrorClass::BlockedAddress));
        }
    }
    let mixed: Vec<IpAddr> = ["127.0.0.1", "10.0.0.1"]
        .map(|address| address.parse().unwrap())
        .to_vec();
    let settings = HttpSettings {
        guard: guard("127.0.0.1", &[]),
        egress_proxy: Some(proxy.egress()),
        ..HttpSettings::default()
    };
    let sent = Sender::of(settings, Names::new([Ok(mixed)])).send(&by_name).await;
    assert_eq!(sent.outcome, failed(ErrorClass::BlockedAddress));
    assert_eq!((proxy.receiver.accepted(), receiver.accepted()), (0, 0));
}

#[tokio::test]
async fn another_address_of_the_receiver_is_tried_where_the_proxy_refuses_one() {
    let proxy = Proxy::refusing("127.0.0.2").await;
    let (receiver, url) = unreached().await;
    let addresses = ["127.0.0.2", "127.0.0.1"].map(|address| address.parse().unwrap());
    let settings = HttpSettings {
        guard: guard("127.0.0.0/8", &[]),
        egress_proxy: Some(proxy.egress()),
        ..HttpSettings::default()
    };
    let sent = Sender::of(settings, Names::new([Ok(addresses.to_vec())]))
        .send(&url)
        .await;
    assert_eq!(sent.outcome, Outcome::Answered(200));
    assert_eq!(sent.exchange.address, Some(receiver.address));
    assert_eq!(proxy.heads().len(), 2);
}

#[tokio::test]
async fn rx45_a_proxy_that_is_down_is_a_fault_of_its_own_and_says_what_to_mend() {
    let proxy = Proxy::new().await;
    let egress = proxy.egress();
    drop(proxy);
    settle().await;
    let (receiver, url) = unreached().await;
    let sent = through(egress, Vec::new()).send(&url).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Proxy));
    assert!(ErrorClass::Proxy.ours());
    assert_eq!(sent.exchange.address, None);
    let detail = sent.exchange.detail.unwrap();
    assert!(
        detail.starts_with("no connection to it: ") && detail.contains("check --egress-proxy"),
        "{detail}"
    );
    assert_eq!(receiver.accepted(), 0);

    let settings = HttpSettings {
        egress_proxy: Some(EgressProxy::parse("http://proxy.internal:3128").unwrap()),
        ..HttpSettings::default()
    };
    let names = Names::new([Err(ErrorClass::DnsNotFound)]);
    let sent = Sender::of(settings, names).send("https://203.0.114.1/").await;
    assert_eq!(sent.outcome, failed(ErrorClass::Proxy));
    assert!(
        sent.exchange
            .detail
            .unwrap()
            .starts_with("its name could not be looked up")
    );
}

#[tokio::test]
async fn rx45_whatever_a_proxy_answers_but_2xx_is_its_own_fault() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(1_000));
    for (bytes, detail) in [
        (
            "HTTP/1.1 407 Who\r\nproxy-authenticate: Basic realm=x\r\ncontent-length: 0\r\n\r\n",
            "(407)",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\nhello",
            "(502)",
        ),
        (
            "HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            "(503)",
        ),
        ("HTTP/1.0 500 Unable\r\n\r\n", "(500)"),
        ("HTTP/1.1 403 Forbidden\r\n\r\n", "(403)"),
        (
            "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\n\r\n",
            "(302)",
        ),
        (
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "(101)",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 Smuggled\r\n\r\n",
            "more than its answer",
        ),
        ("SSH-2.0-OpenSSH_9.9\r\n", "did not answer as an HTTP proxy"),
        ("\u{5}\u{ff}", "did not answer as an HTTP proxy"),
        (
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "did not answer as an HTTP proxy",
        ),
        (&huge, "did not answer as an HTTP proxy"),
        (&many, "did not answer as an HTTP proxy"),
        ("", "did not answer as an HTTP proxy"),
    ] {
        let bytes = bytes.to_owned();
        let silent = bytes.is_empty();
        let start = bytes.chars().take(30).collect::<String>();
        let proxy = Receiver::new(move |_, mut stream| {
            let bytes = bytes.clone();
            async move {
                read_head(&mut stream).await;
                let _ = stream.write_all(bytes.as_bytes()).await;
                if !silent {
                    hold(stream).await;
                }
            }
        })
        .await;
        let (receiver, url) = unreached().await;
        let egress = EgressProxy::parse(&format!("http://{}", proxy.address)).unwrap();
        // The answer ends it, not a deadline.
        let sender = through(egress, Vec::new());
        let sent = tokio::time::timeout(AMPLE, sender.send_within(&url, 2 * AMPLE));
        let sent = sent.await.unwrap();
        assert_eq!(sent.outcome, failed(ErrorClass::Proxy), "{start}");
        let told = sent.exchange.detail.unwrap();
        assert!(told.contains(detail), "{start}: {told}");
        assert_eq!(receiver.accepted(), 0);
    }
}

#[tokio::test]
async fn rx45_a_silent_proxy_ends_with_the_time_to_connect_or_the_deadline_and_is_still_its_own_fault() {
    let (closed, mut closings) = mpsc::channel(4);
    let proxy = Receiver::new(move |number, mut stream| {
        let closed = closed.clone();
        async move {
            read_head(&mut stream).await;
            // The first is silent, the others say without end that they are at work.
            while number > 1 && stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {
                tokio::task::yield_now().await;
            }
            hold(stream).await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let egress = EgressProxy::parse(&format!("http://{}", proxy.address)).unwrap();
    let (_receiver, url) = unreached().await;
    let patient = HttpSettings {
        guard: guard("127.0.0.0/8", &[]),
        connect_timeout: SHORT,
        egress_proxy: Some(egress.clone()),
        ..HttpSettings::default()
    };
    let patient = Sender::of(patient, Names::local());
    let hasty = through(egress, Vec::new());
    for sent in [
        patient.send(&url).await,
        patient.send(&url).await,
        hasty.send_within(&url, SHORT).await,
    ] {
        assert_eq!(sent.outcome, failed(ErrorClass::Proxy));
        let detail = sent.exchange.detail.unwrap();
        assert!(detail.starts_with("it gave no tunnel within 150 ms"), "{detail}");
    }
    for _ in 0..3 {
        tokio::time::timeout(AMPLE, closings.recv())
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn a_receiver_that_the_proxy_could_not_reach_in_its_own_words_is_the_receivers_fault() {
    for (line, word) in [
        (
            "proxy-status: proxy.example; error=connection_refused",
            "connection_refused",
        ),
        (
            "Proxy-Status: a; details=\"x\", b; error=connection_timeout; details=\"y\"",
            "connection_timeout",
        ),
        ("x-squid-error: ERR_CONNECT_FAIL 111", "ERR_CONNECT_FAIL"),
    ] {
        let proxy = refusing_with(line).await;
        let egress = EgressProxy::parse(&format!("http://{}", proxy.address)).unwrap();
        let (_receiver, url) = unreached().await;
        let sent = through(egress, Vec::new()).send(&url).await;
        assert_eq!(sent.outcome, failed(ErrorClass::Connect), "{line}");
        let detail = format!("the egress proxy could not reach it: {word}");
        assert_eq!(sent.exchange.detail, Some(detail));
    }
    for line in [
        "proxy-status: proxy.example; error=proxy_internal_error",
        "x-squid-error: ERR_ACCESS_DENIED 0",
    ] {
        let proxy = refusing_with(line).await;
        let egress = EgressProxy::parse(&format!("http://{}", proxy.address)).unwrap();
        let (_receiver, url) = unreached().await;
        let sent = through(egress, Vec::new()).send(&url).await;
        assert_eq!(sent.outcome, failed(ErrorClass::Proxy), "{line}");
    }
}

#[tokio::test]
async fn a_receiver_that_breaks_off_behind_a_working_proxy_is_at_fault_itself() {
    let receiver = Receiver::new(|_, mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    let proxy = Proxy::new().await;
    let sender = through(proxy.egress(), Vec::new());
    let sent = sender.send(&receiver.url()).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Protocol));
    let silent = Receiver::new(|_, stream| hold(stream)).await;
    let sent = sender.send_within(&silent.url(), SHORT).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Timeout));
}
