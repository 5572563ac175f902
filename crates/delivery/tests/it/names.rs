//! RX-29: name servers of every kind, on loopback.

use crate::world::StepClock;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stentor_delivery::resolve::{Resolve as _, SystemResolver};
use stentor_domain::attempt::ErrorClass;
use tokio::net::UdpSocket;

const NAME: &str = "hooks.example";
/// What every answered name leads to.
const V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);

const NO_ERROR: u8 = 0;
const SERVER_FAILURE: u8 = 2;
const NOT_FOUND: u8 = 3;
const REFUSED: u8 = 5;

/// How a name server answers.
#[derive(Clone, Copy)]
struct Manner {
    code: u8,
    v4_addresses: u16,
    v6_addresses: u16,
    ttl: u32,
}

/// A resolver, the name server on loopback that it asks, and the clock that it remembers by.
struct Asked {
    resolver: SystemResolver,
    clock: Arc<StepClock>,
    queries: Arc<AtomicUsize>,
}

impl Asked {
    async fn new(manner: Manner) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = socket.local_addr().unwrap();
        let queries = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&queries);
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, asker)) = socket.recv_from(&mut query).await {
                count.fetch_add(1, Ordering::SeqCst);
                let answer = manner.answer(&query[..length]);
                socket.send_to(&answer, asker).await.unwrap();
            }
        });
        Self::of(&[server], queries)
    }

    fn of(servers: &[SocketAddr], queries: Arc<AtomicUsize>) -> Self {
        let clock = Arc::new(StepClock::default());
        Self {
            resolver: SystemResolver::with_name_servers(servers, clock.clone()),
            clock,
            queries,
        }
    }

    async fn ask(&self) -> Result<Vec<IpAddr>, ErrorClass> {
        self.resolver.resolve(NAME).await
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

impl Manner {
    /// Finds nothing, with this response code.
    fn empty(code: u8) -> Self {
        let (v4_addresses, v6_addresses, ttl) = (0, 0, 60);
        Self {
            code,
            v4_addresses,
            v6_addresses,
            ttl,
        }
    }

    /// Finds so many addresses, for so many seconds.
    fn found(v4_addresses: u16, v6_addresses: u16, ttl: u32) -> Self {
        let code = NO_ERROR;
        Self {
            code,
            v4_addresses,
            v6_addresses,
            ttl,
        }
    }

    /// The bytes of an answer (RFC 1035, section 4.1).
    fn answer(self, query: &[u8]) -> Vec<u8> {
        let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap();
        let question = &query[12..name_end + 5];
        let kind = query[name_end + 2];
        let (count, address) = match kind {
            1 => (self.v4_addresses, V4.octets().to_vec()),
            _ => (self.v6_addresses, V6.octets().to_vec()),
        };
        let mut answer = query[..2].to_vec();
        answer.extend([0x81, 0x80 | self.code, 0, 1]);
        answer.extend(count.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(question);
        for _ in 0..count {
            // A pointer to the question's name, its type and class.
            answer.extend([0xc0, 12, 0, kind, 0, 1]);
            answer.extend(self.ttl.to_be_bytes());
            answer.extend([0, u8::try_from(address.len()).unwrap()]);
            answer.extend(&address);
        }
        answer
    }
}

#[tokio::test]
async fn both_families_are_asked_and_either_is_enough() {
    let (v4, v6) = (IpAddr::V4(V4), IpAddr::V6(V6));
    for (manner, expected) in [
        (Manner::found(1, 1, 60), vec![v6, v4]),
        (Manner::found(1, 0, 60), vec![v4]),
        (Manner::found(0, 1, 60), vec![v6]),
    ] {
        assert_eq!(Asked::new(manner).await.ask().await, Ok(expected));
    }
}

#[tokio::test]
async fn a_name_that_is_not_there_is_told_from_a_server_that_fails() {
    for (code, class) in [
        (NOT_FOUND, ErrorClass::DnsNotFound),
        (NO_ERROR, ErrorClass::DnsNotFound),
        (SERVER_FAILURE, ErrorClass::DnsFailure),
        (REFUSED, ErrorClass::DnsFailure),
    ] {
        let asked = Asked::new(Manner::empty(code)).await;
        assert_eq!(asked.ask().await, Err(class), "{code}");
    }
    let nobody = Asked::of(&[], Arc::default());
    assert_eq!(nobody.ask().await, Err(ErrorClass::DnsFailure));
}

#[tokio::test]
async fn answers_are_remembered_for_a_second_at_least_and_a_minute_at_most() {
    for (ttl, remembered) in [(0, 1), (30, 30), (u32::MAX >> 1, 60)] {
        let asked = Asked::new(Manner::found(1, 1, ttl)).await;
        asked.ask().await.unwrap();
        let almost = Duration::from_secs(remembered) - Duration::from_millis(1);
        asked.clock.advance(almost);
        asked.ask().await.unwrap();
        assert_eq!(asked.queries(), 2, "{ttl}");
        asked.clock.advance(Duration::from_millis(1));
        asked.ask().await.unwrap();
        assert_eq!(asked.queries(), 4, "{ttl}");
    }
}

#[tokio::test]
async fn a_failure_is_not_remembered_but_absence_is() {
    for (code, asks_again) in [(SERVER_FAILURE, true), (NOT_FOUND, false)] {
        let asked = Asked::new(Manner::empty(code)).await;
        asked.ask().await.unwrap_err();
        let before = asked.queries();
        asked.ask().await.unwrap_err();
        assert_eq!(asked.queries() > before, asks_again, "{code}");
    }
}

#[tokio::test]
async fn of_many_addresses_only_some_are_taken() {
    let asked = Asked::new(Manner::found(60, 40, 60)).await;
    assert_eq!(asked.ask().await.unwrap().len(), 32);
}
