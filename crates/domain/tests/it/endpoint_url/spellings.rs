//! Claims about the many ways to write one address: the parsed host is judged, never the text.

use super::{allowing, parse, refusal};
use stentor_domain::address::AddressRule;
use stentor_domain::endpoint_url::{EndpointUrl, UrlError};

/// Spellings of 127.0.0.1 as IPv4 hosts.
const LOOPBACK_SPELLINGS: &[&str] = &[
    "127.0.0.1",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0X7F000001",
    "017700000001",
    "0x7f.1",
    "0x7f.0x0.0x0.0x1",
    "0177.0.0.1",
    "0177.0x0.0.01",
    "00000177.0.0.1",
    "127.0.0.0x1",
    "127.0x000001",
    // Full-width digits and stops, circled and superscript digits, an ideographic stop.
    "\u{ff11}\u{ff12}\u{ff17}\u{ff0e}\u{ff10}\u{ff0e}\u{ff10}\u{ff0e}\u{ff11}",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "\u{2460}\u{2461}\u{2466}.0.0.\u{2460}",
    "\u{b9}\u{b2}\u{2077}.0.0.1",
    // Percent-encodings, of the stops and of digits, and of a full-width digit.
    "127%2e0%2E0%2e1",
    "%31%32%37.0.0.1",
    "%3127.0.0.%31",
    "%EF%BC%91%32%37.1",
    // A soft hyphen disappears.
    "127.0.\u{ad}0.1",
];

#[test]
fn every_spelling_of_loopback_is_the_loopback_address() {
    for host in LOOPBACK_SPELLINGS {
        let refused = refusal(&format!("https://{host}/"));
        let address = "127.0.0.1".parse().unwrap();
        assert_eq!(
            refused,
            UrlError::Address {
                address,
                rule: AddressRule::Loopback
            },
            "{host}"
        );
    }
}

#[test]
fn an_exception_holds_for_every_spelling_and_the_request_names_the_parsed_host() {
    let allowed = allowing("127.0.0.1:9000");
    for host in LOOPBACK_SPELLINGS {
        let url = EndpointUrl::parse(&format!("http://{host}:9000/"), &allowed).unwrap();
        assert_eq!(url.authority(), "127.0.0.1:9000", "{host}");
        assert!(url.is_excepted(&allowed), "{host}");
        assert!(!url.is_excepted(&allowing("127.0.0.1:9001")), "{host}");
    }
    for public in ["https://example.com:9000/", "https://93.184.215.14:9000/"] {
        let url = EndpointUrl::parse(public, &allowed).unwrap();
        assert!(
            !url.is_excepted(&allowed),
            "{public} is let through, but by no exception"
        );
    }
}

#[test]
fn every_spelling_of_a_private_or_special_address_is_refused_by_its_rule() {
    for (host, rule) in [
        ("10.0.0.1", AddressRule::Private),
        ("10.1", AddressRule::Private),
        ("167772161", AddressRule::Private),
        ("0xa000001", AddressRule::Private),
        ("012.0.0.1", AddressRule::Private),
        ("192.168.1", AddressRule::Private),
        ("0xc0.0xa8.1", AddressRule::Private),
        ("0300.0250.0.1", AddressRule::Private),
        ("3232235521", AddressRule::Private),
        ("172.16.1", AddressRule::Private),
        ("172.0x1f.255.255", AddressRule::Private),
        ("\u{ff11}\u{ff10}.0.0.1", AddressRule::Private),
        ("%31%30.0.0.1", AddressRule::Private),
        ("169.254.169.254", AddressRule::LinkLocal),
        ("2852039166", AddressRule::LinkLocal),
        ("0xa9fea9fe", AddressRule::LinkLocal),
        ("0251.0376.0251.0376", AddressRule::LinkLocal),
        ("169.254.43518", AddressRule::LinkLocal),
        ("100.100.100.200", AddressRule::CarrierShared),
        ("168.63.129.16", AddressRule::PlatformService),
        ("0", AddressRule::ThisNetwork),
        ("0x", AddressRule::ThisNetwork),
        ("0.0.0.0", AddressRule::ThisNetwork),
        ("[::]", AddressRule::ThisNetwork),
        ("[::1]", AddressRule::Loopback),
        ("[0:0:0:0:0:0:0:1]", AddressRule::Loopback),
        ("[0000::0001]", AddressRule::Loopback),
        ("[fd00:ec2::254]", AddressRule::Private),
        ("[FE80::1]", AddressRule::LinkLocal),
        ("[ff02::1]", AddressRule::Multicast),
        ("255.255.255.255", AddressRule::Reserved),
        ("4294967295", AddressRule::Reserved),
    ] {
        match refusal(&format!("https://{host}/")) {
            UrlError::Address { rule: found, .. } => assert_eq!(found, rule, "{host}"),
            other => panic!("{host}: {other}"),
        }
    }
}

#[test]
fn a_v6_host_around_a_forbidden_v4_address_is_refused() {
    for host in [
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:FFFF:127.0.0.1]",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[2002:7f00:1::]",
        "[2002:c0a8:1::1]",
        "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
        "[2001::f5ff:fffe]",
        "[2a00:1450:4001:81b:0:5efe:10.0.0.1]",
        "[2a00:1450:4001:81b:200:5efe:7f00:1]",
    ] {
        match refusal(&format!("https://{host}/")) {
            UrlError::Address { rule, .. } => assert_eq!(rule, AddressRule::EmbeddedIpv4, "{host}"),
            other => panic!("{host}: {other}"),
        }
    }
    for host in [
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[::ffff:0:127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[::ffff:1.1.1.1]",
    ] {
        match refusal(&format!("https://{host}/")) {
            UrlError::Address { rule, .. } => assert_eq!(rule, AddressRule::NotGlobalUnicast, "{host}"),
            other => panic!("{host}: {other}"),
        }
    }
}

#[test]
fn hosts_that_end_in_a_number_but_are_no_address_are_not_urls() {
    for host in [
        "127.0.0.1.1",
        "256.0.0.1",
        "4294967296",
        "1.2.3.08",
        "example.1",
        "[::1%25lo]",
        "[fe80::1%eth0]",
        "[1",
    ] {
        assert!(
            matches!(refusal(&format!("https://{host}/")), UrlError::NotAUrl(_)),
            "{host}"
        );
    }
}

#[test]
fn texts_that_other_parsers_read_as_another_host_are_judged_by_the_host_that_is_dialled() {
    for (text, host) in [
        ("https://example.com\\@127.0.0.1/", "example.com"),
        ("https://example.com#@127.0.0.1/", "example.com"),
        ("https://example.com?@127.0.0.1/", "example.com"),
        ("https:\\\\example.com\\hook", "example.com"),
        ("https:example.com", "example.com"),
        ("https:////example.com/", "example.com"),
    ] {
        assert_eq!(parse(text).unwrap().authority(), host, "{text}");
    }
    for text in [
        "https://127.0.0.1\\@example.com/",
        "https://127.0.0.1#@example.com/",
        "https://127.0.0.1?@example.com/",
        "https:\\\\127.0.0.1\\",
        "https:127.0.0.1",
        "https:/127.0.0.1/",
        "https:////127.0.0.1/",
        "https:///127.0.0.1/",
        "https://@127.0.0.1/",
    ] {
        let address = "127.0.0.1".parse().unwrap();
        assert_eq!(
            refusal(text),
            UrlError::Address {
                address,
                rule: AddressRule::Loopback
            },
            "{text}"
        );
    }
}
