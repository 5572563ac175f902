//! The listener on HTTP/1: slow, silent, malformed and many clients; panics; stops.

use std::time::Duration;

use stentor_http::listen::ListenLimits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::*;

const SHORT: Duration = Duration::from_millis(50);

/// Limits under which no time limit makes room: whoever gets a place got it from the roster.
fn places(connections_max: usize) -> ListenLimits {
    let (head_read_max, keep_alive_idle_max) = (2 * PATIENCE, 2 * PATIENCE);
    ListenLimits {
        connections_max,
        head_read_max,
        keep_alive_idle_max,
        ..ListenLimits::default()
    }
}

#[tokio::test]
async fn a_request_is_answered_and_the_connection_stays_open() {
    let server = start(ListenLimits::default()).await;
    let mut client = server.send(HEALTH).await;
    assert_eq!(status(&read_answer(&mut client).await), 200);
    client.write_all(HEALTH_AND_CLOSE.as_bytes()).await.unwrap();
    assert_eq!(status(&read_to_close(&mut client).await), 200);
}

#[tokio::test]
async fn a_handler_learns_the_address_of_its_client() {
    let server = start(ListenLimits::default()).await;
    let mut client = server.send("GET /peer HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let address = client.local_addr().unwrap().to_string();
    assert!(read_answer(&mut client).await.ends_with(&address));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_dropped() {
    let server = start(ListenLimits {
        head_read_max: SHORT,
        ..ListenLimits::default()
    })
    .await;
    assert_eq!(server.ask("").await, "");
}

#[tokio::test]
async fn a_head_that_never_ends_is_dropped() {
    let server = start(ListenLimits {
        head_read_max: SHORT,
        ..ListenLimits::default()
    })
    .await;
    assert_eq!(server.ask("GET /healthz HTTP/1.1\r\nhost: a\r\n").await, "");
    assert_eq!(server.ask("P").await, "", "neither protocol is known yet");
    assert_eq!(
        server.ask("PRI * HTTP/2.0\r\n").await,
        "",
        "HTTP/2 is likely, but not certain"
    );
}

#[tokio::test]
async fn between_requests_a_slow_head_is_dropped_long_before_an_idle_connection() {
    let limits = ListenLimits {
        head_read_max: SHORT,
        ..ListenLimits::default()
    };
    let server = start(limits).await;
    let mut idle = server.send(HEALTH).await;
    read_answer(&mut idle).await;
    let mut slow = server.send(HEALTH).await;
    read_answer(&mut slow).await;
    slow.write_all(b"GET").await.unwrap();
    assert_eq!(read_to_close(&mut slow).await, "");
    idle.write_all(HEALTH.as_bytes()).await.unwrap();
    assert_eq!(
        status(&read_answer(&mut idle).await),
        200,
        "idle for longer than a head may take, and still open"
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let server = start(ListenLimits {
        keep_alive_idle_max: SHORT,
        ..ListenLimits::default()
    })
    .await;
    assert_eq!(status(&server.ask(HEALTH).await), 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_dropped() {
    let server = start(ListenLimits {
        exchange_stall_max: SHORT,
        ..ListenLimits::default()
    })
    .await;
    let _client = server.send("GET /endless HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handlers.until_begun(1).await;
    server.handlers.until_none_is_alive().await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_does_not_hold_up_a_stop() {
    let mut server = start(ListenLimits {
        head_read_max: SHORT,
        ..ListenLimits::default()
    })
    .await;
    let mut client = server.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(client.read_u8()).await.unwrap();
    server.stop();
    assert_eq!(server.ended().await, 0);
    assert!(read_to_close(&mut client).await.len() < LARGE_BYTES);
}

#[tokio::test]
async fn a_handler_that_never_answers_is_dropped() {
    let server = start(ListenLimits {
        exchange_stall_max: SHORT,
        ..ListenLimits::default()
    })
    .await;
    assert_eq!(server.ask("GET /forever HTTP/1.1\r\nhost: a\r\n\r\n").await, "");
    server.handlers.until_none_is_alive().await;
}

#[tokio::test]
async fn too_many_headers_are_431() {
    let server = start(ListenLimits::default()).await;
    let headers: String = (0..1_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = server
        .ask(format!("GET /healthz HTTP/1.1\r\n{headers}\r\n"))
        .await;
    assert_eq!(status(&answer), 431);
}

#[tokio::test]
async fn a_header_of_a_mebibyte_is_431_and_the_client_gets_to_read_it() {
    let server = start(ListenLimits::default()).await;
    let answer = server
        .ask(format!(
            "GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n",
            "y".repeat(1024 * 1024)
        ))
        .await;
    assert_eq!(status(&answer), 431);
    server.assert_healthy().await;
}

#[tokio::test]
async fn a_target_of_64_kib_is_431_and_414_where_heads_may_be_larger() {
    let target = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(64 * 1024));
    let server = start(ListenLimits::default()).await;
    assert_eq!(status(&server.ask(&target).await), 431);
    let server = start(ListenLimits {
        head_bytes_max: 128 * 1024,
        ..ListenLimits::default()
    })
    .await;
    assert_eq!(status(&server.ask(&target).await), 414);
}

#[tokio::test]
async fn malformed_http_is_400_and_the_connection_is_closed() {
    let server = start(ListenLimits::default()).await;
    for malformed in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET /healthz HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "POST /echo HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\ncontent-length: -1\r\n\r\n{}",
        "POST /echo HTTP/1.1\r\ntransfer-encoding: gzip\r\n\r\n{}",
    ] {
        let answer = server.ask(malformed).await;
        assert_eq!(status(&answer), 400, "{malformed:?}");
    }
    server.assert_healthy().await;
}

#[tokio::test]
async fn a_length_and_chunks_at_once_cannot_smuggle_a_second_request() {
    let server = start(ListenLimits::default()).await;
    let smuggled = "0\r\n\r\nGET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let headers = "content-type: application/json\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n";
    let answer = server.ask(post_echo(headers, smuggled)).await;
    // Chunks win (RFC 9112, section 6.3), so that the body is empty. What follows would be a request of its own, but
    // the RFC has the connection closed after such a contradiction.
    assert!(
        answer.contains("content-length: 0\r\n") && answer.contains("connection: close\r\n"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn a_panic_in_a_handler_is_500_and_the_connection_lives_on() {
    let server = start(ListenLimits::default()).await;
    let mut client = server.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = read_answer(&mut client).await;
    assert_eq!(status(&answer), 500);
    assert_eq!(document(&answer)["code"], "internal");
    assert!(!answer.contains("on purpose"));
    client.write_all(HEALTH.as_bytes()).await.unwrap();
    assert_eq!(status(&read_answer(&mut client).await), 200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_handler() {
    let server = start(ListenLimits::default()).await;
    let client = server.send("GET /forever HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handlers.until_begun(1).await;
    drop(client);
    server.handlers.until_none_is_alive().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_slow_clients_do_not_keep_a_health_check_out() {
    const SLOW: usize = 5_000;
    const PLACES: usize = 2_000;
    let server = start(places(PLACES)).await;
    let mut slow = Vec::with_capacity(SLOW);
    for number in 0..SLOW {
        slow.push(server.send("GET /healthz HTTP/1.1\r\nx:").await);
        if number % 1_000 == 999 {
            server.assert_healthy().await;
        }
    }
    // The first to come waited longest, and went first.
    assert_eq!(read_to_close(&mut slow[0]).await, "");
    // The last to come is still welcome.
    let last = slow.last_mut().unwrap();
    last.write_all(b" y\r\n\r\n").await.unwrap();
    assert_eq!(status(&read_answer(last).await), 200);
}

#[tokio::test]
async fn who_is_being_served_keeps_its_place_when_all_are_taken() {
    let server = start(places(2)).await;
    let mut served = server.send("GET /gate HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handlers.until_begun(1).await;
    let mut silent = server.connect().await;
    server.assert_healthy().await;
    assert_eq!(read_to_close(&mut silent).await, "");
    server.handlers.open_gate();
    assert!(read_answer(&mut served).await.ends_with("opened"));
}

#[tokio::test]
async fn a_newcomer_is_served_as_soon_as_one_of_the_served_is_done() {
    let server = start(places(1)).await;
    let mut served = server.send("GET /gate HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handlers.until_begun(1).await;
    let mut newcomer = server.send(HEALTH).await;
    server.handlers.open_gate();
    assert!(read_answer(&mut served).await.ends_with("opened"));
    assert_eq!(status(&read_answer(&mut newcomer).await), 200);
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_lets_requests_finish() {
    let mut server = start(ListenLimits::default()).await;
    let mut idle = server.send(HEALTH).await;
    read_answer(&mut idle).await;
    let mut silent = server.connect().await;
    let mut busy = server.send("GET /gate HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handlers.until_begun(1).await;
    server.stop();
    assert_eq!(read_to_close(&mut idle).await, "");
    assert_eq!(read_to_close(&mut silent).await, "");
    assert!(
        tokio::net::TcpStream::connect(server.addr).await.is_err(),
        "no newcomer is accepted"
    );
    server.handlers.open_gate();
    let answer = read_to_close(&mut busy).await;
    assert!(
        answer.contains("connection: close") && answer.ends_with("opened"),
        "{answer}"
    );
    assert_eq!(server.ended().await, 0);
}

#[tokio::test]
async fn what_is_not_finished_when_the_grace_ends_is_dropped() {
    let mut server = start(ListenLimits::default()).await;
    let mut busy = server.send("GET /forever HTTP/1.1\r\nhost: a\r\n\r\n").await;
    server.handlers.until_begun(1).await;
    server.stop();
    server.end_grace();
    assert_eq!(read_to_close(&mut busy).await, "");
    server.handlers.until_none_is_alive().await;
    assert_eq!(server.ended().await, 1);
}

#[tokio::test]
async fn a_stop_without_connections_ends_at_once() {
    let mut server = start(ListenLimits::default()).await;
    server.stop();
    assert_eq!(server.ended().await, 0);
}

#[tokio::test]
async fn a_connection_that_ends_mid_request_harms_nobody() {
    let server = start(ListenLimits::default()).await;
    let mut client = server.send("GET /hea").await;
    client.shutdown().await.unwrap();
    let mut rest = Vec::new();
    within(client.read_to_end(&mut rest)).await.unwrap();
    server.assert_healthy().await;
}
