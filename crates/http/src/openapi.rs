//! What the generator of the OpenAPI document leaves out: ids of operations that differ, and the outgoing webhook.

use crate::dialect;
use serde_json::Value;
use utoipa::openapi::OpenApi;

/// The whole document: the generator knows only what this server answers, not what it sends.
pub(crate) fn finished(generated: OpenApi) -> Value {
    // What was generated always serializes, as an object.
    let mut document = serde_json::to_value(with_operation_ids(generated)).unwrap_or_default();
    if let Some(fields) = document.as_object_mut() {
        fields.insert("webhooks".into(), dialect::v1::webhooks());
    }
    document
}

/// Gives every operation an id of its own, such as `tenants_create`: handlers of different resources share their names.
fn with_operation_ids(mut document: OpenApi) -> OpenApi {
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let tag = operation
                .tags
                .iter()
                .flatten()
                .next()
                .map_or("", String::as_str)
                .replace('-', "_");
            let name = operation.operation_id.as_deref().unwrap_or_default();
            operation.operation_id = Some(format!("{tag}_{name}"));
        }
    }
    document
}
