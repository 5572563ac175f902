//! Claims about the URL of an endpoint.

mod spellings;

use proptest::prelude::*;
use stentor_domain::address::{AddressRule, AllowList};
use stentor_domain::endpoint_url::{EndpointUrl, UrlError};
use stentor_domain::limits::URL_CHARACTERS_MAX;
use url::Host;

/// Parses without any exception of the operator.
fn parse(text: &str) -> Result<EndpointUrl, UrlError> {
    EndpointUrl::parse(text, &AllowList::default())
}

fn refusal(text: &str) -> UrlError {
    parse(text).expect_err(text)
}

fn allowing(destination: &str) -> AllowList {
    AllowList::new(vec![destination.parse().unwrap()])
}

#[test]
fn an_ordinary_url_is_taken_apart_as_it_is_dialled_and_sent() {
    let url = parse("HTTPS://Hooks.Example.com/Orders?tenant=7#top").unwrap();
    assert_eq!(url.text(), "HTTPS://Hooks.Example.com/Orders?tenant=7#top");
    assert!(url.is_https());
    assert_eq!(url.host(), Host::Domain("hooks.example.com"));
    assert_eq!(url.port(), 443);
    assert_eq!(url.authority(), "hooks.example.com");
    assert_eq!(url.path_and_query(), "/Orders?tenant=7");
}

#[test]
fn the_host_header_names_a_port_only_when_it_is_not_the_schemes() {
    for (text, authority, port) in [
        ("https://example.com:443/", "example.com", 443),
        ("https://example.com:8443/", "example.com:8443", 8443),
        ("https://1.1.1.1:8443", "1.1.1.1:8443", 8443),
        (
            "https://[2606:4700:4700::1111]:8443",
            "[2606:4700:4700::1111]:8443",
            8443,
        ),
        (
            "https://[2606:4700:4700:0:0:0:0:1111]",
            "[2606:4700:4700::1111]",
            443,
        ),
    ] {
        let url = parse(text).unwrap();
        assert_eq!((url.authority(), url.port()), (authority, port), "{text}");
    }
}

#[test]
fn the_target_is_never_empty_and_never_has_a_fragment() {
    for (text, target) in [
        ("https://example.com", "/"),
        ("https://example.com?", "/?"),
        ("https://example.com?a=b", "/?a=b"),
        ("https://example.com#secret", "/"),
        ("https://example.com/a b?c=\u{fc}#d", "/a%20b?c=%C3%BC"),
        ("https://example.com/../../etc", "/etc"),
    ] {
        assert_eq!(parse(text).unwrap().path_and_query(), target, "{text}");
    }
}

#[test]
fn query_values_are_hidden_wherever_a_url_is_logged() {
    for (text, masked) in [
        (
            "https://example.com/hook?token=s3cret&b=s3cret",
            "https://example.com/hook?token=***&b=***",
        ),
        (
            "https://example.com:8443/hook?s3cret",
            "https://example.com:8443/hook?***",
        ),
        (
            "https://example.com/?a=s3cret=s3cret&&",
            "https://example.com/?a=***&&",
        ),
        ("https://example.com/hook#s3cret", "https://example.com/hook"),
    ] {
        let url = parse(text).unwrap();
        assert_eq!(url.masked(), masked);
        assert_eq!(format!("{url:?}"), format!("EndpointUrl({masked:?})"));
    }
    let with_password = EndpointUrl::stored("https://user:s3cret@example.com/").unwrap();
    assert_eq!(with_password.masked(), "https://example.com/");
}

#[test]
fn plain_http_is_refused_but_for_a_literal_address_that_the_operator_allows() {
    assert_eq!(refusal("http://example.com/"), UrlError::NotHttps);
    assert_eq!(refusal("http://1.1.1.1/"), UrlError::NotHttps);
    let loopback = allowing("127.0.0.0/8:9000");
    let url = EndpointUrl::parse("http://127.0.0.1:9000/hook", &loopback).unwrap();
    assert!(!url.is_https());
    assert!(EndpointUrl::parse("https://127.0.0.1:9000/hook", &loopback).is_ok());
    assert!(EndpointUrl::parse("http://[::ffff:127.0.0.1]:9000/hook", &loopback).is_ok());
    assert!(EndpointUrl::parse("http://127.0.0.1:9001/", &loopback).is_err());
    assert!(EndpointUrl::parse("http://127.0.0.1/", &loopback).is_err());
    assert_eq!(
        EndpointUrl::parse("http://example.com:9000/", &loopback),
        Err(UrlError::NotHttps)
    );
    assert_eq!(
        EndpointUrl::parse("http://1.1.1.1/", &loopback),
        Err(UrlError::NotHttps)
    );
    assert_eq!(
        EndpointUrl::parse("http://10.0.0.1/", &allowing("10.0.0.0/8"))
            .unwrap()
            .port(),
        80
    );
}

#[test]
fn localhost_is_told_which_address_to_use_even_when_loopback_is_allowed() {
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "localhost.localdomain",
        "%6cocalhost",
    ] {
        for scheme in ["http", "https"] {
            let text = format!("{scheme}://{host}:9000/");
            let error = EndpointUrl::parse(&text, &allowing("127.0.0.0/8")).expect_err(&text);
            assert_eq!(error, UrlError::Localhost, "{text}");
            assert!(error.to_string().contains("use 127.0.0.1"));
        }
    }
}

#[test]
fn names_that_can_never_be_public_are_refused_by_their_rule() {
    for (host, rule) in [
        ("printer.local", UrlError::PrivateDomain("local")),
        ("metadata.google.internal", UrlError::PrivateDomain("internal")),
        ("METADATA.GOOGLE.INTERNAL", UrlError::PrivateDomain("internal")),
        ("nas.home.arpa", UrlError::PrivateDomain("home.arpa")),
        ("intranet", UrlError::SingleLabel),
        ("metadata", UrlError::SingleLabel),
        ("com", UrlError::SingleLabel),
        ("example.com.", UrlError::TrailingDot),
        ("metadata.google.internal.", UrlError::TrailingDot),
        ("*", UrlError::WildcardHost),
        ("*.example.com", UrlError::WildcardHost),
    ] {
        assert_eq!(refusal(&format!("https://{host}/")), rule, "{host}");
    }
}

#[test]
fn names_that_only_look_private_pass() {
    for host in [
        "notlocal.com",
        "local.example.com",
        "mylocal.org",
        "internal.io",
        "xinternal.net",
        "a.mylocal",
        "a.xinternal",
        "myhome.arpa",
        "a.notlocalhost",
        "a_b.example.com",
    ] {
        assert!(parse(&format!("https://{host}/")).is_ok(), "{host}");
    }
}

#[test]
fn hosts_are_limited_in_length_and_characters() {
    let label_63 = "a".repeat(63);
    assert!(parse(&format!("https://{label_63}.example/")).is_ok());
    assert_eq!(
        refusal(&format!("https://{label_63}a.example/")),
        UrlError::LabelLength
    );
    let name_253 = format!("{label_63}.{label_63}.{label_63}.{}", "b".repeat(61));
    assert_eq!(name_253.len(), 253);
    assert!(parse(&format!("https://{name_253}/")).is_ok());
    assert_eq!(refusal(&format!("https://{name_253}b/")), UrlError::HostTooLong);
    assert_eq!(refusal("https://a..example.com/"), UrlError::LabelLength);
    assert_eq!(refusal("https://.example.com/"), UrlError::LabelLength);
    for host in [
        "-a.example.com",
        "a-.example.com",
        "a!b.example.com",
        "a$(id).example.com",
        "a'b.example.com",
    ] {
        assert_eq!(
            refusal(&format!("https://{host}/")),
            UrlError::HostCharacters,
            "{host}"
        );
    }
    for host in [
        "a b.example.com",
        "a<b.example.com",
        "xn--.example.com",
        "xn--a.example.com",
        "xn--zzzzzz.com",
    ] {
        assert!(
            matches!(refusal(&format!("https://{host}/")), UrlError::NotAUrl(_)),
            "{host}"
        );
    }
}

#[test]
fn an_international_name_is_dialled_in_its_ascii_form() {
    for (host, ascii) in [
        ("b\u{fc}cher.example", "xn--bcher-kva.example"),
        // A Cyrillic letter that looks like a Latin one is another name, and is seen as such.
        ("\u{430}pple.com", "xn--pple-43d.com"),
        ("\u{1f4a9}.la", "xn--ls8h.la"),
    ] {
        let url = parse(&format!("https://{host}/")).unwrap();
        assert_eq!(url.host(), Host::Domain(ascii));
        assert_eq!(url.authority(), ascii);
    }
}

#[test]
fn a_user_name_or_password_is_refused() {
    for text in [
        "https://user@example.com/",
        "https://user:pw@example.com/",
        "https://:pw@example.com/",
    ] {
        assert_eq!(refusal(text), UrlError::Userinfo, "{text}");
    }
    assert_eq!(refusal("https://example.com@127.0.0.1/"), UrlError::Userinfo);
}

#[test]
fn ports_of_other_services_are_refused_after_a_name_and_after_an_address() {
    for (port, passes) in [
        (0, false),
        (22, false),
        (25, false),
        (6379, false),
        (80, true),
        (443, true),
        (65535, true),
    ] {
        assert_eq!(
            parse(&format!("https://example.com:{port}/")).is_ok(),
            passes,
            "{port}"
        );
        assert_eq!(
            parse(&format!("https://1.1.1.1:{port}/")).is_ok(),
            passes,
            "{port}"
        );
    }
    assert_eq!(
        refusal("https://example.com:0/"),
        UrlError::Port(AddressRule::PortZero)
    );
    assert!(matches!(
        refusal("https://example.com:65536/"),
        UrlError::NotAUrl(_)
    ));
    let everything = allowing("0.0.0.0/0");
    assert!(EndpointUrl::parse("https://1.1.1.1:22/", &everything).is_ok());
    assert!(EndpointUrl::parse("https://1.1.1.1:0/", &everything).is_err());
    assert!(
        EndpointUrl::parse("https://example.com:22/", &everything).is_err(),
        "an exception never is a name's"
    );
}

#[test]
fn what_is_not_a_web_url_is_refused() {
    for text in [
        "",
        "example.com/hook",
        "/hook",
        "//example.com",
        "https//example.com",
        "\u{0}",
    ] {
        assert!(parse(text).is_err(), "{text:?}");
    }
    for text in [
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://1.1.1.1:443/_",
        "javascript:1",
        "wss://a.com/",
    ] {
        assert_eq!(refusal(text), UrlError::NotHttps, "{text}");
    }
    for text in ["https://", "https://?a", "https://#a", "https://:443/"] {
        assert_eq!(refusal(text), UrlError::EmptyHost, "{text}");
    }
    for text in [
        "https://exa\nmple.com/",
        "https://example.com/\r\nX: y",
        " https://example.com/",
        "https://a.com/ ",
    ] {
        assert_eq!(refusal(text), UrlError::ControlOrSpace, "{text:?}");
    }
}

#[test]
fn a_url_has_at_most_2083_characters_counted_as_characters() {
    let prefix = "https://example.com/";
    for character in ["a", "\u{fc}", "\u{1f4a9}"] {
        let longest = format!("{prefix}{}", character.repeat(URL_CHARACTERS_MAX - prefix.len()));
        assert!(parse(&longest).is_ok());
        assert_eq!(refusal(&format!("{longest}{character}")), UrlError::TooLong);
    }
}

#[test]
fn a_stored_url_is_read_without_being_judged_and_can_be_judged_again() {
    let stored = EndpointUrl::stored("http://127.0.0.1:9000/").unwrap();
    assert_eq!(stored.judge(&allowing("127.0.0.1")), Ok(()));
    let rule = AddressRule::Loopback;
    let address = "127.0.0.1".parse().unwrap();
    assert_eq!(
        stored.judge(&AllowList::default()),
        Err(UrlError::Address { address, rule })
    );
    assert_eq!(EndpointUrl::stored("ftp://example.com/"), Err(UrlError::NotHttps));
}

#[test]
fn urls_are_equal_by_their_text_alone() {
    let url = parse("https://example.com").unwrap();
    assert_eq!(url, url.clone());
    assert_eq!(url, EndpointUrl::stored("https://example.com").unwrap());
    assert_ne!(url, parse("https://example.com/").unwrap());
}

#[test]
fn a_refusal_repeats_neither_path_nor_query() {
    for text in [
        "https://127.0.0.1/s3cret?s3cret",
        "https://user:s3cret@example.com/",
        "https://a b/s3cret",
        "s3cret",
    ] {
        assert!(!refusal(text).to_string().contains("s3cret"), "{text}");
    }
}

fn any_text() -> impl Strategy<Value = String> {
    let hosts = "(example\\.com|[a-z0-9.%*_-]{0,20}|\\[[0-9a-f:.]{0,20}\\]|\\PC{0,10})";
    let tail = "(:[0-9]{0,6})?(/\\PC{0,20})?(\\?\\PC{0,20})?(#\\PC{0,9})?";
    let url_like = proptest::string::string_regex(&format!("https?://{hosts}{tail}")).unwrap();
    prop_oneof![any::<String>(), "\\PC{0,40}", url_like]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 4_000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_kept_as_it_was_sent(text in any_text()) {
        if let Ok(url) = parse(&text) {
            prop_assert_eq!(url.text(), &text);
            prop_assert_eq!(EndpointUrl::stored(&text), Ok(url));
        }
    }

    #[test]
    fn what_is_sent_is_clean_ascii_whatever_was_written(text in any_text()) {
        if let Ok(url) = EndpointUrl::stored(&text) {
            prop_assert!(url.path_and_query().starts_with('/'));
            let sent = [url.authority(), url.path_and_query()];
            prop_assert!(sent.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_graphic())), "{sent:?}");
            prop_assert!(!url.path_and_query().contains('#'));
        }
    }

    #[test]
    fn no_query_value_of_any_url_is_shown(text in any_text()) {
        if let Ok(url) = EndpointUrl::stored(&text) {
            let masked = url.masked();
            let mut parameters = masked.split_once('?').map_or("", |(_, query)| query).split('&');
            let hidden = |parameter: &str| parameter.is_empty() || parameter == "***" || parameter.ends_with("=***");
            prop_assert!(parameters.all(hidden), "{masked}");
        }
    }
}
