//! Problem documents: how this server says "no" (RFC 9457, `application/problem+json`).
//!
//! [`Problem`] is a value that a handler returns as its error and axum renders. The answer carries the value along, so that
//! a contract can put it into its own words. [`with_fallbacks`] makes a router answer an unknown path and a wrong method with
//! problem documents too.
//!
//! `type` is always `about:blank`, and so, as the RFC asks, `title` is the status's own phrase: what a program
//! should tell apart is in `code`, a stable word, and there is no page per problem whose address had to be kept alive.
//!
//! Malformed HTTP never reaches this module: hyper answers it with an empty 400, 414 or 431 and closes.

use std::borrow::Cow;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;
use stentor_domain::name::{Invalid, Rule};
use utoipa::ToSchema;

/// The media type of every document made here (RFC 9457, section 3).
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";

/// One thing wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where: a field's name, or a path such as `events.3.payload`.
    pub field: String,
    /// What is wrong and what would be right, for a person.
    pub message: String,
    /// What kind of rule it is.
    #[serde(skip)]
    pub kind: Rule,
}

/// A refusal, ready to be answered.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    headers: Vec<(http::HeaderName, HeaderValue)>,
}

/// Why a request was refused (RFC 9457).
// In the order a person reads it.
#[derive(Serialize, ToSchema)]
pub(crate) struct Document<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    /// What to do next.
    detail: &'a str,
    /// A stable word for programs.
    code: &'static str,
    /// What is wrong, field by field, where the request's content was at fault.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(inline)]
    errors: &'a [FieldError],
}

impl Problem {
    /// A problem with `status`, a stable `code` for programs, and a `detail` that tells a person what to do next.
    ///
    /// `detail` must carry no secret and no payload: it may end in a client's log.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// 413: the body is larger than `bytes_max`.
    pub fn payload_too_large(bytes_max: usize) -> Self {
        let detail = format!("The body is larger than the {bytes_max} bytes accepted here.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
    }

    /// 408: the body did not arrive whole within `limit`.
    pub fn request_timeout(limit: Duration) -> Self {
        let detail = format!(
            "The body did not arrive whole within {} seconds; send it again.",
            limit.as_secs_f64()
        );
        Self::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", detail)
    }

    /// 400: the connection broke, or the framing of the body was wrong, before the body was whole.
    pub fn body_incomplete() -> Self {
        let detail = "The body ended early or its framing is malformed.";
        Self::new(StatusCode::BAD_REQUEST, "body_incomplete", detail)
    }

    /// 415 for a `Content-Type` that is not JSON in UTF-8.
    pub fn unsupported_media_type() -> Self {
        let detail = "Send the body as `Content-Type: application/json`, in UTF-8.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            detail,
        )
        .with_header(ACCEPT, HeaderValue::from_static("application/json"))
    }

    /// 415 for a `Content-Encoding`. `Accept-Encoding` says which would do, as RFC 9110, section 15.5.16, asks.
    pub fn unsupported_content_encoding() -> Self {
        let detail = "Send the body as it is: no `Content-Encoding` is accepted.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_content_encoding",
            detail,
        )
        .with_header(ACCEPT_ENCODING, HeaderValue::from_static("identity"))
    }

    /// 404 for a path that no route has, or an object that does not exist for this caller.
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "There is nothing here; check the path and the id.",
        )
    }

    /// 405, with the methods that would do. RFC 9110, section 15.5.6, requires `Allow`; behind [`with_fallbacks`]
    /// the router adds it, and `allowed` is `None`.
    pub fn method_not_allowed(allowed: Option<HeaderValue>) -> Self {
        let detail = "This path does not take that method; `Allow` lists those it takes.";
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
        match allowed {
            Some(methods) => problem.with_header(ALLOW, methods),
            None => problem,
        }
    }

    /// 422: fields break rules; add each with [`Problem::with_error`].
    pub fn invalid() -> Self {
        let detail = "The request breaks rules; `errors` names each field and its rule.";
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", detail)
    }

    /// 503: this request was not carried out and may be sent again after `retry_after`.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(retry_after)
    }

    /// 500. What went wrong is in the log, never in the answer.
    pub fn internal() -> Self {
        let detail = "The server failed; the request may or may not have taken effect.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Adds what is wrong with one field.
    #[must_use]
    pub fn with_error(self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.with_fault(Invalid::new(field, message))
    }

    /// Adds what is wrong with one field, as it was found.
    #[must_use]
    pub fn with_fault(mut self, fault: Invalid) -> Self {
        self.errors.push(FieldError {
            field: fault.field,
            message: fault.rule,
            kind: fault.kind,
        });
        self
    }

    /// Adds what another refusal says of fields, so that the client hears of both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.errors.extend(other.errors);
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Tells the client when to try again: `Retry-After` in whole seconds, rounded up, so that nobody comes early.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)))
    }

    /// The answer's status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What tells a person what to do next.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The stable word that a program may match on.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What is wrong, field by field; empty unless the request's content was at fault.
    pub fn errors(&self) -> &[FieldError] {
        &self.errors
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
            errors: &self.errors,
        };
        // Strings and a number always serialize; an empty body would still carry the right status.
        let bytes = serde_json::to_vec(&document).unwrap_or_default();
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_MEDIA_TYPE));
        headers.extend(self.headers.iter().cloned());
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = self.status;
        *response.headers_mut() = headers;
        response.extensions_mut().insert(self);
        response
    }
}

/// A wait in whole seconds, rounded up.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0))
}

/// Makes `router` answer an unknown path with 404 and a known path's other methods with 405 and `Allow`, both as
/// problem documents.
///
/// Call it last: axum gives the 405 to the routes that exist at that moment.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(None) })
        .fallback(|| async { Problem::not_found() })
}
