//! Where deliveries may go: addresses and names that are refused when an endpoint is saved, each by its rule.

use super::{made, published, published_with, told, world};
use serde_json::json;

/// Hosts, each with a part of the sentence that names its rule.
const FORBIDDEN: &[(&str, &str)] = &[
    ("10.0.0.1", "private"),
    ("10.255.255.255", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.0.1", "private"),
    ("10.1", "private"),
    ("167772161", "private"),
    ("0xa000001", "private"),
    ("012.0.0.1", "private"),
    ("0300.0250.0.1", "private"),
    ("%31%30.0.0.1", "private"),
    ("\u{ff11}\u{ff10}.0.0.1", "private"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("127.1", "loopback"),
    ("2130706433", "loopback"),
    ("0x7f.1", "loopback"),
    ("017700000001", "loopback"),
    ("127\u{3002}0\u{3002}0\u{3002}1", "loopback"),
    ("[::1]", "loopback"),
    ("[0:0:0:0:0:0:0:1]", "loopback"),
    ("169.254.169.254", "link-local"),
    ("2852039166", "link-local"),
    ("[fe80::1]", "link-local"),
    ("0.0.0.0", "0.0.0.0"),
    ("0", "0.0.0.0"),
    ("[::]", "::"),
    ("100.64.0.1", "100.64"),
    ("168.63.129.16", "168.63.129.16"),
    ("224.0.0.1", "multicast"),
    ("[ff02::1]", "multicast"),
    ("255.255.255.255", "255.255.255.255"),
    ("192.0.2.1", "192.0.2.1"),
    ("198.18.0.1", "198.18.0.1"),
    ("[fd00:ec2::254]", "private"),
    ("[::ffff:127.0.0.1]", "IPv4"),
    ("[::ffff:169.254.169.254]", "IPv4"),
    ("[64:ff9b::a9fe:a9fe]", "IPv4"),
    ("[2002:7f00:1::]", "IPv4"),
    ("localhost", "local machine"),
    ("LOCALHOST", "local machine"),
    ("localhost.", "local machine"),
    ("a.localhost", "local machine"),
    ("localhost.localdomain", "local machine"),
    ("%6cocalhost", "local machine"),
    ("printer.local", ".local"),
    ("metadata.google.internal", ".internal"),
    ("nas.home.arpa", ".home.arpa"),
    ("intranet", "single label"),
    ("metadata", "single label"),
    ("example.com.", "dot"),
    ("*.example.com", "wildcard"),
    ("user:pass@example.com", "user name or password"),
    ("example.com:22", "port"),
    ("example.com:0", "port"),
];

/// Whole URLs that are refused for their form or scheme.
const NO_HTTPS: &[(&str, &str)] = &[
    ("http://example.com/", "https://"),
    ("http://1.1.1.1/", "https://"),
    ("ftp://example.com/", "https://"),
    ("file:///etc/passwd", "https://"),
    ("gopher://1.1.1.1:443/_", "https://"),
    ("javascript:1", "https://"),
    ("wss://example.com/", "https://"),
    ("", "https://"),
    ("example.com/hook", "https://"),
    ("//example.com", "https://"),
    ("https://", "no host"),
    ("https://256.0.0.1/", "not a valid URL"),
    (" https://example.com/", "space"),
    ("https://example.com/\r\nX: y", "control characters"),
];

#[tokio::test]
async fn a_destination_that_is_not_public_https_is_refused_by_its_rule() {
    let (world, key) = world().await;
    // More questions than a key may ask in a minute.
    let more = world
        .key(json!({"role": "tenant", "tenant": "acme"}))
        .await
        .text("key");
    let (asker, changer) = (world.with(&key), world.with(&more));
    let path = made(&changer, published()).await;
    let hosts = FORBIDDEN
        .iter()
        .map(|(host, rule)| (format!("https://{host}/hook?token=s3cret"), *rule));
    let urls = NO_HTTPS.iter().map(|(url, rule)| ((*url).to_owned(), *rule));
    for (url, rule) in hosts.chain(urls) {
        let created = asker
            .post("/webhooks", published_with(json!({ "url": url })))
            .await;
        let updated = changer.call(&format!("PUT {path}"), json!({ "url": url })).await;
        for answer in [created, updated] {
            let told = told(&answer, 400, "url_not_allowed");
            assert!(told.len() == 1 && told[0].starts_with("url: "), "{url}: {told:?}");
            assert!(told[0].contains(rule), "{url}: {told:?}");
            assert!(!answer.raw.contains("s3cret"), "{}", answer.raw);
        }
    }
    assert_eq!(
        changer.get("/webhooks").await.each("url"),
        ["https://yourapp.com/webhooks/vignetim"]
    );
}

#[tokio::test]
async fn a_url_is_kept_as_it_was_sent_and_the_same_one_may_be_registered_twice() {
    let (world, key) = world().await;
    let asker = world.with(&key);
    for url in [
        "HTTPS://Hooks.Example.com:443/Orders?token=s3cret#top",
        "https://b\u{fc}cher.example/a b",
        "https://1.1.1.1:8443",
        "https://1.1.1.1:8443",
        "https://[2606:4700:4700:0:0:0:0:1111]/",
    ] {
        let body = published_with(json!({ "url": url }));
        let shown = asker.post("/webhooks", body).await.expect(201);
        assert_eq!(shown["url"], url);
    }
}

#[tokio::test]
async fn a_url_that_is_too_long_is_refused() {
    let (world, key) = world().await;
    let url = format!("https://example.com/{}", "x".repeat(2_064));
    let answer = world
        .with(&key)
        .post("/webhooks", published_with(json!({ "url": url })))
        .await;
    assert_eq!(
        told(&answer, 400, "url_not_allowed"),
        ["url: the URL is longer than 2083 characters"]
    );
}
