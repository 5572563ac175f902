//! Simulated receivers: the outgoing side of HTTP, without sockets. They take the request that the real sender built, keep
//! it, and answer as their script says, at once or when they are told to.

use crate::StepClock;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use stentor_delivery::transport::{Outgoing, Sent, Transport};
use stentor_domain::attempt::{Answer, ErrorClass, Exchange, Outcome, Timing};
use stentor_domain::{Clock as _, Timestamp};
use tokio::sync::watch;

/// What a simulated receiver does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers with this status and `Retry-After`.
    RetryAfter(u16, &'static str),
    /// Answers with this status and what it was sent.
    Echo(u16),
    /// Fails to answer, for this reason.
    Fails(ErrorClass),
    /// Meets a fault in the sender itself, which panics.
    Panics,
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
    /// When it came.
    pub at: Timestamp,
    /// The ids of the other requests that were open at this URL when it came.
    pub beside: Vec<String>,
}

impl Received {
    /// A header's value; empty where it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The event that it is about.
    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// All receivers of a simulated world, by URL. One without a script answers 200.
#[derive(Debug, Default)]
pub struct Receivers {
    clock: Arc<StepClock>,
    state: Mutex<State>,
    /// Do they keep their answers back?
    silent: watch::Sender<bool>,
    /// Requests that came and have no answer yet.
    open: watch::Sender<usize>,
    /// Requests that were answered, ever.
    answered: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    scripts: HashMap<String, VecDeque<Reply>>,
    received: Vec<Received>,
    open: Vec<Call>,
    open_most: usize,
    unanswered: usize,
    broken_off: Vec<Call>,
    told: Vec<Told>,
}

/// A request by where it came and its event, as receivers tell requests apart.
pub type Call = (String, String);

/// An answer that a receiver gave.
#[derive(Clone, Debug)]
pub struct Told {
    /// To which request.
    pub call: Call,
    /// What it did.
    pub reply: Reply,
    /// When.
    pub at: Timestamp,
}

impl Receivers {
    /// Receivers on a clock, which tells them when requests come.
    pub fn new(clock: Arc<StepClock>) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Lets the receiver at `url` answer its next requests so, one after the other; afterwards, the last one again and again.
    pub fn script(&self, url: &str, replies: &[Reply]) {
        self.state
            .lock()
            .scripts
            .insert(url.to_owned(), replies.iter().cloned().collect());
    }

    /// What was received since the last call, in order.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.state.lock().received)
    }

    /// The same of the receiver at `url`; what the others got stays for their next look.
    pub fn take_from(&self, url: &str) -> Vec<Received> {
        let mut state = self.state.lock();
        let all = std::mem::take(&mut state.received);
        let (taken, left) = all.into_iter().partition(|received| received.url == url);
        state.received = left;
        taken
    }

    /// From now on nobody answers.
    pub fn fall_silent(&self) {
        self.silent.send_replace(true);
    }

    /// Everybody answers what is open, and from now on at once.
    pub fn speak(&self) {
        self.silent.send_replace(false);
    }

    /// Returns once `count` requests are open.
    pub async fn open(&self, count: usize) {
        // The sender lives as long as `self`.
        drop(self.open.subscribe().wait_for(|open| *open >= count).await);
    }

    /// Returns once `count` requests were answered, ever.
    pub async fn answered(&self, count: usize) {
        drop(
            self.answered
                .subscribe()
                .wait_for(|answered| *answered >= count)
                .await,
        );
    }

    /// The most requests that were ever open at once.
    pub fn open_most(&self) -> usize {
        self.state.lock().open_most
    }

    /// Requests that were broken off before they were answered, ever.
    pub fn unanswered(&self) -> usize {
        self.state.lock().unanswered
    }

    /// Requests that were broken off before they were answered since the last call.
    pub fn take_broken_off(&self) -> Vec<Call> {
        std::mem::take(&mut self.state.lock().broken_off)
    }

    /// What receivers have answered since the last call, in order.
    pub fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.state.lock().told)
    }

    /// Requests that have no answer yet.
    pub fn open_now(&self) -> Vec<Call> {
        self.state.lock().open.clone()
    }

    fn receive(&self, request: Outgoing) -> (Call, Bytes) {
        let (url, body) = (request.destination.url().text().to_owned(), request.body.clone());
        let mut state = self.state.lock();
        let beside = state.open.iter().filter(|(other, _)| *other == url);
        let received = Received {
            url: url.clone(),
            headers: request.headers,
            body: request.body,
            timeout: request.timeout,
            at: self.clock.now(),
            beside: beside.map(|(_, id)| id.clone()).collect(),
        };
        let call = (url, received.id().to_owned());
        state.open.push(call.clone());
        state.received.push(received);
        self.open.send_modify(|open| *open += 1);
        state.open_most = state.open_most.max(*self.open.borrow());
        (call, body)
    }

    fn reply_to(&self, call: &Call) -> Reply {
        let mut state = self.state.lock();
        let reply = match state.scripts.get_mut(&call.0) {
            Some(replies) if replies.len() > 1 => replies.pop_front(),
            Some(replies) => replies.front().cloned(),
            None => None,
        };
        let reply = reply.unwrap_or(Reply::Status(200));
        state.told.push(Told {
            call: call.clone(),
            reply: reply.clone(),
            at: self.clock.now(),
        });
        reply
    }
}

/// An open request; answered or broken off, it is open no more.
struct Open<'a> {
    receivers: &'a Receivers,
    call: Call,
    answered: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let mut state = self.receivers.state.lock();
        if let Some(at) = state.open.iter().position(|one| *one == self.call) {
            state.open.swap_remove(at);
        }
        self.receivers.open.send_modify(|open| *open -= 1);
        if self.answered {
            self.receivers.answered.send_modify(|answered| *answered += 1);
        } else {
            state.unanswered += 1;
            state.broken_off.push(self.call.clone());
        }
    }
}

impl Transport for Receivers {
    fn send(&self, request: Outgoing) -> BoxFuture<'_, Sent> {
        async move {
            let (call, body) = self.receive(request);
            let mut open = Open {
                receivers: self,
                call,
                answered: false,
            };
            drop(self.silent.subscribe().wait_for(|silent| !silent).await);
            open.answered = true;
            sent(self.reply_to(&open.call), body)
        }
        .boxed()
    }
}

fn sent(reply: Reply, body: Bytes) -> Sent {
    let said = match reply {
        Reply::Echo(_) => body,
        _ => Bytes::new(),
    };
    let (outcome, retry_after) = match reply {
        Reply::Status(status) | Reply::Echo(status) => (Outcome::Answered(status), None),
        Reply::RetryAfter(status, wait) => (Outcome::Answered(status), Some(wait.to_owned())),
        Reply::Fails(class) => (Outcome::Failed(class), None),
        Reply::Panics => panic!("a fault of the sender, as the story wants it"),
    };
    let answer = outcome.status().map(|_| Answer {
        headers: "server: simulated\n".into(),
        body: said,
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
    Sent {
        outcome,
        exchange,
        retry_after,
    }
}
