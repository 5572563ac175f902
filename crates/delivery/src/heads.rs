//! Ordered endpoints whose first delivery waits for a later time: what is behind it waits, too, however long it has been due. A
//! pure structure.
//!
//! Every look into the store finds such an endpoint as due. It is not claimed for before its first delivery is, but once
//! every few seconds: whatever ends that one in the meantime need not say so.

use std::collections::HashMap;
use std::time::Duration;
use stentor_domain::Timestamp;

/// How long it is believed that the first is still the first.
const BELIEVED_FOR: Duration = Duration::from_secs(10);
/// Endpoints remembered. Beyond it all are forgotten, which costs each of them a claim.
const ENDPOINTS_MAX: usize = 100_000;

/// When the first delivery of each such endpoint is due, and when that was seen.
#[derive(Debug, Default)]
pub(crate) struct Heads(HashMap<i64, (Timestamp, Timestamp)>);

impl Heads {
    /// The first at `endpoint`, as seen at `now`, is due at `due_at`.
    pub(crate) fn wait(&mut self, endpoint: i64, due_at: Timestamp, now: Timestamp) {
        if self.0.len() >= ENDPOINTS_MAX {
            self.0.clear();
        }
        self.0.insert(endpoint, (due_at, now));
    }

    /// Until when there is nothing to claim for `endpoint`.
    pub(crate) fn waits_until(&self, endpoint: i64, now: Timestamp) -> Option<Timestamp> {
        let (due_at, seen_at) = self.0.get(&endpoint)?;
        let until = (*due_at).min(seen_at.plus(BELIEVED_FOR));
        // A clock that was set back must not stretch it.
        (until > now && *seen_at <= now).then_some(until)
    }

    /// The first at `endpoint` may be another one now.
    pub(crate) fn forget(&mut self, endpoint: i64) {
        self.0.remove(&endpoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000 + seconds)
    }

    #[test]
    fn it_waits_until_it_is_due_and_is_looked_at_again_every_ten_seconds() {
        let mut heads = Heads::default();
        heads.wait(1, at(5), at(0));
        heads.wait(2, at(3_600), at(0));
        assert_eq!(heads.waits_until(1, at(4)), Some(at(5)));
        assert_eq!(heads.waits_until(1, at(5)), None);
        assert_eq!(heads.waits_until(2, at(9)), Some(at(10)));
        assert_eq!(heads.waits_until(2, at(10)), None);
        assert_eq!(heads.waits_until(3, at(0)), None);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_stretch_it() {
        let mut heads = Heads::default();
        heads.wait(1, at(3_600), at(100));
        assert_eq!(heads.waits_until(1, at(50)), None);
    }

    #[test]
    fn what_may_have_changed_is_looked_at() {
        let mut heads = Heads::default();
        heads.wait(1, at(3_600), at(0));
        heads.forget(1);
        assert_eq!(heads.waits_until(1, at(0)), None);
    }
}
