//! Which events an endpoint wants.

use crate::limits::SUBSCRIPTION_TYPES_MAX;
use crate::name::EventTypeName;

/// Which event types an endpoint wants; a value inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscription {
    /// Every type, spelled `["*"]`.
    All,
    /// These types, by exact name.
    Types(Vec<EventTypeName>),
}

impl Subscription {
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
        let mut types: Vec<EventTypeName> = Vec::with_capacity(texts.len());
        for (at, text) in texts.iter().enumerate() {
            let name = EventTypeName::parse(text.as_ref()).map_err(|rule| (Some(at), rule.to_owned()))?;
            if !types.contains(&name) {
                types.push(name);
            }
        }
        Ok(Self::Types(types))
    }

    /// Does an event of this type match?
    pub fn matches(&self, event_type: &EventTypeName) -> bool {
        match self {
            Self::All => true,
            Self::Types(types) => types.contains(event_type),
        }
    }

    /// The texts as a contract shows them.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::All => vec!["*"],
            Self::Types(types) => types.iter().map(EventTypeName::as_str).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_everything_and_stands_alone() {
        assert_eq!(Subscription::parse(&["*"]), Ok(Subscription::All));
        assert!(Subscription::parse(&["*", "a"]).is_err());
        assert!(Subscription::parse::<&str>(&[]).is_err());
        assert_eq!(
            Subscription::parse(&["a", "b c"]).map_err(|(at, _)| at),
            Err(Some(1))
        );
    }

    #[test]
    fn names_match_exactly() {
        let wanted = Subscription::parse(&["order.completed", "order.completed"]).unwrap();
        assert_eq!(wanted.texts(), ["order.completed"]);
        assert!(wanted.matches(&EventTypeName::parse("order.completed").unwrap()));
        assert!(!wanted.matches(&EventTypeName::parse("order.completed.late").unwrap()));
    }
}
