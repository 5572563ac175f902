//! The last word on a destination, asked for every address immediately before a connection.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use stentor_domain::address::{AddressRule, AllowList};

/// What deliveries may not reach: what the address rules forbid unless the operator allows it, and this server's own
/// listeners, which nobody can allow.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    allowed: AllowList,
    own_listeners: Vec<SocketAddr>,
}

/// Why a destination is refused. The text never names the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// By the rules about addresses and ports.
    #[error(transparent)]
    Rule(#[from] AddressRule),
    /// A delivery to ourselves could go round for ever, with the rights of a neighbour of this server.
    #[error("the server's own listener is forbidden")]
    OwnListener,
}

impl Guard {
    /// A guard with the operator's exceptions. `own_listeners` are the addresses that this server is bound to, with the
    /// ports that it really got; an unspecified one (`0.0.0.0`, `::`) stands for every address of this machine.
    pub const fn new(allowed: AllowList, own_listeners: Vec<SocketAddr>) -> Self {
        Self {
            allowed,
            own_listeners,
        }
    }

    /// May a delivery connect to exactly this address?
    pub(crate) fn vet(&self, destination: SocketAddr) -> Result<(), Refused> {
        if self.is_own(destination) {
            return Err(Refused::OwnListener);
        }
        Ok(self.allowed.vet(destination)?)
    }

    fn is_own(&self, destination: SocketAddr) -> bool {
        let address = destination.ip().to_canonical();
        self.own_listeners
            .iter()
            .filter(|own| own.port() == destination.port())
            .any(|own| {
                let own = own.ip().to_canonical();
                // Connecting to the unspecified address leads to this machine.
                own == address
                    || address.is_unspecified()
                    || (own.is_unspecified() && is_of_this_machine(address))
            })
    }
}

/// Is it an address of this machine? Only such an address can be bound to; no packet is sent.
fn is_of_this_machine(address: IpAddr) -> bool {
    address.is_loopback() || UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allowed: &str, own: &str) -> Guard {
        let allowed = AllowList::new(vec![allowed.parse().unwrap()]);
        Guard::new(allowed, vec![own.parse().unwrap()])
    }

    fn refused(guard: &Guard, destination: &str) -> Option<Refused> {
        guard.vet(destination.parse().unwrap()).err()
    }

    #[test]
    fn the_own_listener_is_refused_although_it_is_allowed() {
        let guard = guard("127.0.0.0/8", "127.0.0.1:8080");
        for own in ["127.0.0.1:8080", "[::ffff:127.0.0.1]:8080", "0.0.0.0:8080"] {
            assert_eq!(refused(&guard, own), Some(Refused::OwnListener), "{own}");
        }
        assert_eq!(refused(&guard, "127.0.0.1:8081"), None);
        assert_eq!(refused(&guard, "127.0.0.2:8080"), None);
    }

    #[test]
    fn an_unspecified_listener_owns_its_port_on_every_address_of_the_machine() {
        for own in ["0.0.0.0:8080", "[::]:8080"] {
            let guard = guard("127.0.0.0/8", own);
            for local in ["127.0.0.1:8080", "127.9.9.9:8080", "[::1]:8080"] {
                assert_eq!(
                    refused(&guard, local),
                    Some(Refused::OwnListener),
                    "{own} {local}"
                );
            }
            assert_eq!(refused(&guard, "127.0.0.1:8081"), None);
            assert_eq!(refused(&guard, "93.184.215.14:8080"), None);
        }
    }

    #[test]
    fn without_exceptions_the_address_rules_hold() {
        let refused = refused(&Guard::default(), "10.0.0.1:443");
        assert_eq!(refused, Some(Refused::Rule(AddressRule::Private)));
    }
}
