//! Destinations that must never be reached: each of these listeners counts zero connections.

use crate::world::{AMPLE, Names, Receiver, Sender, failed, guard};
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;
use stentor_delivery::guard::Guard;
use stentor_delivery::transport::Sent;
use stentor_domain::attempt::{ErrorClass, Outcome};

/// Longer than any connection is kept.
const KEPT_NO_LONGER: Duration = Duration::from_secs(5 * 60);

fn addresses(texts: &[&str]) -> Result<Vec<IpAddr>, ErrorClass> {
    Ok(texts.iter().map(|text| text.parse().unwrap()).collect())
}

fn assert_blocked(sent: &Sent) {
    assert_eq!(sent.outcome, failed(ErrorClass::BlockedAddress));
    assert_eq!(sent.exchange.address, None);
}

#[tokio::test]
async fn a_forbidden_literal_is_blocked_and_the_rule_named() {
    let receiver = Receiver::obedient().await;
    let sender = Sender::with(Names::local(), Guard::default(), Vec::new());
    let port = receiver.address.port();
    for host in [
        "127.0.0.1",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
    ] {
        let sent = sender.send(&format!("http://{host}:{port}/")).await;
        assert_blocked(&sent);
        assert!(sent.exchange.detail.unwrap().ends_with("are forbidden"), "{host}");
    }
    assert_eq!(receiver.accepted(), 0);
}

#[tokio::test]
async fn one_forbidden_address_refuses_all_of_a_name_and_stays_unsaid() {
    for mix in [
        ["127.0.0.1", "10.0.0.1"],
        ["10.0.0.1", "127.0.0.1"],
        ["127.0.0.1", "::1"],
    ] {
        let receiver = Receiver::obedient().await;
        let sender = Sender::with(Names::new([addresses(&mix)]), guard("127.0.0.1", &[]), Vec::new());
        let sent = sender
            .send(&format!("http://hooks.example:{}/", receiver.address.port()))
            .await;
        assert_blocked(&sent);
        assert_eq!(sent.exchange.detail, None);
        assert_eq!(receiver.accepted(), 0);
    }
}

#[tokio::test]
async fn a_rebound_name_is_vetted_again_when_its_connection_has_aged() {
    let receiver = Receiver::obedient().await;
    let names = Names::new([addresses(&["127.0.0.1"]), addresses(&["10.0.0.1"])]);
    let sender = Sender::with(names.clone(), guard("127.0.0.1", &[]), Vec::new());
    let url = format!("http://hooks.example:{}/", receiver.address.port());

    assert_eq!(sender.send(&url).await.outcome, Outcome::Answered(200));
    // The kept connection still leads to the address that was vetted.
    assert_eq!(sender.send(&url).await.outcome, Outcome::Answered(200));
    assert_eq!(names.asked.load(Ordering::Relaxed), 1);

    sender.clock.advance(KEPT_NO_LONGER);
    assert_blocked(&sender.send(&url).await);
    assert_eq!(receiver.accepted(), 1);
}

#[tokio::test]
async fn busy_traffic_does_not_keep_a_connection_past_its_age() {
    let receiver = Receiver::obedient().await;
    let names = Names::new([addresses(&["127.0.0.1"]), addresses(&["10.0.0.1"])]);
    let sender = Sender::with(names, guard("127.0.0.1", &[]), Vec::new());
    let url = format!("http://hooks.example:{}/", receiver.address.port());
    for _ in 0..20 {
        assert_eq!(sender.send(&url).await.outcome, Outcome::Answered(200));
        sender
            .clock
            .advance(Duration::from_secs(15) - Duration::from_millis(1));
    }
    sender.clock.advance(Duration::from_secs(1));
    assert_blocked(&sender.send(&url).await);
}

#[tokio::test]
async fn the_own_listener_is_blocked_even_where_it_is_allowed() {
    let own = Receiver::obedient().await;
    let unspecified = format!("0.0.0.0:{}", own.address.port()).parse().unwrap();
    for bound in [own.address, unspecified] {
        let sender = Sender::with(Names::local(), guard("127.0.0.0/8", &[bound]), Vec::new());
        assert_blocked(&sender.send(&own.url()).await);
        let by_name = format!("http://hooks.example:{}/", own.address.port());
        assert_blocked(&sender.send(&by_name).await);
    }
    assert_eq!(own.accepted(), 0);
}

#[tokio::test]
async fn lookups_that_fail_are_told_apart() {
    for class in [ErrorClass::DnsNotFound, ErrorClass::DnsFailure] {
        let sender = Sender::with(Names::new([Err(class)]), Guard::default(), Vec::new());
        let sent = sender.send("https://hooks.example/").await;
        assert_eq!(sent.outcome, failed(class));
        assert!(sent.exchange.timing.dns_micros.is_some());
    }
}

/// RX-20, RX-21: a redirect to an inner address, to itself or to another scheme is an answer like any other.
#[tokio::test]
async fn redirects_are_never_followed() {
    let inner = Receiver::obedient().await;
    for status in [301, 302, 303, 307, 308] {
        for location in [inner.url(), "/in?a=b".into(), "file:///etc/passwd".into()] {
            let answer =
                format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
            let receiver = Receiver::answering(answer).await;
            let sent = Sender::new().send(&receiver.url()).await;
            assert_eq!(sent.outcome.error_class(), Some(ErrorClass::RedirectNotFollowed));
            let headers = sent.exchange.answer.unwrap().headers;
            assert!(headers.contains(&format!("location: {location}\n")));
            assert_eq!(receiver.accepted(), 1);
        }
    }
    assert_eq!(inner.accepted(), 0);
}

/// RX-44: the environment of a process cannot change while it runs, so that another one sends.
#[tokio::test]
async fn proxies_of_the_environment_are_ignored() {
    let proxy = Receiver::obedient().await;
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "kept::a_connection_is_kept_for_the_next_exchange"]);
    for variable in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        child.env(variable, format!("http://{}", proxy.address));
    }
    let output = tokio::task::spawn_blocking(move || child.output());
    let output = tokio::time::timeout(AMPLE, output)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(proxy.accepted(), 0);
}
