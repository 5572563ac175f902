//! The program at the other end: verifies each signature as any receiver would, with the endpoint's secret and nothing of
//! Stentor's own code, and answers as its part in the cast says.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use parking_lot::Mutex;
use sha2::Sha256;
use stentor_domain::Clock;
use tokio::task::JoinHandle;

use super::cast::{Behaviour, endpoint_at};
use crate::failure::Failure;
use crate::loopback::{self, Answer};

/// How far a timestamp may be from the receiver's own clock (Standard Webhooks recommends five minutes).
const TIMESTAMP_SECONDS_AWAY_MAX: u64 = 300;

/// What a receiver found out about a request's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// It is right.
    Verified,
    /// It is missing, wrong or old.
    Wrong,
    /// The receiver was not told the endpoint's secret.
    Unchecked,
}

/// A receiver that is listening; it ends when it is dropped.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    book: Arc<Book>,
    serving: JoinHandle<()>,
}

/// What it was told and what it saw, both under the path of the endpoint's URL.
struct Book {
    clock: Arc<dyn Clock>,
    keys: Mutex<HashMap<String, Vec<u8>>>,
    /// By path and `webhook-id`, in the order of the requests.
    seen: Mutex<HashMap<(String, String), Vec<Signature>>>,
}

impl Receiver {
    pub(super) async fn start(clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let (listener, address) = loopback::listen()?;
        let book = Arc::new(Book {
            clock,
            keys: Mutex::default(),
            seen: Mutex::default(),
        });
        let kept = Arc::clone(&book);
        let take = move |request| take(request, Arc::clone(&kept));
        let serving = tokio::spawn(loopback::serve(listener, service_fn(take)));
        Ok(Self {
            address,
            book,
            serving,
        })
    }

    /// Tells the secret (`whsec_` and base64) of the endpoint at `/name`.
    pub(super) fn trust(&self, name: &str, secret: &str) -> Result<(), Failure> {
        let key = secret
            .strip_prefix("whsec_")
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or_else(|| {
                Failure::Failed("the server drew a secret that is no whsec_ and base64".to_owned())
            })?;
        self.book.keys.lock().insert(format!("/{name}"), key);
        Ok(())
    }

    /// What the request with this number, from 1, of the event's delivery to `/name` showed.
    pub(super) fn signature(&self, name: &str, event: &str, number: usize) -> Signature {
        let seen = self.book.seen.lock();
        seen.get(&(format!("/{name}"), event.to_owned()))
            .and_then(|signatures| signatures.get(number.checked_sub(1)?).copied())
            .unwrap_or(Signature::Unchecked)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(request: Request<Incoming>, book: Arc<Book>) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let behaviour = endpoint_at(&path).map_or(Behaviour::Takes, |endpoint| endpoint.behaviour);
    let body = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return Ok(answer(StatusCode::BAD_REQUEST)),
    };
    let earlier = book.note(path, &head.headers, &body);
    match behaviour.answer(earlier) {
        Some(status) => Ok(answer(status)),
        None => std::future::pending().await,
    }
}

fn answer(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

impl Book {
    /// Checks and notes a request; answers how many of the same delivery there were before it.
    fn note(&self, path: String, headers: &HeaderMap, body: &[u8]) -> usize {
        let signature = match self.keys.lock().get(&path) {
            None => Signature::Unchecked,
            Some(key) if verify(key, headers, body, self.clock.now().seconds()) => Signature::Verified,
            Some(_) => Signature::Wrong,
        };
        let id = header(headers, "webhook-id").unwrap_or_default().to_owned();
        let mut seen = self.seen.lock();
        let signatures = seen.entry((path, id)).or_default();
        signatures.push(signature);
        signatures.len() - 1
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Standard Webhooks 1.0.0: one of the signatures must be the HMAC-SHA256 of `id.timestamp.body`, and the timestamp near.
fn verify(key: &[u8], headers: &HeaderMap, body: &[u8], now: i64) -> bool {
    let named = |name| header(headers, name);
    let (Some(id), Some(timestamp), Some(signatures)) = (
        named("webhook-id"),
        named("webhook-timestamp"),
        named("webhook-signature"),
    ) else {
        return false;
    };
    let near = timestamp
        .parse::<i64>()
        .is_ok_and(|sent| sent.abs_diff(now) <= TIMESTAMP_SECONDS_AWAY_MAX);
    let Ok(mut hashed) = Hmac::<Sha256>::new_from_slice(key) else {
        return false;
    };
    hashed.update(format!("{id}.{timestamp}.").as_bytes());
    hashed.update(body);
    let mut given = signatures
        .split(' ')
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok());
    near && given.any(|given| hashed.clone().verify_slice(&given).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"0123456789abcdef01234567";
    /// Computed with `openssl dgst -sha256 -hmac` over `evt_1.1700000000.{}`.
    const RIGHT: &str = "v1,NNE7l8yBGUIZix+ZWhuw1i0d7yHV58dTPlowMVgdMTA=";

    fn headers(signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().unwrap());
        headers.insert("webhook-timestamp", "1700000000".parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    #[test]
    fn a_signature_holds_for_its_own_body_key_and_time_only() {
        let now = 1_700_000_100;
        assert!(verify(KEY, &headers(RIGHT), b"{}", now));
        assert!(verify(KEY, &headers(&format!("v1,AAAA {RIGHT}")), b"{}", now));
        assert!(!verify(KEY, &headers(RIGHT), b"{ }", now));
        assert!(!verify(b"another key of 24 bytes.", &headers(RIGHT), b"{}", now));
        assert!(!verify(KEY, &headers(RIGHT), b"{}", now + 300));
        assert!(!verify(KEY, &HeaderMap::new(), b"{}", now));
    }
}
