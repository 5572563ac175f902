//! What Stentor itself has to tell those who run it: the types of its own events.

use crate::health::Turn;
use crate::name::EventTypeName;

/// What there is to tell, about an endpoint or a delivery of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoticeKind {
    /// An endpoint's breaker opened.
    Failing,
    /// It takes deliveries as before its breaker opened.
    Recovered,
    /// It was disabled by policy.
    Disabled,
    /// A delivery came to the end of its schedule.
    Exhausted,
}

impl NoticeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Failing, Self::Recovered, Self::Disabled, Self::Exhausted];

    /// The event type that tells of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failing => "endpoint.failing",
            Self::Recovered => "endpoint.recovered",
            Self::Disabled => "endpoint.disabled",
            Self::Exhausted => "delivery.exhausted",
        }
    }

    /// The kind that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The event type that tells of it, as a name.
    pub fn event_type(self) -> EventTypeName {
        EventTypeName::fixed(self.as_str())
    }
}

impl From<Turn> for NoticeKind {
    fn from(turn: Turn) -> Self {
        match turn {
            Turn::Failing => Self::Failing,
            Turn::Recovered => Self::Recovered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_an_event_type_and_is_found_by_it() {
        for kind in NoticeKind::ALL {
            assert_eq!(EventTypeName::parse(kind.as_str()), Ok(kind.event_type()));
            assert_eq!(NoticeKind::parse(kind.as_str()), Some(kind));
        }
    }
}
