//! What waits for the writer thread: bounded by the callers (each waits for its answer), taken in groups. Slices of background
//! work wait apart, and are taken when nothing else waits.

use parking_lot::{Condvar, Mutex};
use std::collections::VecDeque;

/// A queue with one taker that sleeps while it is empty.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    background: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
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

    /// Moves everything that waits, but for background work, to the end of `into`; where nothing at all waits and `into` is
    /// empty, sleeps until something does. `false` once the queue is closed and empty.
    pub(crate) fn take_all(&self, into: &mut VecDeque<T>) -> bool {
        let mut state = self.state.lock();
        while state.waiting.is_empty() && state.background.is_empty() && into.is_empty() {
            if state.closed {
                return false;
            }
            self.filled.wait(&mut state);
        }
        into.append(&mut state.waiting);
        true
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

    #[test]
    fn background_work_comes_when_nothing_else_waits_or_it_is_overdue() {
        let (queue, mut taken) = (Queue::new(), VecDeque::new());
        queue.push_background("slice").unwrap();
        queue.push_background("another").unwrap();
        queue.push("publish").unwrap();
        assert_eq!(queue.take_background(false), None);
        assert_eq!(queue.take_background(true), Some("slice"));
        assert!(queue.take_all(&mut taken));
        assert_eq!(taken, ["publish"]);
        assert_eq!(queue.take_background(false), Some("another"));
    }

    #[test]
    fn background_work_wakes_the_taker_and_is_done_before_the_end() {
        let (queue, mut taken) = (Queue::new(), VecDeque::new());
        queue.push_background("slice").unwrap();
        queue.close();
        assert!(queue.take_all(&mut taken), "something is left");
        assert!(taken.is_empty());
        assert_eq!(queue.take_background(false), Some("slice"));
        assert!(!queue.take_all(&mut taken));
        assert_eq!(queue.push_background("late"), Err("late"));
    }
}
