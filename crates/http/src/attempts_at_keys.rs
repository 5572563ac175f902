//! Failed authentications, limited per peer address, so that keys cannot be guessed at speed. A valid key is never
//! limited, whatever else comes from its address.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;
use stentor_domain::Timestamp;

const WINDOW: Duration = Duration::from_secs(60);
/// Addresses remembered. Beyond it those whose minute is over are forgotten, then all: a guesser with so many addresses
/// gains a little, an honest client loses nothing.
const ADDRESSES_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct AttemptsAtKeys {
    per_minute: Option<NonZeroU32>,
    failed: Mutex<HashMap<IpAddr, Failed>>,
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    since: Timestamp,
    count: u32,
}

impl AttemptsAtKeys {
    pub(crate) fn new(per_minute: Option<NonZeroU32>) -> Self {
        Self {
            per_minute,
            failed: Mutex::default(),
        }
    }

    /// Counts a failed authentication. The error is how long the address should wait.
    pub(crate) fn count(&self, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let Some(most) = self.per_minute else {
            return Ok(());
        };
        let mut failed = self.failed.lock();
        if failed.len() >= ADDRESSES_MAX {
            failed.retain(|_, entry| now.since(entry.since) < WINDOW);
            if failed.len() >= ADDRESSES_MAX {
                failed.clear();
            }
        }
        let entry = failed
            .entry(network_of(address))
            .or_insert(Failed { since: now, count: 0 });
        if now.since(entry.since) >= WINDOW || now < entry.since {
            *entry = Failed { since: now, count: 0 };
        }
        if entry.count >= most.get() {
            return Err(WINDOW.saturating_sub(now.since(entry.since)));
        }
        entry.count += 1;
        Ok(())
    }
}

/// IPv6 customers get a /64 each, and can use every address of it.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000 + seconds)
    }

    #[test]
    fn an_address_is_stopped_for_the_rest_of_its_minute_and_others_are_not() {
        let attempts = AttemptsAtKeys::new(NonZeroU32::new(2));
        let guesser: IpAddr = "192.0.2.1".parse().unwrap();
        assert!(attempts.count(guesser, at(0)).is_ok() && attempts.count(guesser, at(20)).is_ok());
        assert_eq!(attempts.count(guesser, at(20)), Err(Duration::from_secs(40)));
        assert!(attempts.count("192.0.2.2".parse().unwrap(), at(20)).is_ok());
        assert!(attempts.count(guesser, at(60)).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_address_and_a_mapped_one_is_ipv4() {
        let attempts = AttemptsAtKeys::new(NonZeroU32::new(1));
        assert!(attempts.count("2001:db8::1".parse().unwrap(), at(0)).is_ok());
        assert!(attempts.count("2001:db8::2".parse().unwrap(), at(0)).is_err());
        assert!(attempts.count("::ffff:192.0.2.1".parse().unwrap(), at(0)).is_ok());
        assert!(attempts.count("192.0.2.1".parse().unwrap(), at(0)).is_err());
    }

    #[test]
    fn memory_is_bounded() {
        let attempts = AttemptsAtKeys::new(NonZeroU32::new(1));
        for n in 0..25_000_u32 {
            let _ = attempts.count(IpAddr::V4(n.into()), at(0));
        }
        assert!(attempts.failed.lock().len() <= ADDRESSES_MAX);
    }
}
