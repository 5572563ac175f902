//! The outgoing webhook for the OpenAPI document: what a receiver is sent, and what its answers mean.

use serde_json::{Value, json};

/// The document's `webhooks` (OpenAPI 3.1), which the generator of the rest does not know.
pub(super) fn webhooks() -> Value {
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
        "event": {
            "post": {
                "operationId": "event",
                "summary": "An event, sent to every endpoint that wants it.",
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
                "requestBody": {
                    "required": true,
                    "description": "The payload, byte for byte as it was published.",
                    "content": {"application/json": {"schema": {}}}
                },
                "responses": {
                    "2XX": {"description": "Received. Anything else is a failure and is tried again."},
                    "410": {"description": "The receiver is gone: its endpoint is disabled."}
                }
            }
        }
    })
}
