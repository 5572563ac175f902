//! Claims about the operator's exceptions.

use std::net::SocketAddr;

use stentor_domain::address::{AddressRule, AllowList, AllowedDestination, AllowedDestinationError};

fn list(texts: &[&str]) -> AllowList {
    texts
        .iter()
        .map(|text| text.parse::<AllowedDestination>().unwrap())
        .collect()
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_exception_reads_and_writes_a_range_with_or_without_a_port() {
    for (text, written) in [
        ("127.0.0.0/8", "127.0.0.0/8"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:9000", "127.0.0.1:9000"),
        ("10.0.0.0/8:443", "10.0.0.0/8:443"),
        ("[::1]:9000", "[::1]:9000"),
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[fd00::]/8:9000", "[fd00::]/8:9000"),
        ("fd00::/8", "fd00::/8"),
        ("[fd00::]/8", "fd00::/8"),
        (" 10.0.0.0/8 ", "10.0.0.0/8"),
        ("127.0.0.1/32", "127.0.0.1"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        // Host bits are cut off.
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("fd00::1/8", "fd00::/8"),
        // A mapped range is the IPv4 range it means.
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("[::ffff:10.0.0.0]/104:443", "10.0.0.0/8:443"),
    ] {
        let allowed: AllowedDestination = text.parse().unwrap();
        assert_eq!(allowed.to_string(), written, "{text}");
        assert_eq!(
            written.parse(),
            Ok(allowed),
            "{text} is read again as it is written"
        );
    }
}

#[test]
fn a_name_is_refused_and_localhost_gets_the_address_to_use() {
    for text in ["localhost", "LOCALHOST:9000", "localhost./8", "localhost:"] {
        let error = text.parse::<AllowedDestination>().unwrap_err();
        assert_eq!(error, AllowedDestinationError::Localhost(text.to_owned()));
        assert!(error.to_string().contains("use 127.0.0.1"), "{error}");
    }
    for text in [
        "",
        "example.com",
        "example.com:443",
        "*",
        "0x7f.1",
        "127.1",
        "010.0.0.1",
        "[127.0.0.1]:80",
        "[::1",
    ] {
        let error = text.parse::<AllowedDestination>().unwrap_err();
        assert_eq!(error, AllowedDestinationError::NotAnAddress(text.to_owned()));
    }
}

#[test]
fn a_bad_prefix_length_or_port_is_refused() {
    for text in [
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "10.0.0.0/255.0.0.0",
        "fd00::/129",
        "[::1]9000",
    ] {
        let error = text.parse::<AllowedDestination>().unwrap_err();
        assert!(
            matches!(error, AllowedDestinationError::PrefixLength(_)),
            "{text}: {error}"
        );
    }
    for text in [
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:+80",
        "127.0.0.1:http",
        "[::1]:1:2",
    ] {
        let error = text.parse::<AllowedDestination>().unwrap_err();
        assert!(
            matches!(error, AllowedDestinationError::Port(_)),
            "{text}: {error}"
        );
    }
}

#[test]
fn an_empty_list_permits_nothing_and_leaves_public_destinations_alone() {
    let nothing = AllowList::default();
    assert!(!nothing.permits(socket("93.184.216.34:443")));
    assert_eq!(nothing.vet(socket("93.184.216.34:443")), Ok(()));
    assert_eq!(nothing.vet(socket("127.0.0.1:443")), Err(AddressRule::Loopback));
    assert_eq!(nothing.vet(socket("93.184.216.34:0")), Err(AddressRule::PortZero));
    let redis = AddressRule::ServicePort {
        port: 6379,
        service: "Redis",
    };
    assert_eq!(nothing.vet(socket("93.184.216.34:6379")), Err(redis));
}

#[test]
fn an_exception_with_a_port_opens_that_port_only() {
    let allowed = list(&["127.0.0.1:6379"]);
    assert_eq!(allowed.vet(socket("127.0.0.1:6379")), Ok(()));
    assert_eq!(allowed.vet(socket("127.0.0.1:443")), Err(AddressRule::Loopback));
    assert_eq!(allowed.vet(socket("127.0.0.2:6379")), Err(AddressRule::Loopback));
}

#[test]
fn an_exception_without_a_port_opens_every_port_but_zero() {
    let allowed = list(&["10.0.0.0/8"]);
    for port in [1, 22, 443, 65535] {
        assert_eq!(
            allowed.vet(SocketAddr::new([10, 255, 255, 255].into(), port)),
            Ok(())
        );
    }
    assert!(!allowed.permits(socket("10.0.0.1:0")));
    assert!(allowed.vet(socket("10.0.0.1:0")).is_err());
    assert_eq!(
        allowed.vet(socket("11.0.0.1:22")).unwrap_err().to_string(),
        "port 22 is forbidden: it belongs to SSH"
    );
}

#[test]
fn a_mapped_address_is_asked_as_the_v4_address_it_is() {
    let allowed = list(&["127.0.0.0/8:9000", "fd00::/8"]);
    assert_eq!(allowed.vet(socket("[::ffff:127.0.0.1]:9000")), Ok(()));
    assert_eq!(
        allowed.vet(socket("[::ffff:127.0.0.1]:9001")),
        Err(AddressRule::EmbeddedIpv4)
    );
    assert_eq!(allowed.vet(socket("[fd00::1]:9001")), Ok(()));
}

#[test]
fn all_of_v6_does_not_contain_v4() {
    let allowed = list(&["::/0"]);
    assert_eq!(allowed.vet(socket("[::1]:9000")), Ok(()));
    assert_eq!(allowed.vet(socket("127.0.0.1:9000")), Err(AddressRule::Loopback));
    assert_eq!(
        allowed.vet(socket("[::ffff:127.0.0.1]:9000")),
        Err(AddressRule::EmbeddedIpv4)
    );
}

#[test]
fn allowing_nat64_opens_public_addresses_behind_it_and_not_private_ones() {
    let nat64 = list(&["64:ff9b::/96"]);
    assert_eq!(nat64.vet(socket("[64:ff9b::93.184.216.34]:443")), Ok(()));
    assert_eq!(
        nat64.vet(socket("[64:ff9b::10.0.0.1]:443")),
        Err(AddressRule::EmbeddedIpv4)
    );
    let both = list(&["64:ff9b::/96", "10.0.0.0/8:443"]);
    assert_eq!(both.vet(socket("[64:ff9b::10.0.0.1]:443")), Ok(()));
    assert_eq!(
        both.vet(socket("[64:ff9b::10.0.0.1]:80")),
        Err(AddressRule::EmbeddedIpv4)
    );
    let inner_only = list(&["10.0.0.0/8"]);
    assert_eq!(
        inner_only.vet(socket("[64:ff9b::10.0.0.1]:443")),
        Err(AddressRule::EmbeddedIpv4)
    );
}
