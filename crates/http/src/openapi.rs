//! What the generator of the OpenAPI document leaves out, because it is the same for all operations: their ids, who may
//! call them, how they say no and how a POST is repeated. [`schemas`] holds what several contracts show alike.

pub(crate) mod schemas;

use crate::app::App;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use stentor_domain::limits::IDEMPOTENCY_KEY_CHARACTERS_MAX;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    Content, ObjectBuilder, OpenApi, Ref, RefOr, Required, Response, Schema, SecurityRequirement, Type,
};

const HEALTH: [&str; 2] = ["/healthz", "/readyz"];
const BEARER: &str = "bearer";
const API_KEY: &str = "api_key";

/// How a contract says no, as its document shows it.
pub(crate) struct Refusal {
    /// The name of its schema.
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) schema: RefOr<Schema>,
}

/// A route that answers a document.
pub(crate) fn serve(document: &Value) -> MethodRouter<App> {
    let document: Bytes = document.to_string().into();
    get(async move || ([(CONTENT_TYPE, "application/json")], document.clone()))
}

/// The whole document of a contract: the generator knows only what its handlers answer.
pub(crate) fn finished(mut document: OpenApi, refusal: Refusal) -> Value {
    for (path, item) in &mut document.paths.paths {
        // Health checks answer without a key, and in plain words.
        let in_contract = !HEALTH.contains(&path.as_str());
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            set_id(operation);
            describe_answers(operation);
            if in_contract {
                refusal.add_to(operation);
            }
        }
        if in_contract && let Some(post) = &mut item.post {
            let parameters = post.parameters.get_or_insert_default();
            parameters.push(RefOr::T(idempotency_key()));
        }
    }
    let components = document.components.get_or_insert_default();
    let described = refusal.described("Refused.");
    components
        .responses
        .insert(refusal.name.into(), RefOr::T(described));
    components.schemas.insert(refusal.name.into(), refusal.schema);
    let api_key = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
    components.add_security_scheme(BEARER, SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(api_key));
    let either = [BEARER, API_KEY].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
    document.security = Some(either.into());
    // What was generated always serializes.
    serde_json::to_value(document).unwrap_or_default()
}

/// Gives an operation an id of its own, such as `tenants_create`: handlers of different resources share their names.
fn set_id(operation: &mut Operation) {
    let tag = operation.tags.iter().flatten().next();
    let tag = tag.map_or("", String::as_str).replace(' ', "_");
    let name = operation.operation_id.as_deref().unwrap_or_default();
    operation.operation_id = Some(format!("{tag}_{name}"));
}

/// Every response must be described (OpenAPI 3.1); where nothing more is to be said, by its status.
fn describe_answers(operation: &mut Operation) {
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && response.description.is_empty()
        {
            let status = status.parse::<StatusCode>().ok();
            let reason = status.and_then(|status| status.canonical_reason());
            response.description = reason.unwrap_or("As asked for").into();
        }
    }
}

impl Refusal {
    /// Says of the refusals that an operation names that they look so, as do all others, but for those whose look it
    /// names itself.
    fn add_to(&self, operation: &mut Operation) {
        let responses = &mut operation.responses.responses;
        for (status, response) in responses.iter_mut() {
            if let (true, RefOr::T(response)) = (status.starts_with('4'), response)
                && response.content.is_empty()
            {
                response
                    .content
                    .insert(self.media_type.into(), RefOr::T(self.content()));
            }
        }
        responses.insert("default".into(), RefOr::Ref(Ref::from_response_name(self.name)));
    }

    fn described(&self, description: &str) -> Response {
        let mut response = Response::new(description);
        response
            .content
            .insert(self.media_type.into(), RefOr::T(self.content()));
        response
    }

    fn content(&self) -> Content {
        Content::new(Some(Ref::from_schema_name(self.name)))
    }
}

fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "The same again within 24 hours answers as the first time, without what is shown once.",
        ))
        .schema(Some(
            ObjectBuilder::new()
                .schema_type(Type::String)
                .min_length(Some(1))
                .max_length(Some(IDEMPOTENCY_KEY_CHARACTERS_MAX)),
        ))
        .build()
}
