//! RX-02, RX-03, RX-04, RX-41: a network that swallows, refuses or dribbles, before any HTTP is spoken.

use crate::identity::{NAME, identity};
use crate::world::{
    AMPLE, KEEP, Names, OK, Receiver, SHORT, Sender, answer, failed, guard, hold, read_request, reset,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use stentor_delivery::transport::HttpSettings;
use stentor_domain::attempt::{ErrorClass, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// More connections than wait at a listener that was asked to let none wait.
const WAITING_MAX: usize = 8;

/// An address that answers no connection any more: its queue of those that nobody accepts is full.
struct BlackHole {
    address: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    async fn at(address: impl Into<SocketAddr>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(address.into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(connected) = tokio::time::timeout(SHORT, TcpStream::connect(address)).await {
            waiting.push(connected.unwrap());
            assert!(waiting.len() < WAITING_MAX, "the queue never fills");
        }
        Self {
            address,
            _listener: listener,
            _waiting: waiting,
        }
    }
}

/// A sender whose connections may take so long.
fn hasty(names: std::sync::Arc<Names>, connect_timeout: Duration) -> Sender {
    let settings = HttpSettings {
        guard: guard("127.0.0.0/8", &[]),
        connect_timeout,
        ..HttpSettings::default()
    };
    Sender::of(settings, names)
}

#[tokio::test]
async fn rx02_an_address_that_swallows_connections_costs_the_time_to_connect_and_no_more() {
    let hole = BlackHole::at((Ipv4Addr::LOCALHOST, 0)).await;
    let url = format!("http://{}/", hole.address);
    let sent = hasty(Names::local(), SHORT).send_within(&url, AMPLE).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Connect));
    assert_eq!(
        sent.exchange.detail.as_deref(),
        Some("no connection within 150 ms")
    );
    assert_eq!((sent.exchange.address, sent.exchange.answer), (None, None));

    // An endpoint with a shorter deadline than that ends with its own.
    let sent = hasty(Names::local(), AMPLE).send_within(&url, SHORT).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Timeout));
}

#[tokio::test]
async fn rx41_an_address_that_swallows_connections_gives_way_to_the_next_within_a_moment() {
    let receiver = Receiver::obedient().await;
    // The same port, at another address.
    let _hole = BlackHole::at(([127, 0, 0, 2], receiver.address.port())).await;
    let addresses = [[127, 0, 0, 2], [127, 0, 0, 1]].map(IpAddr::from);
    let sender = hasty(Names::new([Ok(addresses.to_vec())]), AMPLE);
    let url = format!("http://{NAME}:{}/", receiver.address.port());
    let sent = tokio::time::timeout(AMPLE / 2, sender.send_within(&url, AMPLE)).await;
    let sent = sent.expect("the second address answers long before the first is given up");
    assert_eq!(sent.outcome, Outcome::Answered(200));
    assert_eq!(sent.exchange.address, Some(receiver.address));
}

#[tokio::test]
async fn rx03_a_reset_at_once_is_a_broken_exchange() {
    let receiver = Receiver::new(|_, stream| async move { reset(stream) }).await;
    let sent = Sender::new().send(&receiver.url()).await;
    assert!(
        [failed(ErrorClass::Protocol), failed(ErrorClass::Connect)].contains(&sent.outcome),
        "{:?}",
        sent.outcome
    );
    assert!(sent.exchange.detail.is_some());
}

#[tokio::test]
async fn rx04_a_handshake_that_comes_byte_by_byte_ends_with_the_time_to_connect() {
    let receiver = Receiver::new(|_, mut stream| async move {
        // The head of a handshake record of 16 KiB, and then its content without end.
        let _ = stream.write_all(&[0x16, 3, 3, 0x40, 0]).await;
        while stream.write_all(&[2]).await.is_ok() {
            let _ = tokio::time::timeout(SHORT / 20, std::future::pending::<()>()).await;
        }
    })
    .await;
    let url = format!("https://{NAME}:{}/", receiver.address.port());
    let sent = hasty(Names::local(), SHORT).send(&url).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Tls));
    let detail = sent.exchange.detail.unwrap();
    assert_eq!(detail, "the handshake did not end within 150 ms");
}

#[tokio::test]
async fn rx04_a_flood_instead_of_a_handshake_ends_at_once() {
    let alert = [0x15, 3, 3, 0, 2, 1, 90];
    let empty = [0x16, 3, 3, 0, 0];
    let large = [&[0x16, 3, 3, 0x48, 0][..], &[0; 0x4800]].concat();
    for record in [
        &alert[..],
        &empty,
        &large,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0; 64],
    ] {
        let many = record.repeat(1 + 4_096 / record.len());
        let receiver = Receiver::new(move |_, mut stream| {
            let many = many.clone();
            async move { while stream.write_all(&many).await.is_ok() {} }
        })
        .await;
        let url = format!("https://{NAME}:{}/", receiver.address.port());
        let sender = hasty(Names::local(), 2 * AMPLE);
        let sent = tokio::time::timeout(AMPLE, sender.send_within(&url, 2 * AMPLE)).await;
        let sent = sent.expect("the deadline must not be what ends it");
        assert_eq!(sent.outcome, failed(ErrorClass::Tls), "{:?}", &record[..5]);
    }
}

/// RX-07, over TLS: a connection that ends without the notice that TLS has for that.
#[tokio::test]
async fn an_answer_that_tls_does_not_end_is_an_answer_all_the_same() {
    let identity = identity(&[b"http/1.1"]);
    let root = identity.root.clone();
    let receiver = Receiver::new(move |_, stream| {
        let acceptor = identity.acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
            stream.flush().await.unwrap();
            drop(stream.into_inner().0);
        }
    })
    .await;
    let sender = Sender::with(Names::local(), guard("127.0.0.1", &[]), vec![root]);
    let sent = sender
        .send(&format!("https://{NAME}:{}/", receiver.address.port()))
        .await;
    assert_eq!(sent.outcome, Outcome::Answered(200));
    assert!(answer(&sent).truncated && answer(&sent).body.len() <= KEEP);
}

/// RX-07: the status is known, the rest comes for ever.
#[tokio::test]
async fn rx07_a_body_that_dribbles_ends_with_the_deadline_and_its_head_stands() {
    let receiver = Receiver::new(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(b"a").await.is_ok() {
            let _ = tokio::time::timeout(SHORT / 20, std::future::pending::<()>()).await;
        }
    })
    .await;
    let sent = Sender::new().send_within(&receiver.url(), SHORT).await;
    assert_eq!(sent.outcome, Outcome::Answered(200));
    assert!(answer(&sent).truncated);
}

/// RX-39, as far as one process may open sockets: each receiver keeps its connection for ever.
#[tokio::test]
async fn rx39_receivers_that_never_close_are_closed_when_they_have_been_idle() {
    let (closed, mut closings) = tokio::sync::mpsc::channel(64);
    let sender = Sender::new();
    let mut receivers = Vec::new();
    for _ in 0..64 {
        let closed = closed.clone();
        let receiver = Receiver::new(move |_, mut stream| {
            let closed = closed.clone();
            async move {
                read_request(&mut stream).await;
                stream.write_all(OK).await.unwrap();
                hold(stream).await;
                closed.send(()).await.unwrap();
            }
        })
        .await;
        assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
        receivers.push(receiver);
    }
    assert!(closings.try_recv().is_err(), "they are kept");
    sender.clock.advance(Duration::from_secs(30));
    sender.transport.close_idle();
    for _ in 0..64 {
        tokio::time::timeout(AMPLE, closings.recv())
            .await
            .unwrap()
            .unwrap();
    }
}
