//! What is removed by age, and what was asked to be erased: which bounds there are, and which step is next. What each step does,
//! and what a crash in it leaves, is the store's (see [`stentor_store::retention`]).
//!
//! Days are whole days of UTC, on both databases: what was accepted on one goes when as many whole days have passed after it. So a
//! pass begins once a day, and at every start, and a day's partition goes in one piece.
//!
//! ```text
//!   raised -> unfinished -> payloads -> days -> deliveries -> their lists -> attempts -> late deliveries -> replays
//!              |      ^      -> statistics -> ids of events -> events -> their lists
//!              +------+ as long as an attempt is in flight, or a fan-out goes on: looked at again a little later
//! ```

use crate::Engine;
use crate::error::Result;
use std::collections::VecDeque;
use stentor_domain::Timestamp;
use stentor_domain::id::Id;
use stentor_store::retention::{Cuts, Doomed, Removal};

const DAY_SECONDS: i64 = 86_400;

/// How long things are kept, in whole days; 0 is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Payloads of events.
    pub payload_days: u32,
    /// Finished deliveries and attempts.
    pub attempt_days: u32,
}

impl Retention {
    /// What goes at `now`.
    fn cuts(self, now: Timestamp) -> Cuts {
        Cuts {
            payloads: cut(self.payload_days, now),
            finished: cut(self.attempt_days, now),
        }
    }
}

fn cut(days: u32, now: Timestamp) -> i64 {
    if days == 0 {
        return 0;
    }
    let today = now.seconds().div_euclid(DAY_SECONDS);
    let first_kept = today.saturating_sub(i64::from(days)).max(0);
    Id::least_key_at(Timestamp::from_seconds(first_kept.saturating_mul(DAY_SECONDS)))
}

/// What a process remembers between two slices. None of it has to outlive it: a start begins anew and finds less to do.
#[derive(Debug, Default)]
pub(crate) struct Purge {
    /// What everything was purged up to.
    done: Option<Cuts>,
    pass: Option<Pass>,
    erasing: Option<Erasing>,
    /// There may be space to be given back.
    frees: bool,
}

/// A pass through everything that is older than the cuts.
#[derive(Debug)]
struct Pass {
    cuts: Cuts,
    /// What is still to be done, the present step in front.
    steps: VecDeque<Step>,
    /// After which key the present step goes on.
    after: i64,
    /// What the present walk has found so far that it leaves to another one.
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Raise,
    EndUnfinished,
    DropDays,
    /// Of events below the key, from the other one on.
    Remove(Removal, i64, i64),
}

impl Pass {
    fn new(cuts: Cuts) -> Self {
        let mut steps = VecDeque::from([Step::Raise]);
        if cuts.payloads > 0 {
            steps.push_back(Step::EndUnfinished);
        }
        // Events that go whole need not lose their payload first.
        if cuts.payloads > cuts.whole() {
            steps.push_back(Step::Remove(Removal::Payloads, cuts.payloads, cuts.whole()));
        }
        if cuts.finished > 0 {
            let below = |what| Step::Remove(what, cuts.finished, 0);
            steps.push_back(Step::DropDays);
            steps.extend(
                [
                    Removal::Deliveries,
                    Removal::ListedDeliveries,
                    Removal::Attempts,
                    Removal::LateDeliveries,
                    Removal::Replays,
                    Removal::Stats,
                ]
                .map(below),
            );
        }
        if cuts.whole() > 0 {
            // An id that outlived its event would be in the way of its next use.
            steps.extend(
                [Removal::EventKeys, Removal::Events, Removal::ListedEvents]
                    .map(|what| Step::Remove(what, cuts.whole(), 0)),
            );
        }
        Self {
            cuts,
            steps,
            after: 0,
            left: 0,
        }
    }

    fn next_step(&mut self) {
        self.steps.pop_front();
        self.begin_walk();
    }

    fn begin_walk(&mut self) {
        (self.after, self.left) = (0, 0);
    }
}

/// How far the walk for the oldest erasure has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Erasing {
    erasure: i64,
    after: i64,
    left: usize,
    /// Nothing was left any more.
    walked: bool,
}

impl Engine {
    /// One slice of what expires and one of what is erased. Tells how many rows it wrote, about; none: nothing is left, or it is
    /// to be looked at again a little later.
    pub(super) async fn purge(&self) -> Result<usize> {
        let mut purge = self.purge.lock().await;
        let done = self.erase(&mut purge).await? + self.expire(&mut purge).await?;
        if done > 0 || !purge.frees {
            return Ok(done);
        }
        let pages = self.store.give_back_space().await?;
        purge.frees = pages > 0;
        Ok(pages)
    }

    async fn expire(&self, purge: &mut Purge) -> Result<usize> {
        let cuts = self.settings.retention.cuts(self.now());
        if purge.pass.is_none() && purge.done != Some(cuts) {
            purge.pass = Some(Pass::new(cuts));
        }
        let Some(pass) = &mut purge.pass else {
            return Ok(0);
        };
        if let Some(step) = pass.steps.front().copied() {
            return self.take_step(pass, step).await;
        }
        purge.done = Some(pass.cuts);
        purge.pass = None;
        purge.frees = true;
        Ok(1)
    }

    async fn take_step(&self, pass: &mut Pass, step: Step) -> Result<usize> {
        match step {
            Step::Raise => {
                self.store.raise_retention(pass.cuts, self.now()).await?;
                pass.next_step();
                Ok(1)
            }
            Step::EndUnfinished => self.end_unfinished(pass).await,
            Step::DropDays => {
                let dropped = self
                    .store
                    .drop_days(pass.cuts.whole(), pass.cuts.finished)
                    .await?;
                if !dropped.partitions.is_empty() {
                    tracing::info!(partitions = ?dropped.partitions, "dropped days that have expired");
                }
                if dropped.more {
                    return Ok(dropped.partitions.len());
                }
                pass.next_step();
                Ok(1)
            }
            Step::Remove(what, below, from) => {
                let slice = self.store.remove(what, below, from.max(pass.after)).await?;
                pass.left += slice.left;
                match slice.next {
                    Some(after) => pass.after = after,
                    None if pass.left > 0 => pass.begin_walk(),
                    None => pass.next_step(),
                }
                Ok(slice.rows.max(1))
            }
        }
    }

    /// Goes on only where nothing unfinished needs a payload that is about to go.
    async fn end_unfinished(&self, pass: &mut Pass) -> Result<usize> {
        let doomed = Doomed {
            from: 0,
            below: pass.cuts.payloads,
            tenant: None,
        };
        let walked = self
            .store
            .end_without_payload(doomed, pass.after, self.now())
            .await?;
        pass.left += walked.left;
        if let Some(after) = walked.next {
            pass.after = after;
            return Ok(1);
        }
        if pass.left > 0 || self.fans_out_below(pass.cuts.payloads).await? {
            pass.begin_walk();
            return Ok(0);
        }
        pass.next_step();
        Ok(1)
    }

    /// Does the fan-out of an event below the key go on?
    async fn fans_out_below(&self, key: i64) -> Result<bool> {
        let fanout = self.store.next_fanout().await?;
        Ok(fanout.is_some_and(|fanout| fanout.event.n() < key))
    }

    async fn erase(&self, purge: &mut Purge) -> Result<usize> {
        let Some(erasure) = self.store.next_erasure().await? else {
            return Ok(0);
        };
        let mut erasing = purge
            .erasing
            .filter(|known| known.erasure == erasure.n)
            .unwrap_or(Erasing {
                erasure: erasure.n,
                after: 0,
                left: 0,
                walked: false,
            });
        if erasing.walked {
            let slice = self.store.sweep_erased(self.by_server(), erasure).await?;
            purge.frees |= slice.next.is_none();
            return Ok(slice.rows.max(1));
        }
        let doomed = Doomed {
            from: erasure.event.unwrap_or(0),
            below: erasure.below,
            tenant: Some(erasure.tenant),
        };
        let walked = self
            .store
            .end_without_payload(doomed, erasing.after, self.now())
            .await?;
        erasing.left += walked.left;
        let mut done = 1;
        match walked.next {
            Some(after) => erasing.after = after,
            None if erasing.left > 0 => {
                (erasing.after, erasing.left) = (0, 0);
                done = 0;
            }
            None => erasing.walked = true,
        }
        purge.erasing = Some(erasing);
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_iso(text).unwrap()
    }

    #[test]
    fn a_day_goes_when_as_many_whole_days_have_passed_after_it() {
        let kept = Retention {
            payload_days: 2,
            attempt_days: 0,
        };
        let cuts = kept.cuts(at("2024-03-10T23:59:59.999Z"));
        assert_eq!(cuts.payloads, Id::least_key_at(at("2024-03-08T00:00:00Z")));
        assert_eq!((cuts.finished, cuts.whole()), (0, 0), "kept for ever");
        assert_eq!(kept.cuts(at("1970-01-01T12:00:00Z")).payloads, 0);
    }

    #[test]
    fn what_neither_age_keeps_goes_whole_without_losing_its_payload_first() {
        let steps = |payloads, finished| Vec::from(Pass::new(Cuts { payloads, finished }).steps);
        assert!(!steps(9, 9).contains(&Step::Remove(Removal::Payloads, 9, 9)));
        assert!(steps(9, 5).contains(&Step::Remove(Removal::Payloads, 9, 5)));
        assert!(steps(9, 5).contains(&Step::Remove(Removal::Events, 5, 0)));
        assert!(
            !steps(0, 5)
                .iter()
                .any(|step| matches!(step, Step::Remove(Removal::Events, ..)))
        );
        assert_eq!(steps(0, 0), [Step::Raise]);
    }
}
