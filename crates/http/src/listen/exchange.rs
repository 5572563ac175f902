//! One request and its answer: it is handed to the front, a panic becomes a 500, and both bodies are watched to their ends.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
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

use super::seat::{Exchange, Seat};
use super::{Answers, PeerAddr};
use crate::problem::Problem;

/// Carries out one request. It counts as in flight from this call on, even before the future is polled.
///
/// A panic in a handler is answered with 500 and costs nobody else anything: the connection and the process live on. What
/// the panic said may quote what it was handling, and is left to the panic hook.
pub(super) fn carry_out<S: Answers>(
    front: &S,
    seat: &Arc<Seat>,
    peer: PeerAddr,
    mut request: Request<Incoming>,
) -> impl Future<Output = Result<http::Response<AnswerBody>, Infallible>> + use<S> {
    let version = request.version();
    // Neither clone copies any text.
    let (method, uri) = (request.method().clone(), request.uri().clone());
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
    // The request goes into its answer here: what is captured below is held until the answer is there.
    let mut begun = may_run.then(|| unless_it_panics(|| front.clone().call(request)));
    async move {
        let answered = match &mut begun {
            Some(Some(answering)) => answer_of(answering).await,
            Some(None) => None,
            None => Some(refuse()),
        };
        // With it goes what was left of the request.
        drop(begun);
        let response = answered.unwrap_or_else(|| {
            tracing::error!(%method, path = uri.path(), "a handler panicked; the request was answered with 500");
            Problem::internal().into_response()
        });
        Ok(finish(response, version, exchange))
    }
}

/// Waits for an answer; `None` after a panic. The future is not polled again then, so that nobody meets what the panic left
/// half done in it.
async fn answer_of(
    answering: &mut (impl Future<Output = Result<Response, Infallible>> + Unpin),
) -> Option<Response> {
    let polled = std::future::poll_fn(
        |cx| match unless_it_panics(|| Pin::new(&mut *answering).poll(cx)) {
            Some(poll) => poll.map(Some),
            None => Poll::Ready(None),
        },
    );
    let Ok(response) = polled.await?;
    Some(response)
}

fn unless_it_panics<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
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
