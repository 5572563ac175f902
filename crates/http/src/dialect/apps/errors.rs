//! How this contract says no: `{"success": false, "error": {"code", "message", "field"}}`, the field only where one is at
//! fault. Where several are, the first is named and the message tells of all.

use super::wire::always;
use crate::input;
use crate::problem::{FieldError, Problem};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;

/// Who reads this knows apps and webhooks, no tenants and no endpoints.
const NOT_FOUND: &str = "There is no such app or webhook for this key; check the path and the ids in it.";
const LIMIT_REACHED: &str = "The app has as many webhooks as it may have; delete one first.";

/// Why a request was refused.
#[derive(Serialize, ToSchema)]
pub(super) struct ErrorOut<'a> {
    #[schema(schema_with = always_false)]
    success: bool,
    #[schema(inline)]
    error: Reason<'a>,
}

/// Why, and what to do next.
#[derive(Serialize, ToSchema)]
struct Reason<'a> {
    /// A stable word for programs.
    #[schema(pattern = "^[a-z_]+$")]
    code: &'static str,
    /// A sentence for people; where fields are at fault, what is wrong with each.
    message: String,
    /// The first field at fault, where the request's content is: its name, or a path such as `events.1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    field: Option<&'a str>,
}

/// A refusal in this contract's words.
pub(super) fn render(problem: &Problem) -> (StatusCode, Bytes) {
    let message = match (problem.code(), problem.errors()) {
        ("not_found", _) => NOT_FOUND.to_owned(),
        ("endpoint_limit_reached", _) => LIMIT_REACHED.to_owned(),
        ("invalid_request", faults @ [_, ..]) => told(faults),
        _ => problem.detail().to_owned(),
    };
    let refusal = ErrorOut {
        success: false,
        error: Reason {
            code: problem.code(),
            message,
            field: problem.errors().first().map(|fault| fault.field.as_str()),
        },
    };
    (problem.status(), input::bytes(&refusal))
}

fn always_false() -> Schema {
    always(false)
}

fn told(faults: &[FieldError]) -> String {
    let each: Vec<String> = faults
        .iter()
        .map(|fault| format!("{}: {}", fault.field, fault.message))
        .collect();
    each.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_several_fields_at_fault_the_first_is_named_and_all_are_told() {
        let problem = Problem::invalid()
            .with_error("url", "is required")
            .with_error("events.1", "must be a string");
        let (status, body) = render(&problem);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        insta::assert_snapshot!(
            std::str::from_utf8(&body).unwrap(),
            @r#"{"success":false,"error":{"code":"invalid_request","message":"url: is required; events.1: must be a string","field":"url"}}"#
        );
    }

    #[test]
    fn what_no_field_is_at_fault_for_names_none() {
        let (_, body) = render(&Problem::method_not_allowed(None));
        insta::assert_snapshot!(
            std::str::from_utf8(&body).unwrap(),
            @r#"{"success":false,"error":{"code":"method_not_allowed","message":"This path does not take that method; `Allow` lists those it takes."}}"#
        );
    }
}
