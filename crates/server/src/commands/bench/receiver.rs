//! The receivers of the measured deliveries: one that reads each whole, tells the tally and answers 204, or 503 while it is
//! out; and one that never answers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use stentor_domain::Clock as _;
use tokio::io::AsyncReadExt as _;
use tokio::task::{JoinHandle, JoinSet};

use super::stamp::Stamp;
use super::tally::Tally;
use crate::failure::Failure;
use crate::loopback::{self, Answer};
use crate::system::SystemClock;

/// A receiver that is listening; it ends when it is dropped.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    out: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Receiver {
    /// Starts to listen for what `tally` counts.
    pub(super) async fn start(tally: Arc<Tally>, clock: Arc<SystemClock>) -> Result<Self, Failure> {
        let (listener, address) = loopback::listen()?;
        let out = Arc::new(AtomicBool::new(false));
        let is_out = Arc::clone(&out);
        let take = move |request| {
            take(
                request,
                Arc::clone(&tally),
                Arc::clone(&clock),
                Arc::clone(&is_out),
            )
        };
        let serving = tokio::spawn(loopback::serve(listener, service_fn(take)));
        Ok(Self {
            address,
            out,
            serving,
        })
    }

    /// From now on it answers 503 to everything and counts nothing, or takes deliveries again.
    pub(super) fn set_out(&self, out: bool) {
        self.out.store(out, Ordering::Relaxed);
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
    out: Arc<AtomicBool>,
) -> Result<Answer, Infallible> {
    let place = place_of(request.uri().path());
    // A body that breaks off was not received; its request gets no answer that anybody reads.
    let payload = request.into_body().collect().await.map(|body| body.to_bytes());
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = if out.load(Ordering::Relaxed) {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        let stamp = payload.ok().and_then(|payload| Stamp::read(&payload));
        tally.arrived(stamp, place, clock.monotonic());
        StatusCode::NO_CONTENT
    };
    Ok(answer)
}

/// A receiver that takes connections and requests and never answers; it ends when it is dropped.
pub(super) struct Hanging {
    pub(super) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Hanging {
    /// Starts to listen.
    pub(super) async fn start() -> Result<Self, Failure> {
        let (listener, address) = loopback::listen()?;
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((mut stream, _)) = listener.accept() => {
                        connections.spawn(async move {
                            // Until the other end has had enough.
                            let mut read = [0; 2_048];
                            while stream.read(&mut read).await.is_ok_and(|bytes| bytes > 0) {}
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        self.serving.abort();
    }
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
