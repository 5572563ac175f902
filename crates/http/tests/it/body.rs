//! Bodies over the wire: too large, too slow, of the wrong kind, and right.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use stentor_http::body::{BodyLimits, read_json};
use stentor_http::listen::ListenLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn a_body_comes_back_as_it_was_sent() {
    let server = start(ListenLimits::default()).await;
    let sent = r#"{"a":1E400,"a":"\ud800"}"#;
    let mut client = server
        .send(post_echo(
            &format!("{JSON}content-length: {}\r\n", sent.len()),
            sent,
        ))
        .await;
    assert!(read_answer(&mut client).await.ends_with(sent));
    let chunks = "7\r\n{\"a\":1E\r\n5\r\n400,\"\r\nc\r\na\":\"\\ud800\"}\r\n0\r\n\r\n";
    client
        .write_all(post_echo(&format!("{JSON}transfer-encoding: chunked\r\n"), chunks).as_bytes())
        .await
        .unwrap();
    assert!(read_answer(&mut client).await.ends_with(sent));
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_is_taken() {
    let server = start(ListenLimits::default()).await;
    let limit = small_bodies().bytes_max;
    let body = "1".repeat(limit);
    let headers = format!("{JSON}content-length: {limit}\r\nconnection: close\r\n");
    assert_eq!(status(&server.ask(post_echo(&headers, &body)).await), 200);
}

#[tokio::test]
async fn a_declared_length_above_the_limit_is_413_before_a_byte_is_sent() {
    let server = start(ListenLimits::default()).await;
    let headers = format!("{JSON}content-length: 1025\r\nexpect: 100-continue\r\n");
    let answer = server.ask(post_echo(&headers, "")).await;
    assert_eq!(status(&answer), 413, "and not 100 Continue");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(document(&answer)["code"], "payload_too_large");
}

#[tokio::test]
async fn a_client_that_sends_its_whole_large_body_still_gets_to_read_the_413() {
    let server = start(ListenLimits::default()).await;
    let body = "1".repeat(4 * 1024 * 1024);
    let headers = format!("{JSON}content-length: {}\r\n", body.len());
    assert_eq!(status(&server.ask(post_echo(&headers, &body)).await), 413);
}

#[tokio::test]
async fn chunks_beyond_the_limit_are_413_while_they_stream() {
    let server = start(ListenLimits::default()).await;
    let mut client = server
        .send(post_echo(&format!("{JSON}transfer-encoding: chunked\r\n"), ""))
        .await;
    // 1,100 bytes and no end: the answer cannot have waited for it.
    for _ in 0..11 {
        client
            .write_all(format!("64\r\n{}\r\n", "1".repeat(100)).as_bytes())
            .await
            .unwrap();
    }
    assert_eq!(status(&read_to_close(&mut client).await), 413);
}

#[tokio::test]
async fn no_more_than_the_limit_and_one_frame_is_taken_from_a_client() {
    let taken = Arc::new(AtomicUsize::new(0));
    let body = axum::body::Body::new(Endless {
        taken: Arc::clone(&taken),
        _entered: None,
    });
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
    let refused = read_json(&headers, body, small_bodies()).await.unwrap_err();
    assert_eq!(refused.status(), 413);
    assert!(taken.load(Ordering::Relaxed) <= small_bodies().bytes_max + Endless::FRAME);
}

#[tokio::test]
async fn a_body_slower_than_the_deadline_is_408() {
    let bodies = BodyLimits {
        read_max: Duration::from_millis(50),
        ..small_bodies()
    };
    let server = start_with(ListenLimits::default(), bodies).await;
    let mut client = server
        .send(post_echo(&format!("{JSON}content-length: 1000\r\n"), "{"))
        .await;
    let answer = read_to_close(&mut client).await;
    assert_eq!(status(&answer), 408);
    assert_eq!(document(&answer)["code"], "request_timeout");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_body_that_drips_steadily_gains_no_time() {
    const DECLARED: usize = 64 * 1024 * 1024;
    let bodies = BodyLimits {
        bytes_max: DECLARED,
        read_max: Duration::from_millis(50),
    };
    let server = start_with(ListenLimits::default(), bodies).await;
    let head = post_echo(&format!("{JSON}content-length: {DECLARED}\r\n"), "");
    let (mut reading, mut writing) = server.send(head).await.into_split();
    let drip = tokio::spawn(async move { while writing.write_all(b"1").await.is_ok() {} });
    let mut first_line = [0; 12];
    within(reading.read_exact(&mut first_line)).await.unwrap();
    assert_eq!(&first_line, b"HTTP/1.1 408");
    within(drip).await.unwrap();
}

#[tokio::test]
async fn any_content_encoding_is_415() {
    let server = start(ListenLimits::default()).await;
    for encoding in ["gzip", "br", "identity, gzip", "x"] {
        let headers = format!("{JSON}content-encoding: {encoding}\r\ncontent-length: 2\r\n");
        let answer = server.ask(post_echo(&headers, "{}")).await;
        assert_eq!(status(&answer), 415, "{encoding}");
        assert!(answer.contains("accept-encoding: identity\r\n"), "{answer}");
    }
    let headers = format!("{JSON}content-encoding: identity\r\ncontent-length: 2\r\nconnection: close\r\n");
    assert_eq!(status(&server.ask(post_echo(&headers, "{}")).await), 200);
}

#[tokio::test]
async fn a_body_that_is_not_called_json_is_415() {
    let server = start(ListenLimits::default()).await;
    for header in [
        "",
        "content-type: text/plain\r\n",
        "content-type: application/json; charset=utf-16\r\n",
    ] {
        let answer = server
            .ask(post_echo(&format!("{header}content-length: 2\r\n"), "{}"))
            .await;
        assert_eq!(status(&answer), 415, "{header}");
        assert_eq!(document(&answer)["code"], "unsupported_media_type");
    }
}

#[tokio::test]
async fn no_body_needs_no_type() {
    let server = start(ListenLimits::default()).await;
    let answer = server
        .ask(post_echo("content-length: 0\r\nconnection: close\r\n", ""))
        .await;
    assert_eq!(status(&answer), 200);
}

#[tokio::test]
async fn malformed_chunks_are_400() {
    let server = start(ListenLimits::default()).await;
    let headers = format!("{JSON}transfer-encoding: chunked\r\n");
    let answer = server.ask(post_echo(&headers, "zz\r\n{}\r\n0\r\n\r\n")).await;
    assert_eq!(status(&answer), 400);
}

#[tokio::test]
async fn a_client_whose_body_nobody_reads_still_gets_its_answer() {
    const BODY_BYTES: usize = 100_000;
    let server = start(ListenLimits::default()).await;
    let head = format!("POST /missing HTTP/1.1\r\nhost: a\r\ncontent-length: {BODY_BYTES}\r\n\r\n");
    let mut client = server.send(head).await;
    let answer = read_answer(&mut client).await;
    assert_eq!(status(&answer), 404);
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    within(client.write_all(&[b'x'; BODY_BYTES])).await.unwrap();
    client.shutdown().await.unwrap();
    let rest = within(client.read(&mut [0])).await;
    assert_eq!(rest.unwrap(), 0, "closed in order, without a reset");
}
