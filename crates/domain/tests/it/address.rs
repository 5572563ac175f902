//! Claims about the address guard: its tables against the registry, ports, and the operator's exceptions.

mod allow_list;
mod registry;

use std::net::{IpAddr, Ipv6Addr};

use registry::Registry;
use stentor_domain::address::{AddressRule, judge, judge_port};

/// How many random IPv6 addresses are compared.
const RANDOM_V6_COUNT: u32 = 1_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn every_v4_block_of_256_agrees_with_the_registry() {
    let expected = Registry::read().paint_v4_blocks();
    let differing = (0_u32..1 << 24).find(|block| {
        // A mixed block is compared whole, elsewhere the first, a middle and the last address stand for all.
        let hosts: &[u32] = &[0, 128, 255];
        match expected[usize::try_from(*block).unwrap()] {
            registry::Block::Public => hosts.iter().any(|host| judge_bits(block << 8 | host).is_err()),
            registry::Block::Forbidden => hosts.iter().any(|host| judge_bits(block << 8 | host).is_ok()),
            registry::Block::Mixed => false,
        }
    });
    assert_eq!(
        differing.map(|block| std::net::Ipv4Addr::from_bits(block << 8)),
        None
    );
}

#[test]
fn every_address_of_a_mixed_v4_block_agrees_with_the_registry() {
    let registry = Registry::read();
    let mixed: Vec<u32> = registry.mixed_v4_blocks();
    assert!(
        mixed.contains(&(ip_bits("168.63.129.0") >> 8)),
        "the cloud platform's address is one of a block"
    );
    for bits in mixed
        .iter()
        .flat_map(|block| (0..=255).map(move |host| block << 8 | host))
    {
        let address = std::net::Ipv4Addr::from_bits(bits);
        assert_eq!(
            judge(address.into()).is_ok(),
            registry.allows_v4(address),
            "{address}"
        );
    }
}

#[test]
fn a_million_random_v6_addresses_agree_with_the_registry() {
    let registry = Registry::read();
    let mut random = registry::SplitMix(0x57e_4704);
    let mut allowed_count = 0;
    for round in 0..RANDOM_V6_COUNT {
        let address = registry.some_v6(round, &mut random);
        let allowed = judge(address.into()).is_ok();
        assert_eq!(allowed, registry.allows_v6(address), "{address}");
        allowed_count += u32::from(allowed);
    }
    assert!(
        allowed_count > RANDOM_V6_COUNT / 8,
        "both answers are tried often, but only {allowed_count} passed"
    );
    assert!(
        allowed_count < RANDOM_V6_COUNT / 2,
        "both answers are tried often, but {allowed_count} passed"
    );
}

#[test]
fn the_first_and_last_address_of_every_registered_range_and_their_neighbours_agree() {
    let registry = Registry::read();
    for address in registry.edges() {
        let expected = match address {
            IpAddr::V4(v4) => registry.allows_v4(v4),
            IpAddr::V6(v6) => registry.allows_v6(v6),
        };
        assert_eq!(judge(address).is_ok(), expected, "{address}");
    }
}

#[test]
fn the_rule_that_forbids_an_address_is_named() {
    for (address, rule) in [
        ("127.0.0.1", AddressRule::Loopback),
        ("::1", AddressRule::Loopback),
        ("0.0.0.0", AddressRule::ThisNetwork),
        ("::", AddressRule::ThisNetwork),
        ("192.168.1.1", AddressRule::Private),
        ("fd00:ec2::254", AddressRule::Private),
        ("fec0::1", AddressRule::Private),
        ("100.100.100.200", AddressRule::CarrierShared),
        ("169.254.169.254", AddressRule::LinkLocal),
        ("fe80::1", AddressRule::LinkLocal),
        ("192.0.0.9", AddressRule::ProtocolAssignment),
        ("2001:20::1", AddressRule::ProtocolAssignment),
        ("203.0.113.7", AddressRule::Documentation),
        ("2001:db8::1", AddressRule::Documentation),
        ("198.18.0.1", AddressRule::Benchmarking),
        ("192.88.99.1", AddressRule::Transition),
        ("168.63.129.16", AddressRule::PlatformService),
        ("239.255.255.250", AddressRule::Multicast),
        ("ff02::1", AddressRule::Multicast),
        ("255.255.255.255", AddressRule::Reserved),
        ("5f00::1", AddressRule::NotGlobalUnicast),
        ("::127.0.0.1", AddressRule::NotGlobalUnicast),
        ("64:ff9b:1::7f00:1", AddressRule::NotGlobalUnicast),
    ] {
        assert_eq!(judge(ip(address)), Err(rule), "{address}");
    }
}

#[test]
fn ordinary_public_addresses_pass() {
    for address in [
        "1.1.1.1",
        "93.184.216.34",
        "168.63.129.17",
        "2606:4700:4700::1111",
        "2a00:1450:4001::200e",
    ] {
        assert_eq!(judge(ip(address)), Ok(()), "{address}");
    }
}

#[test]
fn an_embedded_loopback_or_private_v4_address_is_found_in_every_embedding() {
    for embedded in [
        [127, 0, 0, 1],
        [10, 0, 0, 1],
        [169, 254, 169, 254],
        [192, 168, 0, 1],
    ] {
        for address in embeddings(embedded) {
            assert_eq!(judge(address.into()), Err(AddressRule::EmbeddedIpv4), "{address}");
        }
    }
}

#[test]
fn an_embedded_public_v4_address_does_not_open_a_forbidden_range() {
    let allowed: Vec<bool> = embeddings([93, 184, 216, 34])
        .iter()
        .map(|a| judge((*a).into()).is_ok())
        .collect();
    // Only ISATAP lies inside of a provider's ordinary prefix.
    assert_eq!(allowed, [false, false, false, false, true, true]);
}

#[test]
fn a_refusal_names_the_rule_but_not_what_was_found() {
    let rule = judge(ip("10.1.2.3")).unwrap_err();
    assert_eq!(rule.to_string(), "private addresses are forbidden");
}

#[test]
fn ports_of_the_web_and_unassigned_ports_pass() {
    for port in [80, 443, 3000, 8000, 8080, 8443, 9000, 10443, 49152, 65535] {
        assert_eq!(judge_port(port), Ok(()), "{port}");
    }
}

#[test]
fn port_zero_and_ports_of_other_services_are_refused() {
    assert_eq!(judge_port(0), Err(AddressRule::PortZero));
    for port in [
        1, 21, 22, 23, 25, 53, 110, 143, 389, 445, 465, 587, 2375, 3306, 5432, 6379, 6667, 9200, 11211, 27017,
    ] {
        assert!(
            matches!(judge_port(port), Err(AddressRule::ServicePort { .. })),
            "{port}"
        );
    }
    assert_eq!(
        judge_port(22).unwrap_err().to_string(),
        "port 22 is forbidden: it belongs to SSH"
    );
}

fn judge_bits(bits: u32) -> Result<(), AddressRule> {
    judge(IpAddr::V4(std::net::Ipv4Addr::from_bits(bits)))
}

fn ip_bits(text: &str) -> u32 {
    text.parse::<std::net::Ipv4Addr>().unwrap().to_bits()
}

/// IPv4-mapped, NAT64, 6to4, Teredo, and ISATAP in both its forms.
fn embeddings([a, b, c, d]: [u8; 4]) -> [Ipv6Addr; 6] {
    let v6 = |text: String| text.parse().unwrap();
    [
        v6(format!("::ffff:{a}.{b}.{c}.{d}")),
        v6(format!("64:ff9b::{a}.{b}.{c}.{d}")),
        v6(format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")),
        v6(format!(
            "2001:0:4136:e378:8000:63bf:{:02x}{:02x}:{:02x}{:02x}",
            !a, !b, !c, !d
        )),
        v6(format!("2a00:1450:4001:81b:0:5efe:{a}.{b}.{c}.{d}")),
        v6(format!("2a00:1450:4001:81b:200:5efe:{a}.{b}.{c}.{d}")),
    ]
}
