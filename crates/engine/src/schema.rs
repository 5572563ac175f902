//! JSON Schemas of event types: read when they are saved, and enforced when an event is published. `docs/schemas.md` is what
//! their owners read.
//!
//! The schema itself is the work of the crate `jsonschema`. What is done here is to bound it: schemas come from customers of a
//! shared server, and a few lines of one can ask for more than a computer will ever do. So `bounds` refuses what is too large
//! or reaches outside of itself, before it is compiled; nothing is ever fetched; patterns run on an engine that takes linear
//! time; and payloads are shown to the validator through a meter (`metered`), which ends what takes too long.

mod bounds;
mod metered;
#[cfg(test)]
mod tests;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use metered::{Instances, Meter, Metered};
use serde_json::Value;
use stentor_domain::limits::{
    SCHEMA_BYTES_MAX, SCHEMA_NAMING_STEPS_MAX, SCHEMA_PATTERN_BYTES_MAX, SCHEMA_STEPS_FOR_EACH_BYTE,
    SCHEMA_STEPS_MIN,
};
use stentor_domain::name::Invalid;

/// The field of an event type that a fault of the schema is told of.
const SCHEMA: &str = "schema";
/// The field of an event that a fault of the payload is told of.
const PAYLOAD: &str = "payload";
/// What a rule calls the value that breaks it: rules never quote it.
const VALUE: &str = "the value";
/// Characters of a rule, and of a path, that are told.
const TOLD_CHARACTERS_MAX: usize = 200;

/// The dialects that a schema may be written in, and the one where it does not say.
const DRAFTS: [(&str, Draft); 4] = [
    ("json-schema.org/draft-06/schema", Draft::Draft6),
    ("json-schema.org/draft-07/schema", Draft::Draft7),
    ("json-schema.org/draft/2019-09/schema", Draft::Draft201909),
    ("json-schema.org/draft/2020-12/schema", Draft::Draft202012),
];

/// A schema, ready to be asked.
#[derive(Debug)]
pub(crate) struct Schema(Validator<Instances>);

impl Schema {
    /// Reads the text of a `schema` field; the error is the place inside it that breaks a rule.
    pub(crate) fn compile(text: &str) -> Result<Self, Invalid> {
        if text.len() > SCHEMA_BYTES_MAX {
            let rule = format!("must be at most {SCHEMA_BYTES_MAX} bytes");
            return Err(Invalid::new(SCHEMA, rule));
        }
        let mut schema: Value = serde_json::from_str(text).map_err(|error| {
            let rule = format!("cannot be read as a schema: {error}");
            Invalid::new(SCHEMA, rule)
        })?;
        let draft = draft(&schema)?;
        bounds::check(&schema, SCHEMA)?;
        // Its own name has no use here, but could be taken for another schema's.
        if let Some(members) = schema.as_object_mut() {
            members.remove("$id");
            members.remove("$schema");
        }
        let patterns = PatternOptions::regex()
            .size_limit(SCHEMA_PATTERN_BYTES_MAX)
            .dfa_size_limit(SCHEMA_PATTERN_BYTES_MAX);
        jsonschema::options_for::<Instances>()
            .with_draft(draft)
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(patterns)
            .build(&schema)
            .map(Self)
            .map_err(|error| unfit(&error))
    }

    /// Is the payload as the schema wants it? The error names the place inside it and the rule that is broken. The time that
    /// it takes grows with the payload, whatever the schema asks for.
    pub(crate) fn check(&self, payload: &[u8]) -> Result<(), Invalid> {
        let value: Value = serde_json::from_slice(payload).map_err(|error| {
            let rule = format!("cannot be checked against the schema of its event type: {error}");
            Invalid::new(PAYLOAD, rule)
        })?;
        let steps = payload
            .len()
            .saturating_mul(SCHEMA_STEPS_FOR_EACH_BYTE)
            .saturating_add(SCHEMA_STEPS_MIN);
        let meter = Meter::new(steps);
        let holds = self.0.is_valid(Metered::new(&value, &meter));
        if meter.is_spent() {
            let rule =
                "takes too many steps, or too deep ones, to be checked against the schema of its event type";
            return Err(Invalid::new(PAYLOAD, rule));
        }
        if holds { Ok(()) } else { Err(self.fault(&value)) }
    }

    /// What is wrong with a payload. Naming it costs memory as well, so that there are fewer steps for it; beyond them no
    /// place is named.
    fn fault(&self, value: &Value) -> Invalid {
        let meter = Meter::new(SCHEMA_NAMING_STEPS_MAX);
        let found = self.0.validate(Metered::new(value, &meter)).err();
        match found.filter(|_| !meter.is_spent()) {
            Some(error) => told(PAYLOAD, &error),
            None => Invalid::new(PAYLOAD, "is not as the schema of its event type wants it"),
        }
    }
}

/// The dialect that a schema is written in.
fn draft(schema: &Value) -> Result<Draft, Invalid> {
    let Some(members) = schema.as_object() else {
        return Err(Invalid::new(SCHEMA, "must be an object"));
    };
    let Some(named) = members.get("$schema") else {
        return Ok(Draft::Draft202012);
    };
    let named = named.as_str().unwrap_or_default().trim_end_matches('#');
    let bare = named.strip_prefix("https://").or(named.strip_prefix("http://"));
    let known = DRAFTS.iter().find(|(name, _)| Some(*name) == bare);
    known.map(|(_, draft)| *draft).ok_or_else(|| {
        let rule = "must be draft-06, draft-07, 2019-09 or 2020-12, such as https://json-schema.org/draft/2020-12/schema";
        Invalid::new(format!("{SCHEMA}.$schema"), rule)
    })
}

/// Why a schema cannot be compiled.
fn unfit(error: &ValidationError<'_>) -> Invalid {
    let fault = told(SCHEMA, error);
    match error.kind() {
        ValidationErrorKind::Format { format } if format == "regex" => {
            let rule =
                "must be a regular expression without look-around and back references, and not too large";
            Invalid::new(fault.field, rule)
        }
        _ => fault,
    }
}

fn told(field: &str, error: &ValidationError<'_>) -> Invalid {
    let rule = cut(&error.masked_with(VALUE).to_string());
    Invalid::new(cut(&place(field, error.instance_path())), rule)
}

/// The place inside a field: `payload.items.3.sku`.
fn place(field: &str, path: &Location) -> String {
    path.into_iter()
        .fold(field.to_owned(), |place, segment| match segment {
            LocationSegment::Property(name) => format!("{place}.{name}"),
            LocationSegment::Index(at) => format!("{place}.{at}"),
        })
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(TOLD_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
