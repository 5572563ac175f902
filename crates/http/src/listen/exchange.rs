//! One request and its answer: the router is called, a panic becomes a 500, and the answer is watched to its end.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::PeerAddr;
use super::seat::{Exchange, Seat};
use crate::problem::{CloseConnection, Problem};

/// Carries out one request. It counts as in flight from this call on, even before the future is polled.
pub(super) fn carry_out(
    router: &Router,
    seat: &Arc<Seat>,
    peer: PeerAddr,
    mut request: Request<Incoming>,
) -> impl Future<Output = http::Response<AnswerBody>> + use<> {
    let version = request.version();
    let (exchange, may_run) = seat.request_began(version == Version::HTTP_2);
    request.extensions_mut().insert(peer);
    let router = router.clone();
    async move {
        let response = if may_run {
            call(router, request).await
        } else {
            refuse()
        };
        finish(response, version, exchange)
    }
}

/// Calls the router. A panic in a handler is answered with 500 and costs nobody else anything: the connection and
/// the process live on. What the panic said may quote what it was handling, and is left to the panic hook.
async fn call(router: Router, request: Request<Incoming>) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut answer = pin!(router.oneshot(request));
    let caught =
        std::future::poll_fn(
            |cx| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
                Ok(poll) => poll.map(Some),
                // The future is not polled again, so that nobody meets what the panic left half done in it.
                Err(_) => Poll::Ready(None),
            },
        )
        .await;
    match caught {
        Some(Ok(response)) => response,
        None => {
            tracing::error!(%method, path, "a handler panicked; the request was answered with 500");
            Problem::internal().into_response()
        }
    }
}

/// For a client that has cancelled so much that its next request would only add to it.
fn refuse() -> Response {
    Problem::unavailable(
        "Too many requests of this connection were cancelled.",
        Duration::from_secs(1),
    )
    .into_response()
}

fn finish(mut response: Response, version: Version, exchange: Exchange) -> http::Response<AnswerBody> {
    let closes = response.extensions_mut().remove::<CloseConnection>().is_some();
    if closes && version < Version::HTTP_2 {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        exchange.seat().linger();
    }
    response.map(|body| AnswerBody { body, exchange })
}

/// An answer's body that ends its [`Exchange`] when hyper has taken all of it, or has no more use for it.
#[derive(Debug)]
pub(super) struct AnswerBody {
    body: Body,
    exchange: Exchange,
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_none() {
            self.exchange.answered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.exchange.answered();
        }
    }
}
