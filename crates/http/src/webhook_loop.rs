//! Webhooks that come back: a receiver may be a client of this API, and what it does there because of a webhook may lead to
//! the next one, round and round. Every delivery says in `webhook-loop` how many webhooks led to it, and a receiver that
//! publishes because of one passes the header on.
//!
//! - A publish is accepted as long as fewer than [`LOOPS_MAX`] webhooks led to it; its own deliveries carry one more.
//! - Any other POST with the header is itself a webhook, or made of one: it is refused, since retries, tests and replays
//!   send again what has a count already.
//! - A value that is no number is refused rather than taken for none: nothing but a loop that nobody counts would come of it.

use crate::problem::Problem;
use axum::extract::Request;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use stentor_domain::limits::LOOPS_MAX;

const WEBHOOK_LOOP: HeaderName = HeaderName::from_static("webhook-loop");
/// Where events are published, the only thing that a webhook may lead to.
const PUBLISHING: [&str; 2] = ["/v1/events", "/v1/events/batch"];

/// How many webhooks led to a publish, one after the other.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loops(pub(crate) u8);

impl Loops {
    /// What [`check`] has found.
    pub(crate) fn of(parts: &Parts) -> Self {
        parts.extensions.get().copied().unwrap_or_default()
    }
}

/// Refuses a request that is part of a loop, and notes with another how many webhooks led to it.
pub(crate) fn check(request: &mut Request) -> Result<(), Problem> {
    if *request.method() == Method::POST && request.headers().contains_key(WEBHOOK_LOOP) {
        let loops = judged(request)?;
        request.extensions_mut().insert(loops);
    }
    Ok(())
}

fn judged(request: &Request) -> Result<Loops, Problem> {
    let loops = counted(request.headers()).ok_or_else(|| {
        let rule = "must be the whole number that the webhook came with, or be left out where no webhook led to this";
        Problem::invalid().with_error("webhook-loop", rule)
    })?;
    let refusal = |detail| {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Err(Problem::new(status, "webhook_loop", detail))
    };
    if !PUBLISHING.contains(&request.uri().path().trim_end_matches('/')) {
        return refusal(
            "A webhook may lead to publishing and to nothing else here. If this is a request of your own, send it without \
             the header `webhook-loop`.",
        );
    }
    if loops.0 >= LOOPS_MAX {
        return refusal(
            "One webhook has led to the next too often: this event would go round in a loop. Find out which receiver \
             publishes what it receives.",
        );
    }
    Ok(loops)
}

/// The largest count of the request, since proxies may join several headers; `None` where one is no number.
fn counted(headers: &HeaderMap) -> Option<Loops> {
    let mut most = 0;
    for value in headers.get_all(WEBHOOK_LOOP) {
        for count in value.to_str().ok()?.split(',') {
            let count = count.trim();
            if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // More digits than fit are more than enough.
            most = most.max(count.parse().unwrap_or(u8::MAX));
        }
    }
    Some(Loops(most))
}
