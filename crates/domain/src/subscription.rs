//! Which events an endpoint wants.

use crate::channels::Channels;
use crate::limits::SUBSCRIPTION_TYPES_MAX;
use crate::name::EventTypeName;
use std::sync::Arc;

/// What a pattern ends with: every type below a prefix.
const BELOW: &str = ".*";
const RULE: &str =
    "must be an event type such as order.completed, or a prefix with all below it such as order.*";

/// Which event types and channels an endpoint wants; a value inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Which types.
    pub types: Types,
    /// Only events that have at least one of these channels; where there are none, all events.
    pub channels: Channels,
}

/// Which event types an endpoint wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// Every type, spelled `["*"]`.
    All,
    /// The types of these patterns.
    Some(Vec<Pattern>),
}

/// One exact name, or all names below a prefix: `order.*` is `order.completed` and `order.refund.failed`, but neither
/// `order` nor `orders.completed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// Takes `text` where it is a name or a prefix with `.*`, or says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.strip_suffix(BELOW) {
            Some(prefix) => EventTypeName::parse(prefix).map_err(|_| RULE)?,
            None if text.contains('*') => return Err(RULE),
            None => EventTypeName::parse(text)?,
        };
        Ok(Self(text.into()))
    }

    /// Is the type this name, or below this prefix?
    pub fn matches(&self, event_type: &EventTypeName) -> bool {
        let name = event_type.as_str();
        match self.0.strip_suffix('*') {
            // What is left ends with a dot, which no name does.
            Some(prefix) => name.starts_with(prefix),
            None => name == &*self.0,
        }
    }

    /// The text as a contract shows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Subscription {
    /// Everything.
    pub fn all() -> Self {
        Self {
            types: Types::All,
            channels: Channels::default(),
        }
    }
}

impl Types {
    /// Reads the texts of an `events` field. The error is the index of the bad text and the broken rule.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, (Option<usize>, String)> {
        if texts.is_empty() {
            return Err((None, "must name at least one event type, or \"*\" for all".into()));
        }
        if texts.len() > SUBSCRIPTION_TYPES_MAX {
            return Err((
                None,
                format!("must name at most {SUBSCRIPTION_TYPES_MAX} event types"),
            ));
        }
        if texts.iter().any(|text| text.as_ref() == "*") {
            return if texts.len() == 1 {
                Ok(Self::All)
            } else {
                Err((None, "\"*\" means all event types and stands alone".into()))
            };
        }
        let mut patterns: Vec<Pattern> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let pattern = Pattern::parse(text.as_ref()).map_err(|rule| (Some(at), rule.to_owned()))?;
            if !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
        Ok(Self::Some(patterns))
    }

    /// Does an event of this type match?
    pub fn matches(&self, event_type: &EventTypeName) -> bool {
        self.wants(event_type).is_some()
    }

    /// The text by which an event of this type matches, if it does.
    pub fn wants(&self, event_type: &EventTypeName) -> Option<&str> {
        match self {
            Self::All => Some("*"),
            Self::Some(patterns) => patterns
                .iter()
                .find(|pattern| pattern.matches(event_type))
                .map(Pattern::as_str),
        }
    }

    /// The texts as a contract shows them.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::All => vec!["*"],
            Self::Some(patterns) => patterns.iter().map(Pattern::as_str).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> EventTypeName {
        EventTypeName::parse(text).unwrap()
    }

    #[test]
    fn a_star_is_everything_and_stands_alone() {
        assert_eq!(Types::parse(&["*"]), Ok(Types::All));
        assert!(Types::parse(&["*", "a"]).is_err());
        assert!(Types::parse::<&str>(&[]).is_err());
        assert_eq!(Types::parse(&["a", "b c"]).map_err(|(at, _)| at), Err(Some(1)));
    }

    #[test]
    fn names_match_exactly() {
        let wanted = Types::parse(&["order.completed", "order.completed"]).unwrap();
        assert_eq!(wanted.texts(), ["order.completed"]);
        assert!(wanted.matches(&name("order.completed")));
        assert!(!wanted.matches(&name("order.completed.late")));
    }

    #[test]
    fn a_prefix_matches_whatever_is_below_it_and_nothing_beside_it() {
        let wanted = Types::parse(&["user", "order.*", "a.b.*", "order.*"]).unwrap();
        assert_eq!(wanted.texts(), ["user", "order.*", "a.b.*"]);
        for below in ["order.completed", "order.refund.failed", "user", "a.b.c"] {
            assert!(wanted.matches(&name(below)), "{below}");
        }
        for beside in [
            "order",
            "orders.completed",
            "Order.completed",
            "user.made",
            "a.b",
            "a.bc.d",
        ] {
            assert!(!wanted.matches(&name(beside)), "{beside}");
        }
        assert_eq!(wanted.wants(&name("order.refund.failed")), Some("order.*"));
    }

    #[test]
    fn a_star_stands_only_at_the_end_and_behind_a_dot() {
        let longest = format!("{}.*", "x".repeat(255));
        assert!(Pattern::parse(&longest).is_ok());
        for bad in [
            "order*",
            "*.completed",
            "order.*.late",
            "order.**",
            "order..*",
            ".*",
            "**",
            "order.*.*",
            "o rder.*",
            &format!("{}.*", "x".repeat(256)),
        ] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
