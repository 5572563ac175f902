//! What a schema may ask for, decided before it is compiled: it stays within itself, and written out, with every reference
//! replaced by what it names, it is no larger and no deeper than a schema may be. Where a reference leads back to what it is
//! within, writing it out ends there.

use serde_json::{Map, Value};
use stentor_domain::limits::{SCHEMA_DEPTH_MAX, SCHEMA_PARTS_MAX, SCHEMA_PATTERNS_MAX};
use stentor_domain::name::Invalid;

/// Keywords whose value is data: nothing in it is a schema.
const DATA: [&str; 4] = ["const", "enum", "default", "examples"];
/// Keywords whose value is an object of schemas by names.
const NAMED: [&str; 6] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "dependencies",
    DEFINITIONS[0],
    DEFINITIONS[1],
];
/// Keywords whose schemas ask for nothing until they are referred to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Refuses a schema beyond the bounds; `place` is what it is called.
pub(super) fn check(schema: &Value, place: &str) -> Result<(), Invalid> {
    let mut walk = Walk {
        root: schema,
        parts_left: SCHEMA_PARTS_MAX,
        patterns_left: SCHEMA_PATTERNS_MAX,
        inside: Vec::new(),
    };
    walk.read(schema, place)?;
    walk.write_out(schema, place)
}

struct Walk<'s> {
    root: &'s Value,
    parts_left: usize,
    patterns_left: usize,
    /// What is being written out, outermost first.
    inside: Vec<&'s Value>,
}

impl<'s> Walk<'s> {
    /// Looks at each part once, as it stands in the text. The text is no deeper than a JSON reader lets it be.
    fn read(&mut self, schema: &'s Value, place: &str) -> Result<(), Invalid> {
        let Some(members) = schema.as_object() else {
            return Ok(());
        };
        for (keyword, value) in members {
            let place = format!("{place}.{keyword}");
            match keyword.as_str() {
                "$ref" => {
                    self.target(value, &place)?;
                }
                "$dynamicRef" | "$recursiveRef" => {
                    return Err(Invalid::new(place, "is not supported; use $ref"));
                }
                "$id" if !std::ptr::eq(schema, self.root) => {
                    return Err(Invalid::new(place, "can name only the schema as a whole"));
                }
                "pattern" => self.count_patterns(1, &place)?,
                "patternProperties" => self.count_patterns(value.as_object().map_or(0, Map::len), &place)?,
                _ => {}
            }
            for (name, part) in parts(keyword, value) {
                self.read(part, &format!("{place}{name}"))?;
            }
        }
        Ok(())
    }

    /// Counts every part as often as it is asked for.
    fn write_out(&mut self, schema: &'s Value, place: &str) -> Result<(), Invalid> {
        if self.inside.iter().any(|outer| std::ptr::eq(*outer, schema)) {
            return Ok(());
        }
        let left = self.parts_left.checked_sub(1);
        self.parts_left = left.ok_or_else(|| {
            let rule = format!(
                "asks for too much: with every $ref replaced by what it names, a schema has at most {SCHEMA_PARTS_MAX} parts"
            );
            Invalid::new(super::SCHEMA, rule)
        })?;
        if self.inside.len() >= SCHEMA_DEPTH_MAX {
            let rule = format!(
                "must not be nested deeper than {SCHEMA_DEPTH_MAX} schemas, with every $ref replaced by what it names"
            );
            return Err(Invalid::new(super::cut(place), rule));
        }
        let Some(members) = schema.as_object() else {
            return Ok(());
        };
        self.inside.push(schema);
        for (keyword, value) in members {
            let place = format!("{place}.{keyword}");
            if keyword == "$ref" {
                let target = self.target(value, &place)?;
                self.write_out(target, &place)?;
            }
            if !DEFINITIONS.contains(&keyword.as_str()) {
                for (name, part) in parts(keyword, value) {
                    self.write_out(part, &format!("{place}{name}"))?;
                }
            }
        }
        self.inside.pop();
        Ok(())
    }

    /// What a reference names.
    fn target(&self, reference: &Value, place: &str) -> Result<&'s Value, Invalid> {
        let within = reference.as_str().and_then(|text| text.strip_prefix('#'));
        let pointer = within.filter(|pointer| pointer.is_empty() || pointer.starts_with('/'));
        let Some(pointer) = pointer.filter(|pointer| !pointer.contains('%')) else {
            let rule =
                "must be # or a path within this schema, such as #/$defs/address; nothing is ever fetched";
            return Err(Invalid::new(place, rule));
        };
        let target = self.root.pointer(pointer);
        target.ok_or_else(|| Invalid::new(place, "names nothing in this schema"))
    }

    fn count_patterns(&mut self, count: usize, place: &str) -> Result<(), Invalid> {
        let left = self.patterns_left.checked_sub(count);
        self.patterns_left = left.ok_or_else(|| {
            let rule = format!("is one too many: a schema has at most {SCHEMA_PATTERNS_MAX} patterns");
            Invalid::new(place, rule)
        })?;
        Ok(())
    }
}

/// The schemas that a keyword holds, and what their places add to its own. Whatever is no known keyword may hold some, too,
/// which a reference may name.
fn parts<'s>(keyword: &str, value: &'s Value) -> Vec<(String, &'s Value)> {
    if DATA.contains(&keyword) {
        return Vec::new();
    }
    match value {
        Value::Object(members) if NAMED.contains(&keyword) => members
            .iter()
            .map(|(name, part)| (format!(".{name}"), part))
            .collect(),
        Value::Object(_) => vec![(String::new(), value)],
        Value::Array(items) => items
            .iter()
            .enumerate()
            .filter(|(_, item)| item.is_object() || item.is_boolean())
            .map(|(at, item)| (format!(".{at}"), item))
            .collect(),
        _ => Vec::new(),
    }
}
