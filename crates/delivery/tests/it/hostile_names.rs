//! RX-29, RX-30: zones whose owners mean no good, asked through the real resolver.

use crate::world::{AMPLE, Receiver, StepClock, failed, guard};
use futures_util::future::join_all;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use stentor_delivery::resolve::{Resolve as _, SystemResolver};
use stentor_delivery::transport::{
    Destination, HttpSettings, HttpTransport, Outgoing, Permission, Transport as _,
};
use stentor_domain::attempt::ErrorClass;
use stentor_domain::endpoint_url::EndpointUrl;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

const NAME: &str = "hooks.example";
const OTHER: &str = "other.example";
const PUBLIC: Ipv4Addr = Ipv4Addr::new(93, 184, 215, 14);
const A: u16 = 1;
const CNAME: u16 = 5;
/// The longest that a lookup may take, and a little more for a busy machine.
const LOOKUP_MOST: Duration = Duration::from_secs(8);

/// A question: its id, its name in lower case, its type, and how it came.
struct Question {
    id: [u8; 2],
    bytes: Vec<u8>,
    name: String,
    kind: u16,
    over_tcp: bool,
}

impl Question {
    fn read(query: &[u8], over_tcp: bool) -> Self {
        let mut at = 12;
        let mut labels = Vec::new();
        while query[at] != 0 {
            let length = usize::from(query[at]);
            labels.push(String::from_utf8_lossy(&query[at + 1..=at + length]).to_lowercase());
            at += length + 1;
        }
        Self {
            id: [query[0], query[1]],
            bytes: query[12..at + 5].to_vec(),
            name: labels.join("."),
            kind: u16::from_be_bytes([query[at + 1], query[at + 2]]),
            over_tcp,
        }
    }

    /// An answer of these records, with the bit that says that there are more.
    fn answered(&self, truncated: bool, records: &[Vec<u8>]) -> Vec<u8> {
        let mut answer = self.id.to_vec();
        answer.extend([if truncated { 0x87 } else { 0x85 }, 0x80, 0, 1]);
        answer.extend(u16::try_from(records.len()).unwrap().to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(&self.bytes);
        answer.extend(records.concat());
        answer
    }

    /// The answer of these records to a question for IPv4; to others that there are none.
    fn v4(&self, records: &[Vec<u8>]) -> Vec<u8> {
        self.answered(false, if self.kind == A { records } else { &[] })
    }
}

fn spelled(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes
}

fn record(name: &str, kind: u16, content: &[u8]) -> Vec<u8> {
    let mut record = spelled(name);
    record.extend(kind.to_be_bytes());
    record.extend([0, 1, 0, 0, 0, 60]);
    record.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    record.extend(content);
    record
}

fn a(name: &str, address: Ipv4Addr) -> Vec<u8> {
    record(name, A, &address.octets())
}

fn cname(name: &str, target: &str) -> Vec<u8> {
    record(name, CNAME, &spelled(target))
}

/// A name server on loopback, over UDP and TCP, and the resolver that asks it.
struct Zone {
    resolver: Arc<SystemResolver>,
    queries: Arc<AtomicUsize>,
}

impl Zone {
    /// `answer` gives what to send, byte for byte; nothing is sent where it gives nothing.
    async fn new(answer: impl Fn(&Question) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            // The same port may be somebody else's there.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let answer = Arc::new(answer);
        let queries = Arc::new(AtomicUsize::new(0));
        let (by_udp, counted) = (Arc::clone(&answer), Arc::clone(&queries));
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, asker)) = udp.recv_from(&mut query).await {
                counted.fetch_add(1, Ordering::SeqCst);
                let answer = by_udp(&Question::read(&query[..length], false));
                if !answer.is_empty() {
                    udp.send_to(&answer, asker).await.unwrap();
                }
            }
        });
        let counted = Arc::clone(&queries);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let (answer, counted) = (Arc::clone(&answer), Arc::clone(&counted));
                tokio::spawn(async move {
                    while let Ok(length) = stream.read_u16().await {
                        let mut query = vec![0; usize::from(length)];
                        stream.read_exact(&mut query).await.unwrap();
                        counted.fetch_add(1, Ordering::SeqCst);
                        let answer = answer(&Question::read(&query, true));
                        let length = u16::try_from(answer.len()).unwrap();
                        let _ = stream
                            .write_all(&[&length.to_be_bytes()[..], &answer].concat())
                            .await;
                    }
                });
            }
        });
        let servers: [SocketAddr; 1] = [address];
        let resolver = SystemResolver::with_name_servers(&servers, Arc::new(StepClock::default()));
        Self {
            resolver: Arc::new(resolver),
            queries,
        }
    }

    /// Asks within the time that a lookup may take.
    async fn ask(&self, name: &str) -> Result<Vec<IpAddr>, ErrorClass> {
        tokio::time::timeout(LOOKUP_MOST, self.resolver.resolve(name))
            .await
            .expect("a lookup has its own end")
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_name_server_that_is_silent_or_speaks_nonsense_is_a_failure_within_the_time_for_lookups() {
    let silent = Zone::new(|_| Vec::new()).await;
    let nonsense = Zone::new(|_| vec![0xff; 64]).await;
    let foreign = Zone::new(|question| {
        let mut answer = question.v4(&[a(NAME, PUBLIC)]);
        // The answer to a question that nobody asked.
        answer[0] ^= 0xff;
        answer
    })
    .await;
    let zones = [silent, nonsense, foreign];
    let answers = join_all(zones.iter().map(|zone| zone.ask(NAME))).await;
    assert_eq!(answers, [const { Err(ErrorClass::DnsFailure) }; 3]);
    for zone in zones {
        assert!(zone.queries() <= 16, "{}", zone.queries());
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_for_udp_is_asked_for_again_over_tcp_and_taken_in_part() {
    let zone = Zone::new(|question| match question.over_tcp {
        false => question.answered(true, &[]),
        true => {
            let many: Vec<_> = (0..2_000)
                .map(|at: u16| [10, 0, at.to_be_bytes()[0], at.to_be_bytes()[1]])
                .collect();
            let records: Vec<_> = many.iter().map(|octets| a("h", (*octets).into())).collect();
            question.v4(&records)
        }
    })
    .await;
    assert_eq!(zone.ask("h").await.unwrap().len(), 32);
}

#[tokio::test]
async fn a_long_chain_and_a_loop_of_names_end() {
    let chain = |length: usize| {
        move |question: &Question| {
            let name = |at: usize| {
                if at == 0 {
                    NAME.to_owned()
                } else {
                    format!("n{at}.example")
                }
            };
            let mut records: Vec<_> = (0..length).map(|at| cname(&name(at), &name(at + 1))).collect();
            records.push(a(&name(length), PUBLIC));
            question.v4(&records)
        }
    };
    assert_eq!(
        Zone::new(chain(3)).await.ask(NAME).await,
        Ok(vec![IpAddr::V4(PUBLIC)])
    );
    // Whether so many are followed is not promised, that it ends is.
    let long = Zone::new(chain(50)).await;
    let _ = long.ask(NAME).await;
    assert!(long.queries() <= 64, "{}", long.queries());

    let round =
        Zone::new(|question| question.answered(false, &[cname(NAME, OTHER), cname(OTHER, NAME)])).await;
    round.ask(NAME).await.unwrap_err();
    let step_by_step = Zone::new(|question| {
        let target = if question.name == NAME { OTHER } else { NAME };
        question.answered(false, &[cname(&question.name, target)])
    })
    .await;
    step_by_step.ask(NAME).await.unwrap_err();
    let ever_longer = Zone::new(|question| {
        let target = format!("n{}.example", question.name.len());
        question.answered(false, &[cname(&question.name, &format!("x{target}"))])
    })
    .await;
    ever_longer.ask(NAME).await.unwrap_err();
    for zone in [round, step_by_step, ever_longer] {
        assert!(zone.queries() <= 64, "{}", zone.queries());
    }
}

#[tokio::test]
async fn an_answer_tells_nothing_of_other_names() {
    let zone = Zone::new(|question| {
        if question.name == NAME {
            question.v4(&[a(NAME, PUBLIC), a(OTHER, Ipv4Addr::new(6, 6, 6, 6))])
        } else {
            question.v4(&[a(OTHER, Ipv4Addr::new(93, 184, 215, 15))])
        }
    })
    .await;
    assert!(zone.ask(NAME).await.unwrap().contains(&IpAddr::V4(PUBLIC)));
    let other = zone.ask(OTHER).await.unwrap();
    assert_eq!(other, [IpAddr::from([93, 184, 215, 15])]);
}

#[tokio::test]
async fn a_name_in_another_case_is_the_same_name() {
    let zone = Zone::new(|question| question.v4(&[a("HOOKS.Example", PUBLIC)])).await;
    assert_eq!(zone.ask(NAME).await, Ok(vec![IpAddr::V4(PUBLIC)]));
}

/// RX-30: however a zone leads to this machine, nobody is connected to.
#[tokio::test]
async fn a_public_name_that_leads_inside_is_blocked() {
    let receiver = Receiver::obedient().await;
    let inside = Ipv4Addr::LOCALHOST;
    let ways: [Vec<Vec<u8>>; 4] = [
        vec![cname(NAME, "db.internal"), a("db.internal", inside)],
        vec![cname(NAME, "localhost"), a("localhost", inside)],
        vec![a(NAME, PUBLIC), a(NAME, inside)],
        vec![a(NAME, inside), a(NAME, PUBLIC)],
    ];
    for records in ways {
        let zone = Zone::new(move |question| question.v4(&records)).await;
        let settings = HttpSettings {
            guard: guard("10.1.2.3", &[]),
            ..HttpSettings::default()
        };
        let transport =
            HttpTransport::new(settings, zone.resolver.clone(), Arc::new(StepClock::default())).unwrap();
        let url = format!("https://{NAME}:{}/", receiver.address.port());
        let request = Outgoing {
            destination: Destination::new(EndpointUrl::stored(&url).unwrap()),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::new(),
            timeout: AMPLE,
            keep: 0,
            permission: Permission::new(|| true),
        };
        let sent = transport.send(request).await;
        assert_eq!(sent.outcome, failed(ErrorClass::BlockedAddress));
        assert_eq!(sent.exchange.detail, None, "what lies behind a name stays unsaid");
    }
    assert_eq!(receiver.accepted(), 0);
}
