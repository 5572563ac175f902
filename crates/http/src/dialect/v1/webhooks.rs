//! The outgoing webhooks for the OpenAPI document: what a receiver is sent, and what its answers mean.

use serde_json::{Value, json};
use stentor_domain::notice::NoticeKind;

/// The document's `webhooks` (OpenAPI 3.1), which the generator of the rest does not know.
pub(super) fn webhooks() -> Value {
    json!({
        "event": {"post": webhook(
            "event",
            "An event, sent to every endpoint that wants it.",
            json!({
                "required": true,
                "description": "The payload, byte for byte as it was published.",
                "content": {"application/json": {"schema": {}}}
            })
        )},
        "operational_event": {"post": webhook(
            "operational_event",
            "An event of Stentor's own, sent to every operational endpoint that wants it.",
            json!({
                "required": true,
                "description": "What happened to a customer's endpoint or delivery.",
                "content": {"application/json": {"schema": told()}}
            })
        )}
    })
}

fn webhook(id: &str, summary: &str, body: Value) -> Value {
    let header = |name: &str, description: &str| {
        json!({
            "name": name,
            "in": "header",
            "required": true,
            "description": description,
            "schema": {"type": "string"}
        })
    };
    json!({
        "operationId": id,
        "summary": summary,
        "description": "Signed as Standard Webhooks 1.0.0 asks; its libraries verify it. The same event may \
                        arrive more than once, with the same `webhook-id`.",
        "security": [],
        "parameters": [
            header("webhook-id", "The event's id, the same in every attempt."),
            header("webhook-timestamp", "When this attempt began, in Unix seconds."),
            header(
                "webhook-loop",
                "How many webhooks led to this one, itself included. Pass it on with what you publish because of it."
            ),
            header(
                "webhook-signature",
                "Signatures of `id.timestamp.body`, separated by spaces: `v1,` and a base64 HMAC-SHA256 for \
                 every secret that is valid now."
            )
        ],
        "requestBody": body,
        "responses": {
            "2XX": {"description": "Received. Anything else is a failure and is tried again."},
            "410": {"description": "The receiver is gone: its endpoint is disabled."}
        }
    })
}

/// What an operational event's payload is: see `engine::jobs::notices`.
fn told() -> Value {
    let types = NoticeKind::ALL.map(NoticeKind::as_str);
    let text = json!({"type": "string"});
    let time = json!({"type": "string", "format": "date-time"});
    let or_null = |kind: &str| json!({"type": [kind, "null"]});
    json!({
        "type": "object",
        "required": ["type", "occurred_at", "reason", "message", "project", "tenant", "endpoint", "attempt", "delivery"],
        "properties": {
            "type": {"type": "string", "enum": types},
            "occurred_at": time,
            "reason": {"type": "string", "description": "Why, in a word."},
            "message": {"type": "string", "description": "Why, and what follows, in words."},
            "project": text,
            "tenant": {"type": "object", "properties": {"id": text, "uid": or_null("string")}},
            "endpoint": {"type": "object", "properties": {"id": text, "uid": or_null("string"), "name": text}},
            "health": {
                "type": "object",
                "description": "The endpoint's health after the attempt; not with `delivery.exhausted`.",
                "properties": {
                    "consecutive_failures": {"type": "integer"},
                    "failing_since": or_null("string"),
                    "next_probe_at": or_null("string")
                }
            },
            "attempt": {
                "type": "object",
                "description": "The attempt that was the cause.",
                "properties": {
                    "number": {"type": "integer"},
                    "status_code": or_null("integer"),
                    "error": or_null("string")
                }
            },
            "delivery": {
                "type": "object",
                "description": "Its delivery. An event that is not kept any more has neither id nor type.",
                "properties": {"id": text, "event": or_null("string"), "event_type": or_null("string")}
            }
        }
    })
}
