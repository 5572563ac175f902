//! The tables of the address guard: which addresses and ports a delivery may reach.
//!
//! Who does what:
//! - [`judge`] decides about one address, [`judge_port`] about one port. Both know nothing of the operator.
//! - [`AllowList`] holds the operator's exceptions, and [`AllowList::vet`] is the one question asked about a socket
//!   address, when a literal is saved and again before every connection.
//! - [`AddressRule`] names the rule that forbids.
//!
//! Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890, RFC 8190, as of October 2025), and for
//! the ports the Fetch standard.

mod allow;
mod ports;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use allow::{AllowList, AllowedDestination, AllowedDestinationError};
pub use ports::judge_port;

/// The rule that forbids an address or a port.
///
/// Its text names the rule and never the address: an address found behind a name stays unsaid, for it would draw
/// a map of the inner network. Who judges a literal may add the address, because the customer wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AddressRule {
    /// 0.0.0.0/8 and `::`: many systems connect them to the machine itself.
    #[error("unspecified addresses and \"this network\" are forbidden")]
    ThisNetwork,
    /// 127.0.0.0/8 and `::1`.
    #[error("loopback addresses are forbidden")]
    Loopback,
    /// RFC 1918, unique local `fc00::/7` and the former site-local `fec0::/10`.
    #[error("private addresses are forbidden")]
    Private,
    /// 100.64.0.0/10, shared behind the address translation of a carrier, a cloud or an overlay network.
    #[error("shared addresses behind carrier translation are forbidden")]
    CarrierShared,
    /// 169.254.0.0/16 and `fe80::/10`, where clouds keep their metadata services.
    #[error("link-local addresses are forbidden")]
    LinkLocal,
    /// Blocks that IANA keeps for protocols, some of them answered by the nearest router.
    #[error("addresses reserved for protocol assignments are forbidden")]
    ProtocolAssignment,
    /// Blocks for examples in texts.
    #[error("documentation addresses are forbidden")]
    Documentation,
    /// Blocks for measuring devices in laboratories.
    #[error("benchmarking addresses are forbidden")]
    Benchmarking,
    /// 6to4 with its relays, and Teredo.
    #[error("addresses of tunnels from IPv4 to IPv6 are forbidden")]
    Transition,
    /// 224.0.0.0/4 and `ff00::/8`.
    #[error("multicast addresses are forbidden")]
    Multicast,
    /// 240.0.0.0/4, the broadcast address included.
    #[error("reserved addresses are forbidden")]
    Reserved,
    /// 168.63.129.16: public by its number, but inside Azure the host machine answers it.
    #[error("addresses of a cloud platform's own services are forbidden")]
    PlatformService,
    /// Everything outside of `2000::/3` that no other rule names.
    #[error("IPv6 addresses outside of global unicast (2000::/3) are forbidden")]
    NotGlobalUnicast,
    /// IPv4-mapped, NAT64, 6to4, Teredo or ISATAP around an IPv4 address that is itself forbidden.
    #[error("IPv6 addresses that carry a forbidden IPv4 address are forbidden")]
    EmbeddedIpv4,
    /// Port 0 reaches nothing.
    #[error("port 0 is forbidden")]
    PortZero,
    /// A port where something else than a web server listens.
    #[error("port {port} is forbidden: it belongs to {service}")]
    ServicePort {
        /// The port that was asked for.
        port: u16,
        /// The service known to listen there.
        service: &'static str,
    },
}

/// Decides whether an address is a public destination, without any exception.
///
/// An IPv6 address that embeds an IPv4 address passes only when both do.
///
/// # Errors
/// The rule that forbids the address.
pub fn judge(address: IpAddr) -> Result<(), AddressRule> {
    let rule = match address {
        IpAddr::V4(v4) => rule_for_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6).and_then(rule_for_v4) {
            Some(_) => Some(AddressRule::EmbeddedIpv4),
            None => rule_for_v6(v6),
        },
    };
    rule.map_or(Ok(()), Err)
}

/// The IPv4 table.
///
/// 192.0.0.0/24 is forbidden whole, although the registry calls 192.0.0.9 and 192.0.0.10 globally reachable: these
/// anycast addresses (RFC 7723, RFC 8155) are answered by the nearest device, which is inside the network.
fn rule_for_v4(address: Ipv4Addr) -> Option<AddressRule> {
    Some(match address.octets() {
        [0, ..] => AddressRule::ThisNetwork,
        [127, ..] => AddressRule::Loopback,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => AddressRule::Private,
        [100, 64..=127, ..] => AddressRule::CarrierShared,
        [169, 254, ..] => AddressRule::LinkLocal,
        [192, 0, 0, _] => AddressRule::ProtocolAssignment,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => AddressRule::Documentation,
        [198, 18..=19, ..] => AddressRule::Benchmarking,
        [192, 88, 99, _] => AddressRule::Transition,
        [168, 63, 129, 16] => AddressRule::PlatformService,
        [224..=239, ..] => AddressRule::Multicast,
        [240..=255, ..] => AddressRule::Reserved,
        _ => return None,
    })
}

/// The IPv6 table: only global unicast, and of it no special block, be it globally reachable or not.
///
/// The reachable ones (`2001::/23` in parts, `2620:4f:8000::/48`) are anycast of protocols that are not the web's.
fn rule_for_v6(address: Ipv6Addr) -> Option<AddressRule> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => AddressRule::ThisNetwork,
        [0, 0, 0, 0, 0, 0, 0, 1] => AddressRule::Loopback,
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => AddressRule::Private,
        [0xfe80..=0xfebf, ..] => AddressRule::LinkLocal,
        [0xff00..=0xffff, ..] => AddressRule::Multicast,
        [0x2001, 0, ..] | [0x2002, ..] => AddressRule::Transition,
        [0x2001, 2, 0, ..] => AddressRule::Benchmarking,
        [0x2001, 0..=0x01ff, ..] | [0x2620, 0x004f, 0x8000, ..] => AddressRule::ProtocolAssignment,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => AddressRule::Documentation,
        [0x2000..=0x3fff, ..] => return None,
        _ => AddressRule::NotGlobalUnicast,
    })
}

/// The IPv4 address that a packet to this IPv6 address would end at, for the known ways to embed one.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        // IPv4-mapped (RFC 4291) and the well-known prefix of NAT64 (RFC 6052).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x0064, 0xff9b, 0, 0, 0, 0, high, low] => (high, low),
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => (high, low),
        // Teredo (RFC 4380) writes the client's address with every bit inverted.
        [0x2001, 0, _, _, _, _, high, low] => (!high, !low),
        // ISATAP (RFC 5214), in any prefix, with the universal bit set or not.
        [_, _, _, _, 0x0000 | 0x0200, 0x5efe, high, low] => (high, low),
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
}
