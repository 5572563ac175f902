//! Deliveries and attempts as v1 shows them.

use serde::{Serialize, Serializer};
use stentor_domain::attempt::{Outcome, Timing};
use stentor_domain::custom_headers::CustomHeaders;
use stentor_domain::delivery::{Delivery, PayloadGone, Reason};
use stentor_domain::id::{AttemptId, DeliveryId};
use stentor_store::deliveries::KeptAttempt;
use utoipa::ToSchema;

/// A delivery: one event for one endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryOut {
    id: String,
    /// The event's id, which the receiver sees as `webhook-id`.
    event: String,
    event_type: String,
    endpoint: String,
    tenant: String,
    /// `pending`, `held`, `delivered`, `exhausted` or `cancelled`.
    status: &'static str,
    /// Why, where the status alone does not say.
    #[schema(required)]
    reason: Option<&'static str>,
    /// Why the latest, or next, attempt exists: `event`, `retry`, `replay` or `test`.
    trigger: &'static str,
    attempt_count: u32,
    created_at: String,
    /// When the next attempt is due; null once it has ended, and while it is held.
    #[schema(required)]
    next_attempt_at: Option<String>,
    #[schema(required)]
    finished_at: Option<String>,
    /// Why its event has no payload any more: `expired` or `erased`; null while it has one. It cannot be retried without. Answers of
    /// receivers are erased with the payload.
    #[schema(required)]
    payload_gone: Option<&'static str>,
}

impl From<&Delivery> for DeliveryOut {
    fn from(delivery: &Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event: delivery.event.to_string(),
            event_type: delivery.event_type.to_string(),
            endpoint: delivery.endpoint.to_string(),
            tenant: delivery.tenant.to_string(),
            status: delivery.state.as_str(),
            reason: delivery.reason.map(Reason::as_str),
            trigger: delivery.trigger.as_str(),
            attempt_count: delivery.attempts,
            created_at: delivery.created_at.iso_millis(),
            next_attempt_at: delivery.next_attempt_at.map(|at| at.iso_millis()),
            finished_at: delivery.finished_at.map(|at| at.iso_millis()),
            payload_gone: delivery.payload_gone.map(PayloadGone::as_str),
        }
    }
}

/// A delivery with its attempts, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryWithAttemptsOut {
    #[serde(flatten)]
    delivery: DeliveryOut,
    attempts: Vec<AttemptOut>,
}

impl DeliveryWithAttemptsOut {
    pub(super) fn of(delivery: &Delivery, attempts: &[KeptAttempt]) -> Self {
        Self {
            delivery: delivery.into(),
            attempts: attempts
                .iter()
                .map(|kept| AttemptOut::of(delivery.id, kept))
                .collect(),
        }
    }
}

/// An attempt: one HTTP request of a delivery, and what came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::dialect::v1) struct AttemptOut {
    id: String,
    /// From 1. A try whose node had lost its lease may share its number with the one that counted.
    number: u32,
    /// Why it exists: `event`, `retry`, `replay` or `test`.
    trigger: &'static str,
    started_at: String,
    /// The status of the answer, if any came.
    #[schema(required)]
    status_code: Option<u16>,
    /// Was nothing sent, because the project is a sandbox? It then counts as a success without an answer.
    simulated: bool,
    /// The kind of failure, a word of a closed list; null for a success.
    #[schema(required)]
    error: Option<&'static str>,
    /// What to do about the failure, and what is known of it.
    #[schema(required)]
    error_message: Option<String>,
    /// What was sent; values of custom headers that look like secrets are `***`.
    #[schema(value_type = BTreeMap<String, String>)]
    request_headers: Headers,
    /// What came back; null without an answer. Values of a name that came more than once are joined by commas.
    #[schema(required, value_type = Option<BTreeMap<String, String>>)]
    response_headers: Option<Headers>,
    /// The begin of the answer's body; what is not UTF-8 in it is replaced.
    #[schema(required)]
    response_body: Option<String>,
    /// Was the body longer than what is kept?
    response_body_truncated: bool,
    /// The address that was connected to.
    #[schema(required)]
    address: Option<String>,
    timing: TimingOut,
}

impl AttemptOut {
    pub(in crate::dialect::v1) fn of(delivery: DeliveryId, kept: &KeptAttempt) -> Self {
        let KeptAttempt {
            attempt,
            custom_headers,
        } = kept;
        let exchange = &attempt.exchange;
        let answer = exchange.answer.as_ref();
        let error = attempt.outcome.error_class();
        Self {
            id: AttemptId(delivery.0.attempt(attempt.no)).to_string(),
            number: attempt.no,
            trigger: attempt.trigger.as_str(),
            started_at: attempt.started_at.iso_millis(),
            status_code: attempt.outcome.status(),
            simulated: attempt.outcome == Outcome::Simulated,
            error: error.map(|class| class.as_str()),
            error_message: attempt.error_in_words(),
            request_headers: Headers::sent(&exchange.sent_headers, custom_headers),
            response_headers: answer.map(|answer| Headers::of(&answer.headers)),
            response_body: answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned()),
            response_body_truncated: answer.is_some_and(|answer| answer.truncated),
            address: exchange.address.map(|address| address.to_string()),
            timing: exchange.timing.into(),
        }
    }
}

/// How long each part took, in milliseconds; null for a part that did not happen, as when a connection was there already.
#[derive(Debug, Serialize, ToSchema)]
struct TimingOut {
    #[schema(required)]
    dns_ms: Option<f64>,
    #[schema(required)]
    connect_ms: Option<f64>,
    #[schema(required)]
    tls_ms: Option<f64>,
    #[schema(required)]
    first_byte_ms: Option<f64>,
    total_ms: f64,
}

impl From<Timing> for TimingOut {
    fn from(timing: Timing) -> Self {
        let millis = |micros: u32| f64::from(micros) / 1_000.0;
        Self {
            dns_ms: timing.dns_micros.map(millis),
            connect_ms: timing.connect_micros.map(millis),
            tls_ms: timing.tls_micros.map(millis),
            first_byte_ms: timing.first_byte_micros.map(millis),
            total_ms: millis(timing.total_micros),
        }
    }
}

/// Header lines as an object, in the order of the lines. What came twice is joined as RFC 9110, section 5.3, joins it.
#[derive(Debug, Default)]
struct Headers(Vec<(String, String)>);

impl Headers {
    fn of(lines: &str) -> Self {
        let mut headers = Self::default();
        for line in lines.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            headers.add(name, value.trim());
        }
        headers
    }

    fn sent(lines: &str, custom: &CustomHeaders) -> Self {
        let mut headers = Self::of(lines);
        // A header of Stentor's own is sent in the place of a custom one of the same name.
        let own = headers.0.len();
        for (name, value) in custom.shown() {
            let taken = |(known, _): &(String, String)| known.eq_ignore_ascii_case(name);
            if !headers.0.iter().take(own).any(taken) {
                headers.add(name, value);
            }
        }
        headers
    }

    fn add(&mut self, name: &str, value: &str) {
        let known = self
            .0
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match known {
            Some((_, so_far)) => {
                so_far.push_str(", ");
                so_far.push_str(value);
            }
            None => self.0.push((name.to_owned(), value.to_owned())),
        }
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use stentor_domain::Timestamp;
    use stentor_domain::attempt::{Answer, Attempt, ErrorClass, Exchange, Trigger};
    use stentor_domain::id::Id;

    fn attempt(outcome: Outcome, exchange: Exchange) -> KeptAttempt {
        KeptAttempt {
            attempt: Attempt {
                no: 2,
                trigger: Trigger::Retry,
                started_at: Timestamp::from_micros(1_704_067_200_123_456),
                outcome,
                exchange,
            },
            custom_headers: CustomHeaders::stored(vec![
                ("X-Team".into(), "blue".into()),
                ("X-Api-Key".into(), "s3cret".into()),
            ]),
        }
    }

    fn shown(kept: &KeptAttempt) -> String {
        let delivery = DeliveryId(Id {
            n: 1 << 60,
            tag: 0xabc,
        });
        serde_json::to_string_pretty(&AttemptOut::of(delivery, kept)).unwrap()
    }

    #[test]
    fn an_answered_attempt_shows_both_sides_and_no_secret() {
        let exchange = Exchange {
            sent_headers: "webhook-id: evt_1\ncontent-type: application/json\n".into(),
            address: Some(([127, 0, 0, 1], 8_080).into()),
            timing: Timing {
                connect_micros: Some(1_234),
                first_byte_micros: Some(20_000),
                total_micros: 21_235,
                ..Timing::default()
            },
            answer: Some(Answer {
                headers: "date: Mon, 01 Jan 2024 00:00:00 GMT\nset-cookie: a=1\nSet-Cookie: b=2\n".into(),
                body: Bytes::from_static(b"no \xff"),
                truncated: true,
            }),
            ..Exchange::default()
        };
        insta::assert_snapshot!(shown(&attempt(Outcome::Answered(503), exchange)), @r#"
        {
          "id": "att_00800000-0000-7000-8000-000000000abe",
          "number": 2,
          "trigger": "retry",
          "started_at": "2024-01-01T00:00:00.123Z",
          "status_code": 503,
          "simulated": false,
          "error": "http_status",
          "error_message": "The receiver answered with an error status. Its log tells why; answer 2xx to accept.",
          "request_headers": {
            "webhook-id": "evt_1",
            "content-type": "application/json",
            "X-Team": "blue",
            "X-Api-Key": "***"
          },
          "response_headers": {
            "date": "Mon, 01 Jan 2024 00:00:00 GMT",
            "set-cookie": "a=1, b=2"
          },
          "response_body": "no �",
          "response_body_truncated": true,
          "address": "127.0.0.1:8080",
          "timing": {
            "dns_ms": null,
            "connect_ms": 1.234,
            "tls_ms": null,
            "first_byte_ms": 20.0,
            "total_ms": 21.235
          }
        }
        "#);
    }

    #[test]
    fn a_header_of_stentors_own_stands_in_the_place_of_a_custom_one() {
        let mut kept = attempt(
            Outcome::Simulated,
            Exchange {
                sent_headers: "x-acme-signature: 0123\n".into(),
                ..Exchange::default()
            },
        );
        kept.custom_headers = CustomHeaders::stored(vec![("X-Acme-Signature".into(), "mine".into())]);
        let shown: serde_json::Value = serde_json::from_str(&shown(&kept)).unwrap();
        assert_eq!(
            shown["request_headers"],
            serde_json::json!({ "x-acme-signature": "0123" })
        );
        assert_eq!(shown["simulated"], true);
        assert!(shown["status_code"].is_null() && shown["error"].is_null());
    }

    #[test]
    fn an_attempt_without_an_answer_says_why_and_what_to_do() {
        let exchange = Exchange {
            detail: Some("connection refused".into()),
            ..Exchange::default()
        };
        insta::assert_snapshot!(shown(&attempt(Outcome::Failed(ErrorClass::Connect), exchange)), @r#"
        {
          "id": "att_00800000-0000-7000-8000-000000000abe",
          "number": 2,
          "trigger": "retry",
          "started_at": "2024-01-01T00:00:00.123Z",
          "status_code": null,
          "simulated": false,
          "error": "connect",
          "error_message": "No connection could be made. Check that the receiver runs and its firewall lets us in. (connection refused)",
          "request_headers": {
            "X-Team": "blue",
            "X-Api-Key": "***"
          },
          "response_headers": null,
          "response_body": null,
          "response_body_truncated": false,
          "address": null,
          "timing": {
            "dns_ms": null,
            "connect_ms": null,
            "tls_ms": null,
            "first_byte_ms": null,
            "total_ms": 0.0
          }
        }
        "#);
    }
}
