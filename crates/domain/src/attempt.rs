//! The attempt: one HTTP try of a delivery. The receiver's fault is an [`Outcome`], never an error of ours.

use crate::Timestamp;
use bytes::Bytes;
use std::net::SocketAddr;

/// Why an attempt exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The event was accepted, and its schedule runs.
    Event,
    /// Somebody asked for this delivery to be tried again.
    Retry,
    /// A replay reopened or inserted it.
    Replay,
    /// A test: tried once, past pause and queue, without consequences for the endpoint.
    Test,
}

impl Trigger {
    const ALL: [Self; 4] = [Self::Event, Self::Retry, Self::Replay, Self::Test];

    /// The word that contracts show and the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Retry => "retry",
            Self::Replay => "replay",
            Self::Test => "test",
        }
    }

    /// The trigger that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == word)
    }
}

/// What happened in an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Complete answer headers arrived, with this status.
    Answered(u16),
    /// No answer came, for this reason.
    Failed(ErrorClass),
    /// Nobody was asked: the project is a sandbox, and the destination is not one that the operator allows.
    Simulated,
}

impl Outcome {
    /// The receiver says that it is gone for good.
    pub const GONE: Self = Self::Answered(410);

    /// Did the receiver take the event? Only 2xx says so (Standard Webhooks); a sandbox says so in its place.
    pub const fn succeeded(self) -> bool {
        matches!(self, Self::Answered(200..=299) | Self::Simulated)
    }

    /// The status of the answer.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Answered(status) => Some(status),
            Self::Failed(_) | Self::Simulated => None,
        }
    }

    /// What it was, in two words at most.
    pub fn words(self) -> String {
        match self {
            Self::Answered(status) => format!("status {status}"),
            Self::Failed(class) => class.as_str().to_owned(),
            Self::Simulated => "no request".to_owned(),
        }
    }

    /// What kind of failure it was; `None` for a success.
    pub const fn error_class(self) -> Option<ErrorClass> {
        match self {
            Self::Answered(200..=299) | Self::Simulated => None,
            Self::Answered(300..=399) => Some(ErrorClass::RedirectNotFollowed),
            Self::Answered(_) => Some(ErrorClass::HttpStatus),
            Self::Failed(class) => Some(class),
        }
    }
}

/// The kinds of failure: a closed list (security rules, "Failure policy").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The name does not exist, or has no address.
    DnsNotFound,
    /// The name could not be looked up.
    DnsFailure,
    /// The address guard refused the destination.
    BlockedAddress,
    /// This machine has no route to the address.
    NoRoute,
    /// The connection was refused, reset or timed out before it stood.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// No complete answer headers within the deadline.
    Timeout,
    /// An answer outside 2xx and 3xx.
    HttpStatus,
    /// An answer of 3xx.
    RedirectNotFollowed,
    /// What came back was not HTTP, or the connection broke during the exchange.
    Protocol,
    /// The operator's egress proxy failed.
    Proxy,
    /// Stentor was shutting down.
    Shutdown,
}

impl ErrorClass {
    /// All of them. The store keeps their places in statistics: new ones come last.
    pub const ALL: [Self; 12] = [
        Self::DnsNotFound,
        Self::DnsFailure,
        Self::BlockedAddress,
        Self::NoRoute,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::HttpStatus,
        Self::RedirectNotFollowed,
        Self::Protocol,
        Self::Proxy,
        Self::Shutdown,
    ];

    /// The word that contracts show and the store keeps.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DnsNotFound => "dns_not_found",
            Self::DnsFailure => "dns_failure",
            Self::BlockedAddress => "blocked_address",
            Self::NoRoute => "no_route",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::HttpStatus => "http_status",
            Self::RedirectNotFollowed => "redirect_not_followed",
            Self::Protocol => "protocol",
            Self::Proxy => "proxy",
            Self::Shutdown => "shutdown",
        }
    }

    /// The class that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }

    /// What to do about it, for the receiver's developer.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::DnsNotFound => {
                "The host name does not exist. Check the endpoint's URL and its DNS records."
            }
            Self::DnsFailure => "The host name could not be looked up. Check the name servers of its domain.",
            Self::BlockedAddress => {
                "The host leads to an address that deliveries must not reach. Use a public one."
            }
            Self::NoRoute => {
                "This server has no route to the host's addresses. An IPv6-only host needs IPv4 too."
            }
            Self::Connect => {
                "No connection could be made. Check that the receiver runs and its firewall lets us in."
            }
            Self::Tls => {
                "The TLS handshake failed. Check the certificate: its name, its dates, its whole chain."
            }
            Self::Timeout => "No complete answer came in time. Answer first, then work on the event.",
            Self::HttpStatus => {
                "The receiver answered with an error status. Its log tells why; answer 2xx to accept."
            }
            Self::RedirectNotFollowed => {
                "The receiver redirects, which is never followed. Register the final URL."
            }
            Self::Protocol => "The receiver broke the connection or did not speak HTTP.",
            Self::Proxy => {
                "The egress proxy of this server failed: its operator has to mend that. The attempt will be repeated."
            }
            Self::Shutdown => "This server was shutting down; the attempt will be repeated.",
        }
    }

    /// Is it a fault of ours, which costs the receiver no place in the schedule?
    pub const fn ours(self) -> bool {
        matches!(self, Self::Proxy | Self::Shutdown)
    }
}

/// One HTTP try of a delivery. Immutable once it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Its number within the delivery, from 1.
    pub no: u32,
    /// Why it exists.
    pub trigger: Trigger,
    /// When it started.
    pub started_at: Timestamp,
    /// What happened.
    pub outcome: Outcome,
    /// The exchange in detail.
    pub exchange: Exchange,
}

impl Attempt {
    /// Why it failed, for the receiver's developer: what to do about it, and what is known. `None` for a success.
    pub fn error_in_words(&self) -> Option<String> {
        let sentence = self.outcome.error_class()?.sentence();
        Some(match &self.exchange.detail {
            Some(detail) => format!("{sentence} ({detail})"),
            None => sentence.to_owned(),
        })
    }
}

/// What went over the wire in an attempt, and how long each part took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// The header lines sent, `name: value` with a line feed after each; without custom headers.
    pub sent_headers: String,
    /// Which version of the endpoint's custom headers was sent, if any; their values stay sealed where they are.
    pub header_set: Option<i64>,
    /// The address that was connected to.
    pub address: Option<SocketAddr>,
    /// How long each part took.
    pub timing: Timing,
    /// The receiver's answer.
    pub answer: Option<Answer>,
    /// More about a failure than its class says, without secrets or what lies behind a blocked address.
    pub detail: Option<String>,
}

/// What a receiver answered, cut to the limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its header lines, `name: value` with a line feed after each, lossily as UTF-8.
    pub headers: String,
    /// Its body, as far as it is kept.
    pub body: Bytes,
    /// Was there more than is kept?
    pub truncated: bool,
}

/// How long each part of an exchange took, in microseconds. A part that did not happen (a pooled connection needs no
/// DNS) is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Looking up the name.
    pub dns_micros: Option<u32>,
    /// Connecting, TCP only.
    pub connect_micros: Option<u32>,
    /// The TLS handshake.
    pub tls_micros: Option<u32>,
    /// From the request's first byte to the answer's headers.
    pub first_byte_micros: Option<u32>,
    /// The whole exchange.
    pub total_micros: u32,
}
