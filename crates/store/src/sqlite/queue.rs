//! What waits for the writer thread: bounded by the callers (each waits for its answer), taken in groups. Beside it waits what
//! nobody is in a hurry for, until there is much of it or it has waited for long enough, so that a commit of its own is worth its
//! price; and slices of background work, which are taken when nothing else waits.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;
use std::time::Duration;

/// How many unhurried items wait at the most before they are taken.
const UNHURRIED_MAX: usize = 512;
/// How long the first of them waits. A process that dies meanwhile repeats what they tell of, as it does with everything that was
/// sent and not recorded.
const UNHURRIED_WAIT: Duration = Duration::from_millis(20);

/// A queue with one taker that sleeps while there is nothing to take.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    unhurried: VecDeque<T>,
    /// When the first of the unhurried came, by the monotonic clock.
    unhurried_since: Duration,
    background: VecDeque<T>,
    closed: bool,
}

impl<T> State<T> {
    /// How long the unhurried may still wait; `None` where there are none.
    fn unhurried_for(&self, now: Duration) -> Option<Duration> {
        if self.unhurried.is_empty() {
            return None;
        }
        let waited = now.saturating_sub(self.unhurried_since);
        let due = self.closed || self.unhurried.len() >= UNHURRIED_MAX;
        Some(if due {
            Duration::ZERO
        } else {
            UNHURRIED_WAIT.saturating_sub(waited)
        })
    }
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                unhurried: VecDeque::new(),
                unhurried_since: Duration::ZERO,
                background: VecDeque::new(),
                closed: false,
            }),
            filled: Condvar::new(),
        }
    }

    /// Puts `item` last; gives it back where the queue is closed.
    pub(crate) fn push(&self, item: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(item);
        }
        state.waiting.push_back(item);
        // The taker looks again before it sleeps, so that only an empty queue needs a wake.
        if state.waiting.len() == 1 {
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Puts `item` at `now` among those that nobody is in a hurry for; gives it back where the queue is closed.
    pub(crate) fn push_unhurried(&self, item: T, now: Duration) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(item);
        }
        state.unhurried.push_back(item);
        match state.unhurried.len() {
            1 => state.unhurried_since = now,
            UNHURRIED_MAX => {}
            _ => return Ok(()),
        }
        self.filled.notify_one();
        Ok(())
    }

    /// Puts a slice of background work last among its like; gives it back where the queue is closed.
    pub(crate) fn push_background(&self, slice: T) -> Result<(), T> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(slice);
        }
        state.background.push_back(slice);
        self.filled.notify_one();
        Ok(())
    }

    /// The next slice of background work, where nothing else waits, or it is `overdue`.
    pub(crate) fn take_background(&self, overdue: bool) -> Option<T> {
        let mut state = self.state.lock();
        if state.waiting.is_empty() || overdue {
            state.background.pop_front()
        } else {
            None
        }
    }

    /// Moves everything that waits to the end of `into`: the unhurried once they have waited for long enough, and no background
    /// work. Where there is nothing at all and `into` is empty, sleeps until there is. `now` asks the monotonic clock. `false` once
    /// the queue is closed and empty.
    pub(crate) fn take_all(&self, into: &mut VecDeque<T>, now: impl Fn() -> Duration) -> bool {
        let mut state = self.state.lock();
        loop {
            let may_wait = state.unhurried_for(now());
            if may_wait == Some(Duration::ZERO) {
                into.append(&mut state.unhurried);
            }
            into.append(&mut state.waiting);
            if !into.is_empty() || !state.background.is_empty() {
                return true;
            }
            match may_wait {
                None if state.closed => return false,
                None => self.filled.wait(&mut state),
                Some(rest) => {
                    // Whatever the clock says: in a world whose clock stands still, it would never come to an end.
                    if self.filled.wait_for(&mut state, rest).timed_out() {
                        into.append(&mut state.unhurried);
                    }
                }
            }
        }
    }

    /// Takes no more; what waits is still taken.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(60);

    #[test]
    fn background_work_comes_when_nothing_else_waits_or_it_is_overdue() {
        let (queue, mut taken) = (Queue::new(), VecDeque::new());
        queue.push_background("slice").unwrap();
        queue.push_background("another").unwrap();
        queue.push("publish").unwrap();
        assert_eq!(queue.take_background(false), None);
        assert_eq!(queue.take_background(true), Some("slice"));
        assert!(queue.take_all(&mut taken, || NOW));
        assert_eq!(taken, ["publish"]);
        assert_eq!(queue.take_background(false), Some("another"));
    }

    #[test]
    fn background_work_wakes_the_taker_and_is_done_before_the_end() {
        let (queue, mut taken) = (Queue::new(), VecDeque::new());
        queue.push_background("slice").unwrap();
        queue.close();
        assert!(queue.take_all(&mut taken, || NOW), "something is left");
        assert!(taken.is_empty());
        assert_eq!(queue.take_background(false), Some("slice"));
        assert!(!queue.take_all(&mut taken, || NOW));
        assert_eq!(queue.push_background("late"), Err("late"));
    }

    #[test]
    fn the_unhurried_wait_for_each_other_or_until_their_time_is_over() {
        let (queue, mut taken) = (Queue::new(), VecDeque::new());
        queue.push_unhurried("record", NOW).unwrap();
        queue.push("publish").unwrap();
        assert!(queue.take_all(&mut taken, || NOW));
        assert_eq!(taken, ["publish"]);
        taken.clear();
        queue.push("another publish").unwrap();
        assert!(queue.take_all(&mut taken, || NOW + UNHURRIED_WAIT));
        assert_eq!(taken, ["record", "another publish"]);
        taken.clear();

        for _ in 0..UNHURRIED_MAX {
            queue.push_unhurried("record", NOW).unwrap();
        }
        assert!(queue.take_all(&mut taken, || NOW));
        assert_eq!(taken.len(), UNHURRIED_MAX);
    }

    #[test]
    fn the_unhurried_are_taken_in_the_end_whatever_the_clock_says() {
        let (queue, mut taken) = (Queue::new(), VecDeque::new());
        queue.push_unhurried("record", NOW).unwrap();
        assert!(queue.take_all(&mut taken, || NOW), "after a wait");
        assert_eq!(taken, ["record"]);
        taken.clear();
        queue.push_unhurried("the last", NOW).unwrap();
        queue.close();
        assert!(queue.take_all(&mut taken, || NOW));
        assert_eq!(taken, ["the last"]);
        taken.clear();
        assert!(!queue.take_all(&mut taken, || NOW));
        assert_eq!(queue.push_unhurried("late", NOW), Err("late"));
    }
}
