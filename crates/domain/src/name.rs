//! Names that callers choose, and how a value that breaks a rule is reported.

use crate::limits::{EVENT_TYPE_CHARACTERS_MAX, NAME_CHARACTERS_MAX, UID_CHARACTERS_MAX};
use std::fmt;
use std::sync::Arc;

/// A value that breaks a rule: which field, and which rule, in words that tell what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The field as the caller spelled it: `url`, `events.3.payload`.
    pub field: String,
    /// The rule, as a sentence without a full stop.
    pub rule: String,
    /// What kind of rule it is, for contracts that tell them apart.
    pub kind: Rule,
}

/// What kind of rule a value breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One about the value's own form.
    Form,
    /// A rule about where deliveries may go.
    Destination,
}

impl Invalid {
    /// Says that `field` breaks `rule`.
    pub fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            rule: rule.into(),
            kind: Rule::Form,
        }
    }

    /// Says that `field` names a destination that `rule` forbids.
    pub fn destination(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self {
            kind: Rule::Destination,
            ..Self::new(field, rule)
        }
    }

    /// The same fault inside `parent`: `payload` becomes `events.3.payload`.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self {
            field: format!("{parent}.{}", self.field),
            ..self
        }
    }
}

/// An event type's name: dot-separated parts of `A-Z a-z 0-9 _ -`, 1 to 255 characters (contract v1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTypeName(Arc<str>);

impl EventTypeName {
    /// Takes `text` where it keeps the rule, or says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() || text.len() > EVENT_TYPE_CHARACTERS_MAX {
            return Err("must be 1 to 255 characters");
        }
        let word = |part: &str| !part.is_empty() && part.bytes().all(is_word);
        if !text.split('.').all(word) {
            return Err("must be dot-separated parts of A-Z, a-z, 0-9, _ and -, such as order.completed");
        }
        Ok(Self(text.into()))
    }

    /// The type of a test send.
    pub fn test() -> Self {
        Self::fixed("webhook.test")
    }

    /// One of our own, which keeps the rule.
    pub(crate) fn fixed(text: &'static str) -> Self {
        Self(text.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventTypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Checks a caller's own id of an object: `A-Z a-z 0-9 _ . -`, 1 to 256 characters, not starting with `prefix`, which
/// would make it look like an id of ours (contract v1). The error is the broken rule.
pub fn check_uid(text: &str, prefix: &str) -> Result<(), String> {
    if text.is_empty() || text.len() > UID_CHARACTERS_MAX {
        return Err("must be 1 to 256 characters".into());
    }
    if !text.bytes().all(|byte| is_word(byte) || byte == b'.') {
        return Err("may contain only A-Z, a-z, 0-9, _, . and -".into());
    }
    if text.starts_with(prefix) {
        return Err(format!("must not start with {prefix}"));
    }
    Ok(())
}

/// Checks a display name: 1 to 255 characters, none of them a control character. The error is the broken rule.
pub fn check_name(text: &str) -> Result<(), &'static str> {
    if text.trim().is_empty() || text.chars().count() > NAME_CHARACTERS_MAX {
        return Err("must be 1 to 255 characters");
    }
    if text.chars().any(char::is_control) {
        return Err("must not contain control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_types_are_dotted_words() {
        for good in ["a", "order.completed", "A_1.b-2.c", &"x".repeat(255)] {
            assert!(EventTypeName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".a",
            "a.",
            "a..b",
            "a b",
            "a\r\nb",
            "ü",
            "*",
            "order.*",
            "a/b",
            &"x".repeat(256),
        ] {
            assert!(EventTypeName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uids_cannot_pass_for_ids() {
        assert!(check_uid("acme-1.eu_west", "ten_").is_ok());
        for bad in ["", "ten_x", "a b", "../x", "a%00", &"x".repeat(257)] {
            assert!(check_uid(bad, "ten_").is_err(), "{bad}");
        }
    }
}
