//! Reading the filters of lists: every fault of a query at once.

use crate::problem::Problem;
use stentor_domain::Timestamp;
use stentor_domain::name::EventTypeName;
use stentor_store::period::Period;

/// What is wrong with a query's filters.
#[derive(Debug, Default)]
pub(super) struct Faults(Option<Problem>);

impl Faults {
    /// The filter that `text` names, if it is there; notes `rule` where `parse` does not take it.
    pub(super) fn take<T>(
        &mut self,
        field: &str,
        text: Option<&str>,
        parse: impl FnOnce(&str) -> Option<T>,
        rule: &'static str,
    ) -> Option<T> {
        let text = text?;
        let taken = parse(text);
        if taken.is_none() {
            let so_far = self.0.take().unwrap_or_else(Problem::invalid);
            self.0 = Some(so_far.with_error(field, rule));
        }
        taken
    }

    /// The event type of the filter `type`.
    pub(super) fn event_type(&mut self, text: Option<&str>) -> Option<EventTypeName> {
        let rule = "must be an event type, such as order.completed";
        self.take("type", text, |text| EventTypeName::parse(text).ok(), rule)
    }

    /// The span of acceptance from `since`, inclusive, to `until`, exclusive.
    pub(super) fn period(&mut self, since: Option<&str>, until: Option<&str>) -> Period {
        let rule = "must be an ISO 8601 time with an offset, such as 2024-01-01T00:00:00Z";
        Period {
            since: self.take("since", since, Timestamp::parse_iso, rule),
            until: self.take("until", until, Timestamp::parse_iso, rule),
        }
    }

    /// Refuses where anything was wrong.
    pub(super) fn done(self) -> Result<(), Problem> {
        self.0.map_or(Ok(()), Err)
    }
}
