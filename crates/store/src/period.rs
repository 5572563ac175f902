//! What questions about events and deliveries share: a span of acceptance as a range of keys, and a scope as columns.

use stentor_domain::Timestamp;
use stentor_domain::id::Id;
use stentor_domain::key::Scope;

/// A span of time, by acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// Its begin, inclusive.
    pub since: Option<Timestamp>,
    /// Its end, exclusive.
    pub until: Option<Timestamp>,
}

impl Period {
    /// The least key of the period, and the key that all of its keys are below; `before` is where a page begins.
    pub(crate) fn keys(self, before: Option<i64>) -> (i64, i64) {
        let least = self.since.map_or(0, Id::least_key_at);
        let end = self.until.map_or(i64::MAX, Id::least_key_at);
        (least, before.map_or(end, |before| before.min(end)))
    }
}

/// Tenant and project that a row must have to be seen in `scope`; `None` is any.
pub(crate) fn columns(scope: Scope) -> (Option<i64>, Option<i64>) {
    match scope {
        Scope::Root => (None, None),
        Scope::Project(project) => (None, Some(project.n())),
        Scope::Tenant(_, tenant) => (Some(tenant.n()), None),
    }
}
