//! Which connections are used again, and which never.

use crate::world::{AMPLE, Names, OK, Receiver, Sender, answer, failed, guard, hold, read_request, settle};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stentor_domain::attempt::{ErrorClass, Outcome};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{Barrier, Notify, mpsc};

/// Longer than an idle connection is kept.
const IDLE_NO_LONGER: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_connection_is_kept_for_the_next_exchange() {
    let receiver = Receiver::obedient().await;
    let sender = Sender::new();
    let first = sender.send(&receiver.url()).await;
    assert_eq!(first.outcome, Outcome::Answered(200));
    assert_eq!(first.exchange.address, Some(receiver.address));
    let timing = first.exchange.timing;
    assert!(timing.connect_micros.is_some() && timing.first_byte_micros.is_some());
    assert!(timing.dns_micros.is_none() && timing.tls_micros.is_none());
    assert!(timing.total_micros > 0);

    for _ in 0..5 {
        let next = sender.send(&receiver.url()).await;
        assert_eq!(next.outcome, Outcome::Answered(200));
        assert_eq!(next.exchange.address, Some(receiver.address));
        assert_eq!(next.exchange.timing.connect_micros, None);
    }
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_not_kept_for_ever() {
    let receiver = Receiver::obedient().await;
    let sender = Sender::new();
    sender.send(&receiver.url()).await;
    sender.clock.advance(IDLE_NO_LONGER);
    sender.send(&receiver.url()).await;
    assert_eq!(receiver.accepted(), 2);
}

#[tokio::test]
async fn idle_connections_close_without_traffic() {
    let (closed, mut closings) = mpsc::channel(1);
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
    let sender = Sender::new();
    sender.send(&receiver.url()).await;
    sender.transport.close_idle();
    settle().await;
    assert!(closings.try_recv().is_err(), "closed too early");
    sender.clock.advance(IDLE_NO_LONGER);
    sender.transport.close_idle();
    tokio::time::timeout(AMPLE, closings.recv())
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn rx17_a_connection_closed_after_the_head_is_a_success_and_not_used_again() {
    let receiver = Receiver::new(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
            .await
            .unwrap();
    })
    .await;
    let sender = Sender::new();
    for accepted in 1..=2 {
        let sent = sender.send(&receiver.url()).await;
        assert_eq!(sent.outcome, Outcome::Answered(200));
        assert!(answer(&sent).truncated);
        assert_eq!(receiver.accepted(), accepted);
    }
}

#[tokio::test]
async fn rx17_a_kept_connection_found_closed_is_replaced_unnoticed() {
    let (closed, mut closings) = mpsc::channel(4);
    let receiver = Receiver::new(move |_, mut stream| {
        let closed = closed.clone();
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            drop(stream);
            closed.send(()).await.unwrap();
        }
    })
    .await;
    let sender = Sender::new();
    for accepted in 1..=3 {
        assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
        closings.recv().await.unwrap();
        settle().await;
        assert_eq!(receiver.accepted(), accepted);
    }
}

/// Nobody looks at connections that wait: that one is closed is seen by the exchange that would use it.
#[tokio::test]
async fn rx17_a_closed_one_of_several_kept_connections_is_passed_over_and_nothing_is_sent_twice() {
    let requests = Arc::new(AtomicUsize::new(0));
    let (both_in_use, kept) = (Arc::new(Barrier::new(2)), Arc::new(Notify::new()));
    let shared = (Arc::clone(&requests), both_in_use, Arc::clone(&kept));
    let receiver = Receiver::new(move |number, mut stream| {
        let (requests, both_in_use, kept) = shared.clone();
        async move {
            read_request(&mut stream).await;
            requests.fetch_add(1, Ordering::SeqCst);
            both_in_use.wait().await;
            if number > 1 {
                // The newest is used first, and is closed when it waits for that.
                kept.notified().await;
                stream.write_all(OK).await.unwrap();
                return kept.notified().await;
            }
            stream.write_all(OK).await.unwrap();
            while !read_request(&mut stream).await.is_empty() {
                requests.fetch_add(1, Ordering::SeqCst);
                stream.write_all(OK).await.unwrap();
            }
        }
    })
    .await;
    let sender = Sender::new();
    let url = receiver.url();
    let first = async {
        sender.send(&url).await;
        kept.notify_one();
    };
    tokio::join!(first, sender.send(&url));
    kept.notify_one();
    settle().await;
    assert_eq!(receiver.accepted(), 2);

    for _ in 0..2 {
        assert_eq!(sender.send(&url).await.outcome, Outcome::Answered(200));
    }
    assert_eq!(receiver.accepted(), 2, "the one that is open was not used");
    assert_eq!(requests.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_kept_connection_has_no_task_of_its_own() {
    let receiver = Receiver::obedient().await;
    let before = tasks();
    let sender = Sender::new();
    sender.send(&receiver.url()).await;
    // That of the receiver.
    assert_eq!(tasks(), before + 1);
    drop(sender);
    settle().await;
    assert_eq!(tasks(), before);
}

/// Tasks of this test's runtime that have not ended.
fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

/// The sender learns in one moment that it shall send and that its kept connection is closed: the pool does not know
/// the second, the connection does before it writes.
#[tokio::test]
async fn rx17_a_kept_connection_closed_exactly_at_reuse_is_replaced_where_nothing_was_sent() {
    let (signal, ours) = UnixStream::pair().unwrap();
    let signal = Arc::new(signal);
    let receiver = Receiver::new(move |number, mut stream| {
        let signal = Arc::clone(&signal);
        async move {
            read_request(&mut stream).await;
            stream.write_all(OK).await.unwrap();
            if number == 1 {
                settle().await;
                signal.try_write(b"!").unwrap();
            } else {
                hold(stream).await;
            }
        }
    })
    .await;
    let sender = Sender::new();
    assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
    ours.readable().await.unwrap();
    assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
    assert_eq!(receiver.accepted(), 2);
}

#[tokio::test]
async fn rx17_what_was_sent_is_never_sent_twice() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let receiver = Receiver::new(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await;
            seen.fetch_add(1, Ordering::SeqCst);
            stream.write_all(OK).await.unwrap();
            // The second request on the kept connection is read and then left without an answer.
            if !read_request(&mut stream).await.is_empty() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let sender = Sender::new();
    assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
    let second = sender.send(&receiver.url()).await;
    assert_eq!(second.outcome, failed(ErrorClass::Protocol));
    assert_eq!((requests.load(Ordering::SeqCst), receiver.accepted()), (2, 1));
}

#[tokio::test]
async fn rx39_a_receiver_that_closes_every_connection_gets_a_new_one_each_time() {
    let receiver =
        Receiver::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    let sender = Sender::new();
    for accepted in 1..=3 {
        assert_eq!(sender.send(&receiver.url()).await.outcome, Outcome::Answered(200));
        assert_eq!(receiver.accepted(), accepted);
    }
}

#[tokio::test]
async fn an_address_that_refuses_gives_way_to_the_next() {
    let receiver = Receiver::obedient().await;
    let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(|address| address.parse().unwrap());
    let names = Names::new([Ok(addresses.to_vec())]);
    let sender = Sender::with(names, guard("127.0.0.0/8", &[]), Vec::new());
    let sent = sender
        .send(&format!("http://hooks.example:{}/", receiver.address.port()))
        .await;
    assert_eq!(sent.outcome, Outcome::Answered(200));
    assert_eq!(sent.exchange.address, Some(receiver.address));
}
