//! How the contract says no: what is wrong with a request's content field by field, anything else in one sentence.

use super::routes::SUBSCRIPTION_ID;
use crate::input;
use crate::problem::{FieldError, Problem};
use bytes::Bytes;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// Rules that have a word of their own for programs; all others are a `value_error`.
const TYPES: [(&str, &str); 7] = [
    ("is required", "missing"),
    // Of those that must not be null, each is a string.
    ("must not be null", "string_type"),
    ("must be a string", "string_type"),
    ("must be a boolean", "bool_type"),
    ("must be an array", "list_type"),
    ("must be an object", "model_attributes_type"),
    ("must be an integer", "int_parsing"),
];
/// What is wrong with no field's value in particular.
const VALUE_ERROR: &str = "value_error";
/// The body as a whole, as a refusal names it.
const BODY: &str = "body";
/// The tenant, as a refusal names it where it is missing; here only a header or the query can.
const TENANT: &str = "tenant";
const X_TENANT: &str = "X-Tenant";
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// What an operation needs of a key that is not a tenant's.
const TENANT_REQUIRED: &str =
    "is required: a root or project key names the tenant that it acts for, by id or uid";

/// Why a request was refused, but for its content.
#[derive(Serialize, ToSchema)]
pub(super) struct Refused {
    /// What to do next.
    message: String,
}

/// What is wrong with a request's content.
#[derive(Serialize, ToSchema)]
pub(super) struct ValidationErrors {
    detail: Vec<ValidationError>,
}

/// What is wrong with one field.
#[derive(Serialize, ToSchema)]
struct ValidationError {
    /// Where: `body`, `path` or `header`, then the field's name, and in a list the index.
    loc: Vec<Step>,
    /// What is wrong and what would be right, for a person.
    msg: String,
    /// The same in a word, for programs.
    r#type: &'static str,
}

/// A step of the way to what is wrong.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
enum Step {
    Name(String),
    Index(usize),
}

/// A refusal as this contract answers it.
pub(super) fn refusal(problem: &Problem) -> (StatusCode, Bytes) {
    let status = problem.status();
    let document = if status == StatusCode::UNPROCESSABLE_ENTITY {
        input::bytes(&ValidationErrors::from(problem))
    } else {
        input::bytes(&Refused {
            message: problem.detail().to_owned(),
        })
    };
    (status, document)
}

impl From<&Problem> for ValidationErrors {
    fn from(problem: &Problem) -> Self {
        let mut detail: Vec<_> = problem.errors().iter().map(ValidationError::from).collect();
        if detail.is_empty() {
            detail.push(ValidationError {
                loc: way_to(BODY),
                msg: problem.detail().to_owned(),
                r#type: VALUE_ERROR,
            });
        }
        Self { detail }
    }
}

impl From<&FieldError> for ValidationError {
    fn from(FieldError { field, message, .. }: &FieldError) -> Self {
        let known = TYPES.iter().find(|(rule, _)| rule == message);
        Self {
            loc: way_to(field),
            msg: if field == TENANT { TENANT_REQUIRED } else { message }.to_owned(),
            r#type: known.map_or(VALUE_ERROR, |(_, word)| word),
        }
    }
}

/// Where a field is: those outside the body have names that none inside it has.
fn way_to(field: &str) -> Vec<Step> {
    let named = if field == TENANT { X_TENANT } else { field };
    let header = [IDEMPOTENCY_KEY, X_TENANT]
        .into_iter()
        .find(|header| header.eq_ignore_ascii_case(named));
    let (place, inside) = match header {
        Some(header) => ("header", header),
        None if field == SUBSCRIPTION_ID => ("path", field),
        None if field == BODY => (BODY, ""),
        None => (BODY, field),
    };
    let steps = inside.split('.').filter(|step| !step.is_empty());
    std::iter::once(place).chain(steps).map(Step::from).collect()
}

impl From<&str> for Step {
    fn from(step: &str) -> Self {
        step.parse()
            .map_or_else(|_| Self::Name(step.to_owned()), Self::Index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn the_way_to_a_field_begins_where_the_field_is_sent() {
        for (field, way) in [
            ("url", json!(["body", "url"])),
            ("events.12", json!(["body", "events", 12])),
            ("body", json!(["body"])),
            ("subscription_id", json!(["path", "subscription_id"])),
            ("x-tenant", json!(["header", "X-Tenant"])),
            ("tenant", json!(["header", "X-Tenant"])),
            ("Idempotency-Key", json!(["header", "Idempotency-Key"])),
        ] {
            assert_eq!(json!(way_to(field)), way);
        }
    }

    #[test]
    fn a_refusal_of_the_content_without_a_field_is_about_the_body() {
        let (status, document) = refusal(&Problem::invalid());
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(document["detail"][0]["loc"], json!(["body"]));
    }
}
