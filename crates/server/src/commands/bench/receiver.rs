//! The receiver of the measured deliveries: reads each whole, tells the tally, answers 204.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use stentor_domain::Clock as _;
use tokio::task::JoinHandle;

use super::stamp::Stamp;
use super::tally::Tally;
use crate::failure::Failure;
use crate::loopback::{self, Answer};
use crate::system::SystemClock;

/// A receiver that is listening; it ends when it is dropped.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts to listen for what `tally` counts.
    pub(super) async fn start(tally: Arc<Tally>, clock: Arc<SystemClock>) -> Result<Self, Failure> {
        let (listener, address) = loopback::listen().await?;
        let take = move |request| take(request, Arc::clone(&tally), Arc::clone(&clock));
        let serving = tokio::spawn(loopback::serve(listener, service_fn(take)));
        Ok(Self { address, serving })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Where the endpoint with this place among those of its tenant is, under the receiver's address.
pub(super) fn path_of(tenant: usize, place: u64) -> String {
    format!("/{tenant}/{place}")
}

fn place_of(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.parse().ok()
}

async fn take(
    request: Request<Incoming>,
    tally: Arc<Tally>,
    clock: Arc<SystemClock>,
) -> Result<Answer, Infallible> {
    let place = place_of(request.uri().path());
    // A body that breaks off was not received; its request gets no answer that anybody reads.
    let payload = request.into_body().collect().await.map(|body| body.to_bytes());
    let stamp = payload.ok().and_then(|payload| Stamp::read(&payload));
    tally.arrived(stamp, place, clock.monotonic());
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_an_endpoint_tells_its_place() {
        assert_eq!(place_of(&path_of(31, 4)), Some(4));
        assert_eq!(place_of("/"), None);
    }
}
