//! One request and its answer: it is handed to the front, a panic becomes a 500, and both bodies are watched to their ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tower::ServiceExt as _;

use super::seat::{Exchange, Seat};
use super::{Answers, PeerAddr};
use crate::problem::Problem;

/// Carries out one request. It counts as in flight from this call on, even before the future is polled.
pub(super) fn carry_out<S: Answers>(
    front: &S,
    seat: &Arc<Seat>,
    peer: PeerAddr,
    mut request: Request<Incoming>,
) -> impl Future<Output = http::Response<AnswerBody>> + use<S> {
    let version = request.version();
    let (exchange, may_run) = seat.request_began(version == Version::HTTP_2);
    request.extensions_mut().insert(peer);
    let request = request.map(|incoming| {
        Body::new(AskedBody {
            incoming,
            ended: false,
            // An HTTP/2 stream that is not read to its end is reset; its connection goes on.
            seat: (version < Version::HTTP_2).then(|| Arc::clone(seat)),
        })
    });
    let front = front.clone();
    async move {
        let response = if may_run {
            call(front, request).await
        } else {
            refuse()
        };
        finish(response, version, exchange)
    }
}

/// Calls the front. A panic in a handler is answered with 500 and costs nobody else anything: the connection and
/// the process live on. What the panic said may quote what it was handling, and is left to the panic hook.
async fn call(front: impl Answers, request: Request<Body>) -> Response {
    // Neither clone copies any text.
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let mut answer = pin!(front.oneshot(request));
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
            tracing::error!(%method, path = uri.path(), "a handler panicked; the request was answered with 500");
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

/// By now the request's body was read or dropped, so that it is known whether the connection can be used again.
fn finish(mut response: Response, version: Version, exchange: Exchange) -> http::Response<AnswerBody> {
    if version < Version::HTTP_2 && exchange.seat().lingers() {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.map(|body| AnswerBody { body, exchange })
}

/// A request's body. Dropped before its end, it is the last one of its connection on HTTP/1: what the client still sends
/// of it stands where the next request would, and must be read for the client to get its answer.
#[derive(Debug)]
struct AskedBody {
    incoming: Incoming,
    ended: bool,
    /// To be told; `None` on HTTP/2.
    seat: Option<Arc<Seat>>,
}

impl HttpBody for AskedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        self.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for AskedBody {
    fn drop(&mut self) {
        if let Some(seat) = &self.seat
            && !self.ended
            && !self.incoming.is_end_stream()
        {
            seat.linger();
        }
    }
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
