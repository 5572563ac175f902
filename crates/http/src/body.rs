//! Reading a request's body whole: bounded in bytes and in time, JSON only, never decoded.
//!
//! - [`BodyLimits`]: how large and how slow a body may be.
//! - [`read_json`]: what does the work, for a handler that has the parts in hand.
//! - [`JsonBytes`]: the same as an axum extractor, for routes that take a body and nothing odd.
//!
//! What can be refused by its head is refused before a byte of the body is read, and so before hyper invites the
//! client to send it with `100 Continue`. Every refusal closes the connection (on HTTP/2: resets the stream), because
//! reading on would be the very work that the limit forbids.
//!
//! The bytes are handed on as received. Whether they are JSON is the routes' question; here only the label is judged.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use crate::problem::Problem;

/// The largest body by default: room for a payload of 256 KiB (contract v1) and what is written around it.
pub const BODY_BYTES_MAX: usize = 288 * 1024;

/// How long a whole body may take by default.
pub const BODY_READ_MAX: Duration = Duration::from_secs(30);

/// How large and how slow a body may be.
///
/// A route that takes larger bodies says so to [`read_json`], or with a layer, `axum::Extension(BodyLimits { .. })`,
/// which [`JsonBytes`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimits {
    /// Bytes of content; one more is 413.
    pub bytes_max: usize,
    /// From the moment the handler asks for the body until its last byte; longer is 408.
    pub read_max: Duration,
}

impl Default for BodyLimits {
    fn default() -> Self {
        BodyLimits {
            bytes_max: BODY_BYTES_MAX,
            read_max: BODY_READ_MAX,
        }
    }
}

/// A request's body, whole; empty if the request had none. Fails as [`read_json`] does.
#[derive(Clone, Debug)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let limits = parts.extensions.get::<BodyLimits>().copied().unwrap_or_default();
        read_json(&parts.headers, body, limits).await.map(JsonBytes)
    }
}

/// Reads `body` whole.
///
/// Gives the bytes as they came: a body of one frame is that frame, not a copy. No body gives no bytes, whatever the
/// headers say of its type.
///
/// # Errors
/// - 415 for any `Content-Encoding` but `identity`, and for a body whose `Content-Type` is not JSON in UTF-8;
/// - 413 when the declared length, or the bytes received so far, exceed `limits.bytes_max`;
/// - 408 when the last byte has not come within `limits.read_max`;
/// - 400 when the client went away or its framing is malformed.
pub async fn read_json(headers: &HeaderMap, body: Body, limits: BodyLimits) -> Result<Bytes, Problem> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if !content_is_plain(headers) {
        return Err(Problem::unsupported_content_encoding());
    }
    // hyper has already refused lengths that contradict each other, so that the hint is the declared length.
    let declared = body.size_hint().exact().map(usize::try_from);
    let declared = match declared {
        Some(Ok(bytes)) if bytes <= limits.bytes_max => Some(bytes),
        Some(_) => return Err(Problem::payload_too_large(limits.bytes_max)),
        None => None,
    };
    if !content_is_json(headers) {
        return Err(Problem::unsupported_media_type());
    }
    let mut whole = pin!(collect(body, declared, limits.bytes_max));
    // Most bodies come with their heads, and need no timer.
    if let Poll::Ready(whole) = poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        return whole;
    }
    tokio::time::timeout(limits.read_max, whole)
        .await
        .unwrap_or_else(|_| Err(Problem::request_timeout(limits.read_max)))
}

/// Gathers the frames of `body`. At no time are more than `bytes_max` bytes, and the one frame at hand, held.
async fn collect(mut body: Body, declared: Option<usize>, bytes_max: usize) -> Result<Bytes, Problem> {
    // The first frame waits as it is: most bodies have no second.
    let Some(first) = next_data(&mut body).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > bytes_max {
        return Err(Problem::payload_too_large(bytes_max));
    }
    let Some(mut next) = next_data(&mut body).await? else {
        return Ok(first);
    };

    let mut whole = BytesMut::with_capacity(
        declared.unwrap_or_else(|| first.len().saturating_add(next.len()).min(bytes_max)),
    );
    whole.extend_from_slice(&first);
    drop(first);
    loop {
        let grown = whole.len().saturating_add(next.len());
        if grown > bytes_max {
            return Err(Problem::payload_too_large(bytes_max));
        }
        if grown > whole.capacity() {
            // Doubling keeps the copying linear; the cap keeps a buffer from growing past what may be received.
            let capacity = grown.max(whole.capacity().saturating_mul(2)).min(bytes_max);
            whole.reserve(capacity.saturating_sub(whole.len()));
        }
        whole.extend_from_slice(&next);
        match next_data(&mut body).await? {
            Some(data) => next = data,
            None => return Ok(whole.freeze()),
        }
    }
}

/// The next frame with content; `None` at the end. Trailers and empty frames are passed over (an endless run of
/// empty frames is ended by the deadline, and on HTTP/2 by h2 after 100 of them).
async fn next_data(body: &mut Body) -> Result<Option<Bytes>, Problem> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::body_incomplete())?;
        match frame.into_data() {
            Ok(data) if !data.is_empty() => return Ok(Some(data)),
            _ => {}
        }
    }
    Ok(None)
}

/// Whether the content is sent as it is. Nothing is ever decompressed: a small body must not become a large one.
fn content_is_plain(headers: &HeaderMap) -> bool {
    headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Whether there is one `Content-Type`, it is `application/json` or ends in `+json`, and its charset, if it names
/// one, is UTF-8. Other parameters mean nothing for JSON (RFC 8259, section 11) and are passed over.
fn content_is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let Some((kind, subtype)) = parts.next().and_then(|media| media.split_once('/')) else {
        return false;
    };
    let named = kind.eq_ignore_ascii_case("application") && subtype.eq_ignore_ascii_case("json");
    let suffixed = !kind.is_empty()
        && subtype
            .rsplit_once('+')
            .is_some_and(|(name, suffix)| !name.is_empty() && suffix.eq_ignore_ascii_case("json"));
    (named || suffixed) && parts.all(parameter_is_fine)
}

fn parameter_is_fine(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn json(content_type: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        content_is_json(&headers)
    }

    #[test]
    fn json_is_known_by_its_name_or_its_suffix_in_any_case() {
        for yes in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; version=2",
            "application/cloudevents+json",
        ] {
            assert!(json(yes), "{yes}");
        }
    }

    #[test]
    fn another_type_or_charset_is_not_json() {
        for no in [
            "",
            "json",
            "text/json",
            "text/plain",
            "application/jsonp",
            "application/+json",
            "application/json; charset=utf-16",
            "application/json; charset=utf-8; charset=latin1",
            "application/x-www-form-urlencoded",
        ] {
            assert!(!json(no), "{no}");
        }
    }

    #[test]
    fn two_content_types_are_none() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(!content_is_json(&headers));
    }

    #[tokio::test]
    async fn a_body_of_one_frame_is_not_copied() {
        let frame = Bytes::from_static(b"{\"a\":1}");
        let whole = collect(Body::from(frame.clone()), Some(frame.len()), 64)
            .await
            .unwrap();
        assert_eq!(whole.as_ptr(), frame.as_ptr());
    }
}
