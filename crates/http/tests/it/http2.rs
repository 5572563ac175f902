//! HTTP/2 with prior knowledge, frame by frame: the floods that have names, and the ordinary case.

use std::time::Duration;

use stentor_http::listen::ListenLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// More than any flood may be read: a flood that gets this far was not stopped.
const FLOOD_BYTES: usize = 64 * 1024 * 1024;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block: `method` is an indexed field of HPACK's static table (0x82 GET, 0x83 POST).
fn block(method: u8, path: &str) -> Vec<u8> {
    let mut block = vec![method, 0x86, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    block.extend_from_slice(b"\x01\x01a");
    block
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(0x82, path))
}

fn cancel(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

async fn open(server: &Server) -> TcpStream {
    server.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await
}

/// The next frame's kind, stream and payload; `None` once the server has closed.
async fn next_frame(stream: &mut TcpStream) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    within(stream.read_exact(&mut head)).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).unwrap()];
    within(stream.read_exact(&mut payload)).await.ok()?;
    Some((
        head[3],
        u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
        payload,
    ))
}

async fn until_frame(stream: &mut TcpStream, kind: u8) -> Vec<u8> {
    loop {
        let (found, _, payload) = next_frame(stream).await.expect("the connection closed first");
        if found == kind {
            return payload;
        }
    }
}

/// Writes `opening`, then `unit` over and over until the server closes. Gives how many bytes it got rid of.
async fn flood(server: &Server, opening: &[u8], unit: &[u8]) -> usize {
    let stream = server
        .send([PREFACE, &frame(SETTINGS, 0, 0, &[]), opening].concat())
        .await;
    let (mut reading, mut writing) = stream.into_split();
    // Whoever floods reads too, or the server would merely stop reading from it.
    let reader = tokio::spawn(async move {
        let mut scratch = vec![0; 64 * 1024];
        while let Ok(1..) = reading.read(&mut scratch).await {}
    });
    let many = unit.repeat(16 * 1024 / unit.len() + 1);
    let mut sent = 0;
    while sent < FLOOD_BYTES && within(writing.write_all(&many)).await.is_ok() {
        sent += many.len();
    }
    within(reader).await.unwrap();
    sent
}

#[tokio::test]
async fn a_request_is_answered_and_a_stop_says_goodbye() {
    let mut server = start(ListenLimits::default()).await;
    let mut client = open(&server).await;
    client.write_all(&get(1, "/healthz")).await.unwrap();
    assert_eq!(until_frame(&mut client, DATA).await, b"ok");
    client.write_all(&get(3, "/gate")).await.unwrap();
    server.handlers.until_begun(1).await;
    server.stop();
    until_frame(&mut client, GOAWAY).await;
    server.handlers.open_gate();
    assert_eq!(until_frame(&mut client, DATA).await, b"opened");
    drop(client);
    assert_eq!(server.ended().await, 0);
}

#[tokio::test]
async fn a_handler_ends_with_its_dropped_connection() {
    let mut server = start(ListenLimits::default()).await;
    let mut client = open(&server).await;
    client.write_all(&get(1, "/forever")).await.unwrap();
    server.handlers.until_begun(1).await;
    server.stop();
    server.end_grace();
    while next_frame(&mut client).await.is_some() {}
    server.handlers.until_none_is_alive().await;
    assert_eq!(server.ended().await, 1);
}

#[tokio::test]
async fn a_refused_body_closes_the_stream_and_not_the_connection() {
    let server = start(ListenLimits::default()).await;
    let mut client = open(&server).await;
    client
        .write_all(&frame(HEADERS, END_HEADERS, 1, &block(0x83, "/echo")))
        .await
        .unwrap();
    client.write_all(&frame(DATA, 0, 1, b"{")).await.unwrap();
    assert!(
        String::from_utf8(until_frame(&mut client, DATA).await)
            .unwrap()
            .contains("unsupported_media_type")
    );
    client.write_all(&get(3, "/healthz")).await.unwrap();
    assert_eq!(until_frame(&mut client, DATA).await, b"ok");
}

#[tokio::test]
async fn a_connection_without_a_request_is_dropped() {
    let limits = ListenLimits {
        head_read_max: Duration::from_millis(50),
        ..ListenLimits::default()
    };
    let server = start(limits).await;
    let mut client = open(&server).await;
    while next_frame(&mut client).await.is_some() {}
}

#[tokio::test]
async fn an_idle_connection_gets_goodbye_after_its_time() {
    let limits = ListenLimits {
        keep_alive_idle_max: Duration::from_millis(50),
        ..ListenLimits::default()
    };
    let server = start(limits).await;
    let mut client = open(&server).await;
    client.write_all(&get(1, "/healthz")).await.unwrap();
    until_frame(&mut client, GOAWAY).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rapid_reset_is_cut_off_and_starts_few_handlers() {
    let server = start(ListenLimits::default()).await;
    let limits = ListenLimits::default();
    let mut client = open(&server).await;
    let burst: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| [get(2 * n + 1, "/forever"), cancel(2 * n + 1)].concat())
        .collect();
    // The server may close before all is written.
    let _written = within(client.write_all(&burst)).await;
    while next_frame(&mut client).await.is_some() {}
    server.handlers.until_none_is_alive().await;
    assert!(
        server.handlers.begun() <= 2 * limits.cancelled_max + 100,
        "{}",
        server.handlers.begun()
    );
    server.assert_healthy().await;
}

#[tokio::test]
async fn a_reset_that_waits_for_its_handler_is_cut_off_too() {
    let limits = ListenLimits {
        cancelled_max: 10,
        ..ListenLimits::default()
    };
    let server = start(limits).await;
    let mut client = open(&server).await;
    for n in 0..10_u32 {
        client.write_all(&get(2 * n + 1, "/forever")).await.unwrap();
        server.handlers.until_begun(usize::try_from(n).unwrap() + 1).await;
        client.write_all(&cancel(2 * n + 1)).await.unwrap();
        server.handlers.until_none_is_alive().await;
    }
    until_frame(&mut client, GOAWAY).await;
    // The client ignores the hint and goes on.
    let rest: Vec<u8> = (10..1_000_u32)
        .flat_map(|n| [get(2 * n + 1, "/forever"), cancel(2 * n + 1)].concat())
        .collect();
    let _written = within(client.write_all(&rest)).await;
    while next_frame(&mut client).await.is_some() {}
    server.handlers.until_none_is_alive().await;
    assert!(server.handlers.begun() <= 20, "{}", server.handlers.begun());
    server.assert_healthy().await;
}

#[tokio::test]
async fn a_client_may_have_a_hundred_streams_at_once_and_no_more() {
    let server = start(ListenLimits::default()).await;
    let mut client = open(&server).await;
    let requests: Vec<u8> = (0..200_u32).flat_map(|n| get(2 * n + 1, "/forever")).collect();
    client.write_all(&requests).await.unwrap();
    server.handlers.until_begun(100).await;
    until_frame(&mut client, RST_STREAM).await;
    assert_eq!(server.handlers.begun(), 100);
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_continuations_is_cut_off() {
    let server = start(ListenLimits::default()).await;
    let opening = frame(HEADERS, END_STREAM, 1, &block(0x82, "/forever"));
    let sent = flood(&server, &opening, &frame(CONTINUATION, 0, 1, b"\x00\x01x\x01y")).await;
    assert!(sent < FLOOD_BYTES);
    assert_eq!(server.handlers.begun(), 0);
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_empty_data_is_cut_off() {
    let server = start(ListenLimits::default()).await;
    let opening = frame(HEADERS, END_HEADERS, 1, &block(0x83, "/gate"));
    assert!(flood(&server, &opening, &frame(DATA, 0, 1, b"")).await < FLOOD_BYTES);
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_settings_is_cut_off() {
    let server = start(ListenLimits::default()).await;
    assert!(flood(&server, b"", &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])).await < FLOOD_BYTES);
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_is_cut_off() {
    let server = start(ListenLimits::default()).await;
    assert!(flood(&server, b"", &frame(PING, 0, 0, &[7; 8])).await < FLOOD_BYTES);
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_served_during_a_flood() {
    let limits = ListenLimits {
        unasked_bytes_max: usize::MAX,
        ..ListenLimits::default()
    };
    let server = start(limits).await;
    let stream = open(&server).await;
    let (mut reading, mut writing) = stream.into_split();
    let reader = tokio::spawn(async move {
        let mut scratch = vec![0; 64 * 1024];
        while let Ok(1..) = reading.read(&mut scratch).await {}
    });
    let many = frame(SETTINGS, 0, 0, &[]).repeat(1_000);
    let writer = tokio::spawn(async move { while writing.write_all(&many).await.is_ok() {} });
    for _ in 0..20 {
        server.assert_healthy().await;
    }
    writer.abort();
    reader.abort();
}

#[tokio::test]
async fn a_header_list_above_the_limit_is_431() {
    let server = start(ListenLimits {
        head_bytes_max: 8 * 1024,
        ..ListenLimits::default()
    })
    .await;
    let mut client = open(&server).await;
    let mut headers = block(0x82, "/forever");
    for _ in 0..100 {
        headers.extend_from_slice(b"\x00\x01x\x64");
        headers.extend_from_slice(&[b'y'; 100]);
    }
    client
        .write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &headers))
        .await
        .unwrap();
    let answer = until_frame(&mut client, HEADERS).await;
    assert!(
        String::from_utf8_lossy(&answer).contains("431") || answer.len() < 16,
        "{answer:?}"
    );
    assert_eq!(server.handlers.begun(), 0);
}
