//! Schemas of values that several contracts share, to be named with `schema_with`.

use stentor_domain::limits::{EVENT_TYPE_CHARACTERS_MAX, SUBSCRIPTION_TYPES_MAX};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};

/// The bare UUIDv7 of an object.
pub(crate) fn uuid() -> Schema {
    uuid_after("")
}

/// The UUIDv7 of an object behind the prefix of its kind.
pub(crate) fn uuid_after(prefix: &str) -> Schema {
    let uuid = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    string(&format!("^{prefix}{uuid}$")).build().into()
}

/// The event types that an endpoint wants: all of them, or some by their names and by prefixes.
pub(crate) fn event_types() -> Schema {
    let list = |item: ObjectBuilder, most: usize| {
        ArrayBuilder::new()
            .items(item)
            .min_items(Some(1))
            .max_items(Some(most))
    };
    let name = string(r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?$")
        .max_length(Some(EVENT_TYPE_CHARACTERS_MAX.saturating_add(".*".len())));
    OneOfBuilder::new()
        .item(list(string(r"^\*$"), 1))
        .item(list(name, SUBSCRIPTION_TYPES_MAX))
        .description(Some(
            "The event types that it wants, by name or as a prefix with `.*`; `[\"*\"]` is all.",
        ))
        .build()
        .into()
}

fn string(pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .pattern(Some(pattern))
}
