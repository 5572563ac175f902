//! `POST /v1/events` and `/v1/events/batch`: publishing. The payload is never parsed beyond its well-formedness: its bytes
//! are a slice of the request's body until the receiver has them.

use super::metrics;
use crate::app::App;
use crate::body::{BodyLimits, read_json};
use crate::call::{Call, key_reused, repeated};
use crate::dialect::Handling;
use crate::input::{self, Object};
use crate::problem::Problem;
use crate::webhook_loop::Loops;
use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::handler::Handler as _;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use stentor_domain::Timestamp;
use stentor_domain::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX};
use stentor_domain::trace::Trace;
use stentor_engine::publish::{Publication, Published, Publishing};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What an event's body may have around its payload.
pub(super) const ENVELOPE_BYTES_MAX: usize = 16 * 1024;

/// Where one event is published.
pub(crate) const PATH: &str = "/v1/events";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(publish))
        .routes(routes!(publish_batch))
}

/// Hands a request to the handler of its route without a router in between, for whoever knows that it is a POST to
/// [`PATH`] and that nothing lies before the route.
pub(crate) fn publish_directly(request: Request, app: App) -> Handling {
    publish.call(request, app)
}

/// An event to be delivered.
#[derive(Deserialize, ToSchema)]
struct EventIn<'a> {
    /// The tenant, by id or uid. May be named by `X-Tenant` or `?tenant=` instead.
    #[serde(borrow)]
    tenant: Option<Cow<'a, str>>,
    /// Its type, such as `order.completed`.
    #[serde(borrow)]
    #[schema(max_length = 255)]
    r#type: Cow<'a, str>,
    /// Any JSON value. Delivered byte for byte.
    #[serde(borrow)]
    #[schema(value_type = Value)]
    payload: &'a RawValue,
    /// Your own id for it: the same again answers the first event.
    #[serde(borrow)]
    #[schema(max_length = 256)]
    event_id: Option<Cow<'a, str>>,
    /// When it happened, as ISO 8601.
    #[serde(borrow)]
    occurred_at: Option<Cow<'a, str>>,
    /// Its channels: an endpoint that names channels gets only events that have one of them.
    #[schema(max_items = 10)]
    channels: Option<Vec<String>>,
}

/// Events to be accepted together or not at all.
#[derive(Deserialize, ToSchema)]
struct BatchIn<'a> {
    /// Up to 1,000.
    #[serde(borrow)]
    #[schema(max_items = 1000, value_type = Vec<EventIn<'a>>)]
    events: Vec<Object<EventIn<'a>>>,
}

/// An accepted event.
#[derive(Serialize, ToSchema)]
struct EventOut<'a> {
    /// What receivers see as `webhook-id`.
    id: String,
    #[schema(required)]
    event_id: Option<&'a str>,
    r#type: &'a str,
    tenant: String,
    /// How many endpoints matched.
    deliveries: u32,
    created_at: String,
}

impl<'a> From<&'a Published> for EventOut<'a> {
    fn from(event: &'a Published) -> Self {
        Self {
            id: event.id.to_string(),
            event_id: event.event_id.as_deref(),
            r#type: event.event_type.as_str(),
            tenant: event.tenant.to_string(),
            deliveries: event.deliveries,
            created_at: event.id.0.made_at().iso_millis(),
        }
    }
}

impl EventIn<'_> {
    /// Takes the payload as a slice of `body`, which it was read from.
    fn publication(
        self,
        body: &Bytes,
        place: Option<usize>,
        Loops(loops): Loops,
        trace: Option<Trace>,
    ) -> Result<Publication, Problem> {
        let field = |name: &str| place.map_or_else(|| name.to_owned(), |at| format!("events.{at}.{name}"));
        let occurred_at = match self.occurred_at.as_deref().map(Timestamp::parse_iso) {
            Some(None) => {
                let rule = "must be an ISO 8601 time with an offset, such as 2024-01-01T00:00:00Z";
                return Err(Problem::invalid().with_error(field("occurred_at"), rule));
            }
            known => known.flatten(),
        };
        Ok(Publication {
            tenant: self.tenant.map(Cow::into_owned),
            event_type: self.r#type.into_owned(),
            channels: self.channels.unwrap_or_default(),
            payload: body.slice_ref(self.payload.get().as_bytes()),
            event_id: self.event_id.map(Cow::into_owned),
            occurred_at,
            loops,
            trace,
        })
    }
}

/// A request to publish, read whole.
struct Asked {
    call: Call,
    loops: Loops,
    trace: Option<Trace>,
    body: Bytes,
}

impl Asked {
    /// Reads a request whose body may be so large.
    async fn read(app: &App, request: Request, bytes_max: usize) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let call = Call::from_request_parts(&mut parts, app).await?;
        let limits = BodyLimits {
            bytes_max,
            ..BodyLimits::default()
        };
        let body = read_json(&parts.headers, body, limits).await?;
        Ok(Self {
            call,
            loops: Loops::of(&parts),
            trace: trace(app, &parts.headers),
            body,
        })
    }
}

/// Publish an event. Answers once it is durably on disk.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", request_body = EventIn<'_>,
    responses(
        (status = 202, description = "Accepted: every matching endpoint gets it.", body = EventOut<'_>),
        (status = 200, description = "Accepted before, under the same `event_id`.", body = EventOut<'_>),
        (status = 409, description = "The `event_id` is in use for another type or payload."),
        (status = 413, description = "The payload is too large."),
    ),
    params(("webhook-loop" = Option<u8>, Header, description = "Where a webhook led to this: what it came with. From 5 on, \
        422 `webhook_loop`.")),
)]
async fn publish(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let published = publish_one(&app, request).await;
    published.inspect_err(|problem| metrics::count_refusal(&app, problem))
}

async fn publish_one(app: &App, request: Request) -> Result<Response, Problem> {
    let payload_bytes_max = app.engine().settings().payload_bytes_max;
    let bytes_max = payload_bytes_max.saturating_add(ENVELOPE_BYTES_MAX);
    let asked = Asked::read(app, request, bytes_max).await?;
    let event: EventIn<'_> = input::json(&asked.body)?;
    let publication = event.publication(&asked.body, None, asked.loops, asked.trace.clone())?;
    let render = |events: &[Published]| {
        let event = events.first();
        let status = if event.is_some_and(|event| event.existing) {
            StatusCode::OK
        } else {
            StatusCode::ACCEPTED
        };
        (status, input::bytes(&event.map(EventOut::from)))
    };
    accept(app, &asked, vec![publication], |_| None, render).await
}

/// Publish up to 1,000 events, together or not at all.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = "events", request_body = BatchIn<'_>,
    responses(
        (status = 202, description = "Accepted, in the order of the request.", body = Vec<EventOut<'_>>),
        (status = 409, description = "An `event_id` is in use for another type or payload; nothing was accepted."),
        (status = 413, description = "The batch or a payload is too large; nothing was accepted."),
    ),
    params(("webhook-loop" = Option<u8>, Header, description = "Where a webhook led to this: what it came with. From 5 on, \
        422 `webhook_loop`.")),
)]
async fn publish_batch(State(app): State<App>, request: Request) -> Result<Response, Problem> {
    let published = publish_many(&app, request).await;
    published.inspect_err(|problem| metrics::count_refusal(&app, problem))
}

async fn publish_many(app: &App, request: Request) -> Result<Response, Problem> {
    let asked = Asked::read(app, request, BATCH_BYTES_MAX).await?;
    let batch: BatchIn<'_> = input::json(&asked.body)?;
    if batch.events.is_empty() || batch.events.len() > BATCH_EVENTS_MAX {
        return Err(
            Problem::invalid().with_error("events", format!("must have 1 to {BATCH_EVENTS_MAX} events"))
        );
    }
    let publications: Result<Vec<_>, _> = batch
        .events
        .into_iter()
        .enumerate()
        .map(|(at, Object(event))| event.publication(&asked.body, Some(at), asked.loops, asked.trace.clone()))
        .collect();
    let render = |events: &[Published]| {
        let events: Vec<_> = events.iter().map(EventOut::from).collect();
        (StatusCode::ACCEPTED, input::bytes(&events))
    };
    let place = |at| Some(format!("events.{at}"));
    accept(app, &asked, publications?, place, render).await
}

/// The trace that a publish belongs to, where it is sent on. Several headers `tracestate` are one, joined by commas; a second
/// `traceparent` makes both invalid (W3C Trace Context).
fn trace(app: &App, headers: &HeaderMap) -> Option<Trace> {
    if !app.engine().settings().forwards_traces {
        return None;
    }
    let mut parents = headers.get_all("traceparent").iter();
    let (parent, None) = (parents.next()?, parents.next()) else {
        return None;
    };
    let states: Vec<&str> = headers
        .get_all("tracestate")
        .iter()
        .map(|state| state.to_str().unwrap_or_default())
        .collect();
    Trace::parse(parent.to_str().ok()?, Some(&states.join(",")))
}

async fn accept(
    app: &App,
    Asked { call, body, .. }: &Asked,
    publications: Vec<Publication>,
    place: impl Fn(usize) -> Option<String>,
    render: impl Fn(&[Published]) -> (StatusCode, Bytes),
) -> Result<Response, Problem> {
    let keep = |events: &[Published]| {
        call.kept_answer(app, events.first().map(|event| event.tenant), body, || {
            render(events)
        })
    };
    match app
        .engine()
        .publish(&call.caller, publications, place, keep)
        .await?
    {
        Publishing::Accepted(events) => {
            let (status, body) = render(&events);
            Ok(json_answer(status, body))
        }
        Publishing::Repeated { status, answer } => Ok(repeated(status, answer)),
        Publishing::OnceConflict => Err(key_reused()),
    }
}

/// Put together by hand, since it answers every event: from its parts it would be made with the type of any bytes, and with
/// room for many more headers.
fn json_answer(status: StatusCode, body: Bytes) -> Response {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of an answer that is being made.
    fn bytes_of<T, U, F: Future>(_: impl Fn(T, U) -> F) -> usize {
        size_of::<F>()
    }

    /// Each publish allocates them, and hundreds wait for the same commit.
    #[test]
    fn a_publish_that_waits_is_small() {
        let bytes = bytes_of(publish);
        assert!(bytes <= 2_048, "{bytes} bytes");
    }
}
