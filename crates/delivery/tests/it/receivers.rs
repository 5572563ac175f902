//! What HTTP/1.1 receivers may do: the numbers are those of the catalogue of hostile cases.

use crate::world::{
    AMPLE, KEEP, OK, PAYLOAD, Receiver, SHORT, Sender, answer, failed, hold, read_request, reset, settle,
};
use bytes::Bytes;
use stentor_domain::attempt::{ErrorClass, Outcome};
use stentor_domain::limits::{ANSWER_BYTES_FAILED_MAX, ANSWER_HEADER_BYTES_MAX};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Read of an answer's body at most.
const READ_BYTES_MAX: usize = 64 * 1024;

#[tokio::test]
async fn a_request_is_written_as_http_asks_and_nothing_more() {
    let (requests, mut received) = mpsc::channel(1);
    let receiver = Receiver::new(move |_, mut stream| {
        let requests = requests.clone();
        async move {
            requests.send(read_request(&mut stream).await).await.unwrap();
            stream.write_all(OK).await.unwrap();
        }
    })
    .await;
    Sender::new().send(&receiver.url()).await;
    let request = String::from_utf8(received.recv().await.unwrap()).unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines.sort_unstable();
    let host = format!("host: {}", receiver.address);
    assert_eq!(
        lines,
        [
            "POST /in?a=b HTTP/1.1",
            "content-length: 10",
            host.as_str(),
            "webhook-id: msg_1"
        ]
    );
    assert_eq!(body.as_bytes(), PAYLOAD);
}

#[tokio::test]
async fn rx01_a_receiver_that_never_answers_times_out() {
    let (closed, mut closings) = mpsc::channel(1);
    let receiver = Receiver::new(move |_, stream| {
        let closed = closed.clone();
        async move {
            hold(stream).await;
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let sent = Sender::new().send_within(&receiver.url(), SHORT).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Timeout));
    assert_eq!(
        sent.exchange.detail.as_deref(),
        Some("no complete answer within 150 ms")
    );
    assert_eq!(sent.exchange.answer, None);
    // The slot is free: the connection was closed.
    tokio::time::timeout(AMPLE, closings.recv())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn rx03_a_port_that_nobody_listens_on_refuses_the_connection() {
    let receiver = Receiver::obedient().await;
    let url = receiver.url();
    drop(receiver);
    settle().await;
    let sent = Sender::new().send(&url).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Connect));
    assert!(sent.exchange.detail.unwrap().contains("refused"));
}

#[tokio::test]
async fn rx03_a_reset_in_the_middle_is_a_broken_exchange_and_is_not_repeated() {
    for bytes_read in [0, 20, usize::MAX] {
        let receiver = Receiver::new(move |_, mut stream| async move {
            match bytes_read {
                usize::MAX => {
                    read_request(&mut stream).await;
                }
                count => {
                    stream.read_exact(&mut vec![0; count]).await.unwrap();
                }
            }
            reset(stream);
        })
        .await;
        let sent = Sender::new().send(&receiver.url()).await;
        assert_eq!(sent.outcome, failed(ErrorClass::Protocol), "{bytes_read}");
        assert_eq!(receiver.accepted(), 1);
    }
}

#[tokio::test]
async fn rx06_single_bytes_of_a_head_do_not_move_the_deadline() {
    let receiver = Receiver::new(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::timeout(SHORT / 10, std::future::pending::<()>())
                .await
                .unwrap_err();
        }
    })
    .await;
    let sent = Sender::new().send_within(&receiver.url(), SHORT).await;
    assert_eq!(sent.outcome, failed(ErrorClass::Timeout));
}

#[tokio::test]
async fn rx07_a_body_that_never_ends_leaves_its_head_standing() {
    for (status, outcome) in [("200 OK", 200), ("503 Busy", 503)] {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 100\r\nretry-after: 7\r\n\r\nbegun");
        let receiver = Receiver::answering(head).await;
        let sender = Sender::new();
        let sent = sender.send_within(&receiver.url(), SHORT).await;
        assert_eq!(sent.outcome, Outcome::Answered(outcome));
        assert_eq!(sent.retry_after.as_deref(), Some("7"));
        assert_eq!(sent.exchange.detail, None);
        assert_eq!(answer(&sent).body, "begun");
        assert!(answer(&sent).truncated);
        sender.send_within(&receiver.url(), SHORT).await;
        assert_eq!(
            receiver.accepted(),
            2,
            "a connection with a body pending was used again"
        );
    }
}

#[tokio::test]
async fn bodies_are_kept_to_the_limit_and_read_to_their_end() {
    let long = ANSWER_BYTES_FAILED_MAX + 1;
    for (status, length, kept) in [
        (200, KEEP, KEEP),
        (200, KEEP + 1, KEEP),
        (500, long - 1, long - 1),
        (500, long, long - 1),
    ] {
        let receiver = Receiver::new(move |_, mut stream| async move {
            while !read_request(&mut stream).await.is_empty() {
                let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&vec![b'x'; length]).await.unwrap();
            }
        })
        .await;
        let sender = Sender::new();
        for _ in 0..2 {
            let sent = sender.send(&receiver.url()).await;
            assert_eq!(sent.outcome, Outcome::Answered(status));
            assert_eq!(answer(&sent).body.len(), kept);
            assert_eq!(answer(&sent).truncated, kept < length);
        }
        assert_eq!(receiver.accepted(), 1);
    }
}

#[tokio::test]
async fn a_body_too_long_to_read_costs_its_connection() {
    for (length, connections) in [(READ_BYTES_MAX, 1), (READ_BYTES_MAX + 1, 2)] {
        let receiver = Receiver::new(move |_, mut stream| async move {
            while !read_request(&mut stream).await.is_empty() {
                let mut answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into_bytes();
                answer.resize(answer.len() + length, b'x');
                // The sender may have read enough.
                let _ = stream.write_all(&answer).await;
            }
        })
        .await;
        let sender = Sender::new();
        for _ in 0..2 {
            let sent = sender.send(&receiver.url()).await;
            assert_eq!(sent.outcome, Outcome::Answered(200));
        }
        assert_eq!(receiver.accepted(), connections, "{length}");
    }
}

/// Sends forever after a head; says whether the sender hung up.
async fn endless(head: &'static str, chunk: &'static str) -> (Receiver, mpsc::Receiver<()>) {
    let (refused, refusals) = mpsc::channel(4);
    let receiver = Receiver::new(move |_, mut stream| {
        let refused = refused.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let chunks = chunk.repeat(1_000);
            while stream.write_all(chunks.as_bytes()).await.is_ok() {}
            refused.send(()).await.unwrap();
        }
    })
    .await;
    (receiver, refusals)
}

#[tokio::test]
async fn rx10_endless_bodies_are_read_to_a_limit_only() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let until_close = "HTTP/1.1 200 OK\r\n\r\n";
    for (head, chunk) in [
        (chunked, "1\r\nx\r\n"),
        (chunked, "1;x=y\r\nx\r\n"),
        (chunked, "1;xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            "x: y\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            "xxxxxxxxxx",
        ),
        (until_close, "x"),
    ] {
        let (receiver, mut refusals) = endless(head, chunk).await;
        // The limit ends it, not the deadline.
        let (sender, url) = (Sender::new(), receiver.url());
        let sent = tokio::time::timeout(AMPLE, sender.send_within(&url, 2 * AMPLE));
        let sent = sent.await.unwrap();
        assert_eq!(sent.outcome, Outcome::Answered(200), "{chunk}");
        assert!(
            answer(&sent).truncated && answer(&sent).body.len() <= KEEP,
            "{chunk}"
        );
        tokio::time::timeout(AMPLE, refusals.recv())
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn rx10_a_chunk_of_impossible_size_breaks_the_body_only() {
    for size in ["ffffffffffffffff", "10000000000000000", "-1", "0x10", "\u{0}"] {
        let bytes = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{size}\r\nabc");
        let receiver = Receiver::answering(bytes).await;
        let sent = Sender::new().send_within(&receiver.url(), SHORT).await;
        assert_eq!(sent.outcome, Outcome::Answered(200), "{size}");
        assert!(answer(&sent).truncated, "{size}");
    }
}

#[tokio::test]
async fn rx11_nothing_is_decoded() {
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03bomb";
    let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 14\r\n\r\n".to_vec();
    bytes.extend_from_slice(gzip);
    let receiver = Receiver::answering(bytes).await;
    let sent = Sender::new().send(&receiver.url()).await;
    assert_eq!(answer(&sent).body, gzip.as_slice());
    assert!(!answer(&sent).truncated);
}

#[tokio::test]
async fn rx12_heads_beyond_the_limits_or_the_grammar_are_refused() {
    let many = "x: y\r\n".repeat(10_000);
    let huge = format!("x: {}\r\n", "y".repeat(1024 * 1024));
    for lines in [
        many.as_str(),
        huge.as_str(),
        "no colon\r\n",
        "x: a\0b\r\n",
        "x: a\r\n folded\r\n",
        ": empty\r\n",
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: -1\r\n",
        "content-length: 99999999999999999999\r\n",
    ] {
        let receiver = Receiver::answering(format!("HTTP/1.1 200 OK\r\n{lines}\r\n")).await;
        let sent = Sender::new().send_within(&receiver.url(), AMPLE).await;
        let line = &lines[..lines.len().min(40)];
        assert_eq!(sent.outcome, failed(ErrorClass::Protocol), "{line:?}");
        assert!(sent.exchange.detail.is_some());
    }
}

#[tokio::test]
async fn rx12_odd_but_bounded_heads_are_shown_lossily() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nx-latin: gr\xfcn\r\n".to_vec();
    bytes.extend(format!("x-long: {}\r\ncontent-length: 0\r\n\r\n", "y".repeat(8_000)).bytes());
    let receiver = Receiver::answering(bytes).await;
    let sent = Sender::new().send(&receiver.url()).await;
    assert_eq!(sent.outcome, Outcome::Answered(200));
    let headers = &answer(&sent).headers;
    assert!(headers.starts_with("x-latin: gr\u{fffd}n\nx-long: yyy"));
    assert!(headers.len() <= ANSWER_HEADER_BYTES_MAX && headers.ends_with('\n'));
    assert!(answer(&sent).truncated);
}

#[tokio::test]
async fn rx14_odd_answers_have_a_defined_outcome() {
    let protocol = failed(ErrorClass::Protocol);
    for (bytes, outcome) in [
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            Outcome::Answered(101),
        ),
        ("HTTP/1.1 204 No Content\r\n\r\nunasked", Outcome::Answered(204)),
        (
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello",
            Outcome::Answered(304),
        ),
        (
            "HTTP/1.1 600 Beyond\r\ncontent-length: 0\r\n\r\n",
            Outcome::Answered(600),
        ),
        (
            "HTTP/1.1 999 Beyond\r\ncontent-length: 0\r\n\r\n",
            Outcome::Answered(999),
        ),
        (
            "HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n",
            Outcome::Answered(200),
        ),
        ("HTTP/1.1 200 OK\ncontent-length: 0\n\n", Outcome::Answered(200)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Later\r\ncontent-length: 0\r\n\r\n",
            Outcome::Answered(202),
        ),
        ("HTTP/1.1 000 Nothing\r\n\r\n", protocol),
        ("HTTP/1.1 99 Short\r\n\r\n", protocol),
        ("HTTP/1.1 abc\r\n\r\n", protocol),
        ("HTTP/2.0 200 OK\r\n\r\n", protocol),
        ("<html>welcome</html>", protocol),
        ("SSH-2.0-OpenSSH_9.9\r\n", protocol),
    ] {
        let receiver = Receiver::answering(bytes).await;
        let sent = Sender::new().send(&receiver.url()).await;
        assert_eq!(sent.outcome, outcome, "{bytes:?}");
    }
}

#[tokio::test]
async fn rx14_bytes_after_an_answer_never_become_the_next_answer() {
    for first in [
        "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nHTTP/1.1 500 x\r\n\r\n",
    ] {
        let receiver = Receiver::new(move |number, mut stream| async move {
            read_request(&mut stream).await;
            let bytes = if number == 1 { first.as_bytes() } else { OK };
            stream.write_all(bytes).await.unwrap();
            hold(stream).await;
        })
        .await;
        let sender = Sender::new();
        sender.send(&receiver.url()).await;
        settle().await;
        assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
        assert_eq!(receiver.accepted(), 2);
    }
}

/// More than the sockets of both sides buffer, so that the sender is still writing when the answer comes.
const LARGE: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn rx15_an_answer_before_the_request_was_read_is_honoured() {
    for (close, resets) in [
        ("connection: close\r\n", true),
        ("connection: close\r\n", false),
        ("", true),
    ] {
        let receiver = Receiver::new(move |_, mut stream| async move {
            stream.read_exact(&mut [0; 64]).await.unwrap();
            let answer = format!("HTTP/1.1 413 Too Large\r\n{close}content-length: 4\r\n\r\nlong");
            stream.write_all(answer.as_bytes()).await.unwrap();
            // Closing with unread bytes resets the connection.
            if !resets {
                hold_unread(stream).await;
            }
        })
        .await;
        let sender = Sender::new();
        let sent = sender
            .send_body(&receiver.url(), AMPLE, Bytes::from(vec![b'x'; LARGE]))
            .await;
        assert_eq!(sent.outcome, Outcome::Answered(413));
        assert_eq!(answer(&sent).body, "long");
        let next = sender.send(&receiver.url()).await;
        assert_eq!(next.outcome, Outcome::Answered(413));
        assert_eq!(receiver.accepted(), 2);
    }
}

/// Keeps a connection open and reads nothing from it.
async fn hold_unread(stream: tokio::net::TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

#[tokio::test]
async fn rx38_cookies_and_advice_of_a_receiver_are_not_obeyed() {
    let (requests, mut received) = mpsc::channel(2);
    let receiver = Receiver::new(move |_, mut stream| {
        let requests = requests.clone();
        async move {
            loop {
                let request = read_request(&mut stream).await;
                if request.is_empty() {
                    return;
                }
                requests.send(request).await.unwrap();
                stream
                    .write_all(
                        b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\nstrict-transport-security: max-age=9\r\n\
                          alt-svc: h2=\":9\"\r\nlink: </x>; rel=preload\r\ncontent-length: 0\r\n\r\n",
                    )
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let sender = Sender::new();
    sender.send(&receiver.url()).await;
    sender.send(&receiver.url()).await;
    let (first, second) = (received.recv().await, received.recv().await);
    assert_eq!(first, second);
}
