//! How this contract says no: `{"statusCode", "message", "error", "code"}`. It knows no 422: a field at fault is 400.

use crate::input;
use crate::problem::{FieldError, Problem};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use stentor_domain::name::Rule;
use utoipa::ToSchema;

/// What to do where the key does not say which organization it is for.
const TENANT_REQUIRED: &str = "Name the organization by id or uid: header `X-Tenant`, or query `tenant`. A tenant's key does so by itself.";

/// Why a request was refused.
// In the order a person reads it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorOut<'a> {
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    status_code: u16,
    #[schema(inline)]
    message: Message<'a>,
    /// The status' name.
    error: &'static str,
    /// A stable word for programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: &'static str,
}

/// What to do next: a sentence, or where fields are at fault one for each, which begins with the field's name.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Message<'a> {
    One(&'a str),
    Each(Vec<String>),
}

/// A refusal in this contract's words.
pub(super) fn render(problem: &Problem) -> (StatusCode, Bytes) {
    let status = match problem.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    let (code, message) = match (problem.code(), problem.errors()) {
        ("invalid_request", faults) => (code_of(faults), Message::each(faults)),
        ("endpoint_limit_reached", _) => ("webhook_limit_reached", Message::One(problem.detail())),
        ("tenant_required", _) => ("tenant_required", Message::One(TENANT_REQUIRED)),
        (code, _) => (code, Message::One(problem.detail())),
    };
    let refusal = ErrorOut {
        status_code: status.as_u16(),
        message,
        error: status.canonical_reason().unwrap_or("Error"),
        code,
    };
    (status, input::bytes(&refusal))
}

/// A bad URL has a word of its own, whatever else is wrong.
fn code_of(faults: &[FieldError]) -> &'static str {
    if faults.iter().any(|fault| fault.kind == Rule::Destination) {
        "url_not_allowed"
    } else {
        "validation_failed"
    }
}

impl Message<'_> {
    fn each(faults: &[FieldError]) -> Self {
        let told = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.field, fault.message));
        Self::Each(told.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_store::StoreError;

    #[test]
    fn a_fault_of_the_server_is_told_as_any_other_refusal() {
        let full = Problem::from(StoreError::Full("no space left".into()));
        let (status, body) = render(&full);
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE);
        assert_eq!(
            body,
            "{\"statusCode\":507,\"message\":\"The server's disk is full; nothing was accepted. Try again later.\",\
             \"error\":\"Insufficient Storage\",\"code\":\"storage_full\"}"
        );
    }
}
