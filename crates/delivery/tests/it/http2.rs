//! RX-18: what HTTP/2 receivers may do to us, frame by frame (RFC 9113). Each ends by a limit or by the deadline, and never takes
//! its connection along for the next exchange where it broke the protocol.

use crate::identity::{NAME, identity};
use crate::world::{AMPLE, Names, Receiver, SHORT, Sender, answer, failed, guard};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use stentor_delivery::transport::Sent;
use stentor_domain::attempt::{ErrorClass, Outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const HEADER_TABLE_SIZE: u16 = 1;

/// `:status: 200` in HPACK.
const STATUS_200: &[u8] = &[0x88];
/// `:status: 103`.
const STATUS_103: &[u8] = &[0x08, 3, b'1', b'0', b'3'];
/// More than any window that the sender opens.
const BEYOND_WINDOWS: usize = 2 * 1024 * 1024;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in pairs {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

fn goaway(last_stream: u32, reason: u32) -> Vec<u8> {
    let payload = [last_stream.to_be_bytes(), reason.to_be_bytes()].concat();
    frame(GOAWAY, 0, 0, &payload)
}

/// The whole answer 200 to a stream.
fn ok(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200)
}

/// The receiver's side of a connection.
struct Peer(TlsStream<TcpStream>);

impl Peer {
    /// Reads frames until a request is there whole, and gives its stream; `None` at the connection's end.
    async fn request(&mut self) -> Option<u32> {
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            if matches!(head[3], DATA | HEADERS) && head[4] & END_STREAM != 0 {
                return Some(stream);
            }
        }
    }

    /// Sends, and says whether anybody still listens.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    /// Sends the same again and again for as long as anybody listens.
    async fn flood(&mut self, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        let many = bytes.repeat(1 + 4_096 / bytes.len());
        while self.send(&many).await {}
    }

    /// Listens without a word until the sender hangs up.
    async fn listen(&mut self) {
        let mut nothing = [0; 4_096];
        while matches!(self.0.read(&mut nothing).await, Ok(count) if count > 0) {}
    }
}

/// A receiver that begins every connection with these settings and then behaves as told, and a sender that trusts it.
async fn receiver<F, B>(pairs: &'static [(u16, u32)], behave: F) -> (Receiver, Sender)
where
    F: Fn(usize, Peer) -> B + Send + Sync + 'static,
    B: Future<Output = ()> + Send + 'static,
{
    let identity = identity(&[b"h2"]);
    let behave = Arc::new(behave);
    let receiver = Receiver::new(move |number, stream| {
        let (acceptor, behave) = (identity.acceptor.clone(), Arc::clone(&behave));
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut preface = [0; 24];
            if stream.read_exact(&mut preface).await.is_err() {
                return;
            }
            assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
            let mut peer = Peer(stream);
            if peer.send(&settings(pairs)).await {
                behave(number, peer).await;
            }
        }
    })
    .await;
    let sender = Sender::with(Names::local(), guard("127.0.0.1", &[]), vec![identity.root]);
    (receiver, sender)
}

fn url(receiver: &Receiver) -> String {
    format!("https://{NAME}:{}/", receiver.address.port())
}

/// Sends to a receiver that ends the exchange by something else than the deadline.
async fn ends_by_a_limit(receiver: &Receiver, sender: &Sender) -> Sent {
    let url = url(receiver);
    tokio::time::timeout(AMPLE, sender.send_within(&url, 2 * AMPLE))
        .await
        .expect("the deadline must not be what ends it")
}

#[tokio::test]
async fn frames_that_keep_the_rules_bring_an_answer() {
    let (receiver, sender) = receiver(&[], |_, mut peer| async move {
        peer.send(&frame(SETTINGS, ACK, 0, &[])).await;
        while let Some(stream) = peer.request().await {
            peer.send(&frame(HEADERS, END_HEADERS, stream, STATUS_200)).await;
            peer.send(&frame(DATA, END_STREAM, stream, b"taken")).await;
        }
    })
    .await;
    for _ in 0..3 {
        let sent = sender.send(&url(&receiver)).await;
        assert_eq!(sent.outcome, Outcome::Answered(200));
        assert_eq!(answer(&sent).body, "taken");
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn a_receiver_that_takes_no_stream_or_no_byte_times_out_and_its_connection_is_not_used_again() {
    for pairs in [
        &[(MAX_CONCURRENT_STREAMS, 0)][..],
        &[(INITIAL_WINDOW_SIZE, 0)],
        &[(MAX_CONCURRENT_STREAMS, 0), (INITIAL_WINDOW_SIZE, 0)],
    ] {
        let (receiver, sender) = receiver(pairs, |_, mut peer| async move { peer.listen().await }).await;
        for connections in 1..=2 {
            let body = Bytes::from(vec![b'x'; BEYOND_WINDOWS]);
            let sent = sender.send_body(&url(&receiver), SHORT, body).await;
            assert_eq!(sent.outcome, failed(ErrorClass::Timeout), "{pairs:?}");
            assert_eq!(receiver.accepted(), connections, "{pairs:?}");
        }
    }
}

#[tokio::test]
async fn a_window_that_opens_byte_by_byte_does_not_move_the_deadline() {
    let (receiver, sender) = receiver(&[(INITIAL_WINDOW_SIZE, 0)], |_, mut peer| async move {
        let one = 1_u32.to_be_bytes();
        while peer.send(&frame(WINDOW_UPDATE, 0, 1, &one)).await {
            let _ = tokio::time::timeout(SHORT / 50, peer.listen()).await;
        }
    })
    .await;
    let body = Bytes::from(vec![b'x'; BEYOND_WINDOWS]);
    let sent = sender.send_body(&url(&receiver), SHORT, body).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Timeout));
}

#[tokio::test]
async fn a_connection_that_says_goodbye_answers_what_it_took_and_is_replaced() {
    let (receiver, sender) = receiver(&[], |_, mut peer| async move {
        let stream = peer.request().await.unwrap();
        peer.send(&goaway(stream, 0)).await;
        peer.send(&ok(stream)).await;
        peer.listen().await;
    })
    .await;
    for connections in 1..=3 {
        let sent = sender.send(&url(&receiver)).await;
        assert_eq!(sent.outcome, Outcome::Answered(200));
        assert_eq!(receiver.accepted(), connections);
    }
}

#[tokio::test]
async fn a_goodbye_instead_of_an_answer_is_a_broken_exchange() {
    for (last_stream, reason) in [(0, 0), (0, 11), (1, 0), (u32::MAX >> 1, 2)] {
        let (receiver, sender) = receiver(&[], move |_, mut peer| async move {
            peer.request().await;
            peer.send(&goaway(last_stream, reason)).await;
            // Without this the connection would end for another reason.
            let _ = tokio::time::timeout(SHORT, peer.listen()).await;
        })
        .await;
        let sent = ends_by_a_limit(&receiver, &sender).await;
        assert_eq!(
            sent.outcome,
            failed(ErrorClass::Protocol),
            "{last_stream} {reason}"
        );
    }
}

#[tokio::test]
async fn a_stream_that_is_reset_is_a_broken_exchange_whatever_the_reason() {
    for reason in [0_u32, 1, 2, 7, 8, 11, 13, 0xffff] {
        let (receiver, sender) = receiver(&[], move |_, mut peer| async move {
            while let Some(stream) = peer.request().await {
                peer.send(&frame(RST_STREAM, 0, stream, &reason.to_be_bytes()))
                    .await;
            }
        })
        .await;
        let sent = ends_by_a_limit(&receiver, &sender).await;
        assert_eq!(sent.outcome, failed(ErrorClass::Protocol), "{reason}");
        assert!(sent.exchange.detail.is_some());
    }
}

#[tokio::test]
async fn a_reset_after_the_head_leaves_the_head_standing() {
    let (receiver, sender) = receiver(&[], |_, mut peer| async move {
        let stream = peer.request().await.unwrap();
        peer.send(&frame(HEADERS, END_HEADERS, stream, STATUS_200)).await;
        peer.send(&frame(DATA, 0, stream, b"half")).await;
        peer.send(&frame(RST_STREAM, 0, stream, &2_u32.to_be_bytes()))
            .await;
        peer.listen().await;
    })
    .await;
    let sent = ends_by_a_limit(&receiver, &sender).await;
    assert_eq!(sent.outcome, Outcome::Answered(200));
    assert!(answer(&sent).truncated);
}

/// What breaks the protocol after a whole request, and that it ends the exchange at once.
#[tokio::test]
async fn frames_that_break_the_rules_end_the_exchange_and_the_connection() {
    let table_size_update = [0x3f, 0xe1, 0xff, 0x03, 0x88];
    let literal = |name: &[u8], value: &[u8]| {
        let mut block = STATUS_200.to_vec();
        block.extend([0, u8::try_from(name.len()).unwrap()]);
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value);
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)
    };
    for (case, bytes) in [
        ("not frames", b"HTTP/1.1 400 Bad Request\r\n\r\n".repeat(4)),
        (
            "a frame that is too long",
            frame(DATA, 0, 1, &vec![0; 16 * 1024 + 1]),
        ),
        ("data before the head", frame(DATA, END_STREAM, 1, b"hello")),
        ("data on no stream", frame(DATA, 0, 0, b"hello")),
        ("data on a stream that never was", frame(DATA, 0, 99, b"hello")),
        ("a head on a stream that never was", ok(99)),
        ("a head on a stream of the receiver", ok(2)),
        (
            "a reset of a stream that never was",
            frame(RST_STREAM, 0, 99, &[0; 4]),
        ),
        (
            "a promise that was forbidden",
            frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        ),
        (
            "a window beyond 2^31",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
        ),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        ("settings of half a pair", frame(SETTINGS, 0, 0, &[0; 5])),
        (
            "a window in settings beyond 2^31",
            settings(&[(INITIAL_WINDOW_SIZE, u32::MAX)]),
        ),
        ("a ping of another length", frame(PING, 0, 0, &[0; 9])),
        (
            "a table larger than was offered",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &table_size_update),
        ),
        (
            "an entry that is not in the table",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff, 0xff, 0x7f]),
        ),
        (
            "a number without end",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 64]),
        ),
        (
            "no status",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x0f, 0x0d, 1, b'0']),
        ),
        (
            "a status of letters",
            frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x08, 3, b'a', b'b', b'c']),
        ),
        ("a name in capitals", literal(b"X-Shop", b"a")),
        ("a line feed in a value", literal(b"x-shop", b"a\nb")),
        ("a header of connections", literal(b"connection", b"close")),
        (
            "a continuation of nothing",
            frame(CONTINUATION, END_HEADERS, 1, STATUS_200),
        ),
        (
            "something else amid a head",
            [frame(HEADERS, 0, 1, STATUS_200), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
    ] {
        let bytes = Arc::new(bytes);
        let (receiver, sender) = receiver(&[], move |_, mut peer| {
            let bytes = Arc::clone(&bytes);
            async move {
                peer.request().await;
                peer.send(&bytes).await;
                peer.listen().await;
            }
        })
        .await;
        let sent = ends_by_a_limit(&receiver, &sender).await;
        assert_eq!(sent.outcome, failed(ErrorClass::Protocol), "{case}");
        let again = sender.send_within(&url(&receiver), SHORT).await;
        assert_ne!(again.outcome, Outcome::Answered(200), "{case}");
        assert_eq!(receiver.accepted(), 2, "{case}: the connection was used again");
    }
}

/// A flood that is begun as `begin` and goes on as `more` ends with this outcome, before any deadline.
async fn flooded(begin: Vec<u8>, more: Vec<u8>) -> Sent {
    let (begin, more) = (Arc::new(begin), Arc::new(more));
    let (receiver, sender) = receiver(&[], move |_, mut peer| {
        let (begin, more) = (Arc::clone(&begin), Arc::clone(&more));
        async move {
            peer.request().await;
            peer.send(&begin).await;
            peer.flood(&more).await;
        }
    })
    .await;
    ends_by_a_limit(&receiver, &sender).await
}

#[tokio::test]
async fn floods_of_headers_end_at_a_limit() {
    let mut entry = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1e];
    entry.extend(vec![b'y'; 4_000]);
    // Each byte of what follows is that entry of the table again.
    let bomb = [STATUS_200, &entry, &[0xbe; 10_000]].concat();
    let broken = failed(ErrorClass::Protocol);
    let head = frame(HEADERS, 0, 1, STATUS_200);
    let bomb = frame(HEADERS, END_HEADERS | END_STREAM, 1, &bomb);
    assert_eq!(flooded(bomb, frame(PING, 0, 0, &[0; 8])).await.outcome, broken);
    for more in [
        frame(CONTINUATION, 0, 1, &[]),
        frame(CONTINUATION, 0, 1, &[0x90]),
        frame(CONTINUATION, 0, 1, &[0x10, 1, b'x', 1, b'y'].repeat(1_000)),
    ] {
        assert_eq!(flooded(head.clone(), more).await.outcome, broken);
    }
}

#[tokio::test]
async fn floods_of_nothing_end_at_a_limit_and_the_head_stands() {
    let head = frame(HEADERS, END_HEADERS, 1, STATUS_200);
    for more in [
        frame(DATA, 0, 1, &[]),
        // All padding.
        frame(DATA, 8, 1, &[0]),
        frame(DATA, 8, 1, &[3, 0, 0, 0]),
        frame(DATA, 0, 1, b"x"),
        frame(DATA, 0, 1, &[b'x'; 1_000]),
    ] {
        let sent = flooded(head.clone(), more).await;
        assert_eq!(sent.outcome, Outcome::Answered(200));
        assert!(answer(&sent).truncated && answer(&sent).body.len() <= 16);
    }
}

/// What must be answered or ignored for as long as the exchange lasts ends with its deadline, and nothing remains.
#[tokio::test]
async fn floods_that_the_protocol_allows_end_with_the_deadline() {
    let deadline = Duration::from_secs(1);
    for (case, more) in [
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("answers to pings", frame(PING, ACK, 0, &[7; 8])),
        (
            "settings",
            settings(&[(HEADER_TABLE_SIZE, u32::MAX), (MAX_CONCURRENT_STREAMS, 100)]),
        ),
        ("interim heads", frame(HEADERS, END_HEADERS, 1, STATUS_103)),
        ("unknown frames", frame(0xfa, 0xff, 1, &[1; 100])),
        ("unknown settings", settings(&[(0xfafa, 7)])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ] {
        let more = Arc::new(more);
        let (ended, mut endings) = tokio::sync::mpsc::channel(1);
        let (receiver, sender) = receiver(&[], move |_, mut peer| {
            let (more, ended) = (Arc::clone(&more), ended.clone());
            async move {
                peer.request().await;
                peer.flood(&more).await;
                ended.send(()).await.unwrap();
            }
        })
        .await;
        let url = url(&receiver);
        let sent = tokio::time::timeout(AMPLE, sender.send_within(&url, deadline));
        let outcome = sent.await.expect("it ends").outcome;
        let ends = [failed(ErrorClass::Timeout), failed(ErrorClass::Protocol)];
        assert!(ends.contains(&outcome), "{case}: {outcome:?}");
        tokio::time::timeout(AMPLE, endings.recv())
            .await
            .unwrap()
            .unwrap();
    }
}
