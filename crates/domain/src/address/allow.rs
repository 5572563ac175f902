//! The operator's exceptions to the address guard, as given by `--allow-destination CIDR[:PORT]`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

use super::{AddressRule, embedded_v4, judge, judge_port};

/// The length of the prefix `::ffff:0:0/96` of IPv4-mapped addresses, in bits.
const MAPPED_PREFIX_BITS: u8 = 96;

/// One exception: a range of literal addresses, on one port or on all of them.
///
/// Written `CIDR[:PORT]`, an IPv6 range with a port in brackets: `127.0.0.1:9000`, `10.0.0.0/8`, `[fd00::]/8:9000`.
/// Host bits are cut off, a missing prefix length means the single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AllowedDestination {
    range: IpNet,
    port: Option<u16>,
}

/// Why a text is not an [`AllowedDestination`]. It quotes the text: the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllowedDestinationError {
    /// A name of the machine itself.
    #[error("{0:?} is a name, and only literal addresses can be allowed: use 127.0.0.1")]
    Localhost(String),
    /// Neither an address nor a range, most often a name.
    #[error("{0:?} is not an address: allow a literal address or range such as 10.0.0.0/8, never a name")]
    NotAnAddress(String),
    /// A prefix length that is no number or too long for its address.
    #[error(
        "{0:?} is not a prefix length: write 0 to 32 after an IPv4 address, 0 to 128 after an IPv6 address"
    )]
    PrefixLength(String),
    /// A port that is no number from 1 to 65535.
    #[error("{0:?} is not a port: write 1 to 65535, and an IPv6 range in brackets such as [fd00::]/8:9000")]
    Port(String),
}

impl AllowedDestination {
    /// Allows a range, with its host bits cut off, on one port or (`None`) on all of them.
    ///
    /// A range of IPv4-mapped IPv6 addresses means the IPv4 range.
    pub fn new(range: IpNet, port: Option<u16>) -> Self {
        Self {
            range: canonical(range.trunc()),
            port,
        }
    }

    /// Whether it covers exactly this address and port. The address is in canonical form.
    fn covers(&self, address: IpAddr, port: u16) -> bool {
        self.range.contains(&address) && self.port.is_none_or(|only| only == port)
    }
}

/// Writes a range of IPv4-mapped addresses as the IPv4 range it means, and leaves every other one alone.
fn canonical(range: IpNet) -> IpNet {
    let (IpAddr::V4(v4), IpNet::V6(_)) = (range.addr().to_canonical(), range) else {
        return range;
    };
    range
        .prefix_len()
        .checked_sub(MAPPED_PREFIX_BITS)
        .and_then(|bits| Ipv4Net::new(v4, bits).ok())
        .map_or(range, IpNet::V4)
}

impl FromStr for AllowedDestination {
    type Err = AllowedDestinationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let (address, bits, port) = split(text);
        let Ok(address) = address.parse::<IpAddr>() else {
            let name = text
                .split(['/', ':'])
                .next()
                .unwrap_or(text)
                .trim_end_matches('.');
            return Err(match name.eq_ignore_ascii_case("localhost") {
                true => AllowedDestinationError::Localhost(text.to_owned()),
                false => AllowedDestinationError::NotAnAddress(text.to_owned()),
            });
        };
        let range = match bits {
            None => IpNet::from(address),
            Some(bits) => number(bits)
                .and_then(|bits| u8::try_from(bits).ok())
                .and_then(|bits| IpNet::new(address, bits).ok())
                .ok_or_else(|| AllowedDestinationError::PrefixLength(bits.to_owned()))?,
        };
        let port = match port {
            None => None,
            Some(port) => Some(
                number(port)
                    .filter(|number| *number != 0)
                    .ok_or_else(|| AllowedDestinationError::Port(port.to_owned()))?,
            ),
        };
        Ok(Self::new(range, port))
    }
}

/// Cuts `CIDR[:PORT]` into address, prefix length and port, none of them parsed yet.
///
/// Without brackets a text with two colons is an IPv6 range, which then has no port.
fn split(text: &str) -> (&str, Option<&str>, Option<&str>) {
    let (address, rest) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((v6, rest)) if v6.contains(':') => (v6, rest),
        _ => text.split_at(text.find('/').unwrap_or_else(|| end_of_bare_address(text))),
    };
    let (bits, port) = match rest.split_once(':') {
        Some((bits, port)) => (bits, Some(port)),
        None => (rest, None),
    };
    match bits {
        "" => (address, None, port),
        // Whatever stands there without a slash is reported as the prefix length it is not.
        bits => (address, Some(bits.strip_prefix('/').unwrap_or(bits)), port),
    }
}

/// Where the address ends in a text without a slash and without brackets.
fn end_of_bare_address(text: &str) -> usize {
    match (text.find(':'), text.rfind(':')) {
        (Some(first), Some(last)) if first == last => first,
        _ => text.len(),
    }
}

/// A number of digits only: `parse` alone would take a leading plus.
fn number(text: &str) -> Option<u16> {
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    digits_only.then(|| text.parse().ok()).flatten()
}

impl fmt::Display for AllowedDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.range.addr();
        match (address, self.port) {
            (IpAddr::V6(v6), Some(_)) => write!(f, "[{v6}]")?,
            _ => write!(f, "{address}")?,
        }
        if self.range.prefix_len() != self.range.max_prefix_len() {
            write!(f, "/{}", self.range.prefix_len())?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Every exception of the operator. The default is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowList(Vec<AllowedDestination>);

impl AllowList {
    /// Holds the given exceptions.
    pub fn new(destinations: Vec<AllowedDestination>) -> Self {
        Self(destinations)
    }

    /// Whether the operator excepted this destination from the rules about addresses and ports.
    ///
    /// An IPv4-mapped address is asked as the IPv4 address it is. An address that embeds an IPv4 address in
    /// another way needs both to be allowed or public: so `64:ff9b::/96` opens NAT64 to public destinations
    /// without opening the private ones behind it. Port 0 reaches nothing and is never permitted.
    pub fn permits(&self, destination: SocketAddr) -> bool {
        let (address, port) = (destination.ip().to_canonical(), destination.port());
        let embedded_passes = match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(v6) => embedded_v4(v6)
                .map(IpAddr::V4)
                .is_none_or(|v4| self.covers(v4, port) || judge(v4).is_ok()),
        };
        port != 0 && embedded_passes && self.covers(address, port)
    }

    /// The one question asked about a destination: may a delivery connect to exactly this socket address?
    ///
    /// # Errors
    /// The first rule that forbids the address or its port, unless the list excepts both.
    pub fn vet(&self, destination: SocketAddr) -> Result<(), AddressRule> {
        if self.permits(destination) {
            return Ok(());
        }
        judge(destination.ip())?;
        judge_port(destination.port())
    }

    fn covers(&self, address: IpAddr, port: u16) -> bool {
        self.0.iter().any(|allowed| allowed.covers(address, port))
    }
}

impl FromIterator<AllowedDestination> for AllowList {
    fn from_iter<I: IntoIterator<Item = AllowedDestination>>(destinations: I) -> Self {
        Self(destinations.into_iter().collect())
    }
}
