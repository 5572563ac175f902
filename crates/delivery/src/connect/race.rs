//! One connection out of several vetted addresses, in the manner of happy eyeballs (RFC 8305): the families take turns,
//! and whoever has not answered soon gets a competitor, so that a black hole costs a fraction of a second.

use crate::failure::Failure;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use stentor_domain::attempt::ErrorClass;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an address may keep silent before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses tried for one connection.
const CANDIDATES_MAX: usize = 8;

/// Connects to the first of `addresses` that accepts, and says which one it was. The failure is [`ErrorClass::NoRoute`] where this machine has no
/// route to any of them.
pub(super) async fn connect(addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), Failure> {
    let mut waiting = interleaved(addresses).into_iter().take(CANDIDATES_MAX).peekable();
    let mut running = FuturesUnordered::new();
    let mut failures = Failures::default();
    loop {
        running.extend(waiting.next().map(dial));
        let finished = match waiting.peek() {
            Some(_) => match timeout(STAGGER, running.next()).await {
                Ok(finished) => finished,
                Err(_silent) => continue,
            },
            None => running.next().await,
        };
        match finished {
            Some(Ok(reached)) => return Ok(reached),
            Some(Err(error)) => failures.note(error),
            None => return Err(failures.into_failure()),
        }
    }
}

/// The families in turn, beginning with IPv6; within a family the order of the answer.
pub(super) fn interleaved(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let count = addresses.len();
    let (v6, v4): (Vec<_>, Vec<_>) = addresses.into_iter().partition(SocketAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut turns = Vec::with_capacity(count);
    while turns.len() < count {
        turns.extend(v6.next());
        turns.extend(v4.next());
    }
    turns
}

/// Connects to exactly this address, and makes sure of it.
async fn dial(address: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
    let stream = TcpStream::connect(address).await?;
    let peer = stream.peer_addr()?;
    if (peer.ip(), peer.port()) != (address.ip(), address.port()) {
        return Err(io::Error::other("the connection led to another address"));
    }
    // Requests are written whole: waiting for more to fill a packet only delays them.
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

/// What became of the addresses so far.
#[derive(Default)]
struct Failures {
    last: Option<io::Error>,
    routed: bool,
}

impl Failures {
    fn note(&mut self, error: io::Error) {
        let unroutable = matches!(
            error.kind(),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkDown
        );
        // A refusal tells the receiver's developer more than a missing route beside it.
        if !unroutable || !self.routed {
            self.last = Some(error);
        }
        self.routed |= !unroutable;
    }

    fn into_failure(self) -> Failure {
        match (self.last, self.routed) {
            (Some(error), true) => Failure::from_error(ErrorClass::Connect, &error),
            (Some(error), false) => Failure::from_error(ErrorClass::NoRoute, &error),
            // A resolver that gave no address at all, against its contract.
            (None, _) => Failure::plain(ErrorClass::DnsNotFound),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};

    fn class_of(kinds: &[io::ErrorKind]) -> ErrorClass {
        let mut failures = Failures::default();
        for kind in kinds {
            failures.note((*kind).into());
        }
        failures.into_failure().class
    }

    #[test]
    fn the_families_take_turns() {
        let addresses = ["1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1", "[2600::1]:1"];
        let turns = interleaved(addresses.map(|address| address.parse().unwrap()).to_vec());
        let turns: Vec<String> = turns.iter().map(ToString::to_string).collect();
        assert_eq!(turns, ["[2600::1]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"]);
    }

    #[test]
    fn no_route_is_said_only_where_no_address_has_one() {
        assert_eq!(
            class_of(&[NetworkUnreachable, HostUnreachable]),
            ErrorClass::NoRoute
        );
        assert_eq!(
            class_of(&[NetworkUnreachable, ConnectionRefused]),
            ErrorClass::Connect
        );
        assert_eq!(
            class_of(&[ConnectionRefused, NetworkUnreachable]),
            ErrorClass::Connect
        );
        assert_eq!(class_of(&[]), ErrorClass::DnsNotFound);
    }
}
