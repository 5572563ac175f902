//! Simulated receivers: the outgoing side of HTTP, without sockets. They take the request that the real sender built, keep
//! it, and answer as their script says.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use stentor_delivery::transport::{Outgoing, Sent, Transport};
use stentor_domain::attempt::{Answer, ErrorClass, Exchange, Outcome, Timing};

/// What a simulated receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and `Retry-After`.
    RetryAfter(u16, &'static str),
    /// Fails to answer, for this reason.
    Fails(ErrorClass),
}

/// A request that a simulated receiver got.
#[derive(Clone, Debug)]
pub struct Received {
    /// The whole URL.
    pub url: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The deadline that the sender gave itself.
    pub timeout: Duration,
}

impl Received {
    /// A header's value; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

/// All receivers of a simulated world, by URL. One without a script answers 200.
#[derive(Debug, Default)]
pub struct Receivers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<String, VecDeque<Reply>>,
    received: Vec<Received>,
}

impl Receivers {
    /// Lets the receiver at `url` answer its next requests so, one after the other; afterwards, the last one again and again.
    pub fn script(&self, url: &str, replies: &[Reply]) {
        self.0
            .lock()
            .scripts
            .insert(url.to_owned(), replies.iter().cloned().collect());
    }

    /// What was received since the last call, in order.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.0.lock().received)
    }

    fn reply_to(&self, url: &str) -> Reply {
        match self.0.lock().scripts.get_mut(url) {
            Some(replies) if replies.len() > 1 => replies.pop_front().unwrap_or(Reply::Status(200)),
            Some(replies) => replies.front().cloned().unwrap_or(Reply::Status(200)),
            None => Reply::Status(200),
        }
    }
}

impl Transport for Receivers {
    fn send(&self, request: Outgoing) -> BoxFuture<'_, Sent> {
        let url = request.url.text().to_owned();
        let reply = self.reply_to(&url);
        let Outgoing {
            headers,
            body,
            timeout,
            ..
        } = request;
        self.0.lock().received.push(Received {
            url,
            headers,
            body,
            timeout,
        });
        let (outcome, retry_after) = match reply {
            Reply::Status(status) => (Outcome::Answered(status), None),
            Reply::RetryAfter(status, wait) => (Outcome::Answered(status), Some(wait.to_owned())),
            Reply::Fails(class) => (Outcome::Failed(class), None),
        };
        let answer = outcome.status().map(|_| Answer {
            headers: "server: simulated\n".into(),
            ..Answer::default()
        });
        let timing = Timing {
            total_micros: 1_000,
            ..Timing::default()
        };
        let exchange = Exchange {
            timing,
            answer,
            ..Exchange::default()
        };
        std::future::ready(Sent {
            outcome,
            exchange,
            retry_after,
        })
        .boxed()
    }
}
