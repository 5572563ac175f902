//! When `accept` fails: which failures are the client's, and how to wait out the others without spinning.

use std::io;
use std::time::Duration;

/// The first and the longest wait after a failed accept.
const WAIT_MIN: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Accepts in a row that end an episode. At the edge of a limit failures and successes alternate; were every success
/// an end, every failure would be logged.
const ACCEPTS_TO_RECOVER: u32 = 100;

/// The run of failures of our own that the accept loop is in, if any: no file descriptor left (EMFILE, ENFILE), no
/// memory. The kernel keeps the client queued and reports readiness at once again, so that a loop without a wait
/// would spin.
#[derive(Debug, Default)]
pub(super) struct Episode {
    /// How many accepts are still needed to end the episode; 0 outside one.
    accepts_to_go: u32,
    /// The wait after the last failure, if no accept has succeeded since.
    last_wait: Option<Duration>,
}

impl Episode {
    /// A connection was accepted.
    pub(super) fn accepted(&mut self) {
        self.last_wait = None;
        if self.accepts_to_go > 0 {
            self.accepts_to_go -= 1;
            if self.accepts_to_go == 0 {
                tracing::info!("connections are accepted again");
            }
        }
    }

    /// Says how long to wait before the next accept; `None` if only that one client was lost. The first failure of an
    /// episode is logged, the others are not.
    pub(super) fn failed(&mut self, error: &io::Error) -> Option<Duration> {
        if is_the_clients(error) {
            return None;
        }
        if self.accepts_to_go == 0 {
            tracing::error!(%error, "cannot accept connections; waiting ones are closed and it is tried again");
        }
        self.accepts_to_go = ACCEPTS_TO_RECOVER;
        let wait = self
            .last_wait
            .map_or(WAIT_MIN, |last| last.saturating_mul(2).min(WAIT_MAX));
        self.last_wait = Some(wait);
        Some(wait)
    }
}

/// A client that went away between its handshake and our accept.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// EMFILE on Linux and the BSDs.
    const TOO_MANY_OPEN_FILES: i32 = 24;

    #[test]
    fn waits_double_up_to_a_second_and_begin_anew_after_a_success() {
        let mut episode = Episode::default();
        let error = io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
        let waits: Vec<u128> = (0..10)
            .map(|_| episode.failed(&error).unwrap().as_millis())
            .collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        episode.accepted();
        assert_eq!(episode.failed(&error), Some(WAIT_MIN));
    }

    #[test]
    fn an_episode_lasts_until_many_accepts_in_a_row_succeed() {
        let mut episode = Episode::default();
        let error = io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
        episode.failed(&error);
        episode.accepted();
        episode.failed(&error);
        assert_eq!(episode.accepts_to_go, ACCEPTS_TO_RECOVER, "the same episode");
        (0..ACCEPTS_TO_RECOVER).for_each(|_| episode.accepted());
        assert_eq!(episode.accepts_to_go, 0);
    }

    #[test]
    fn a_client_that_went_away_costs_no_wait() {
        assert_eq!(
            Episode::default().failed(&io::ErrorKind::ConnectionAborted.into()),
            None
        );
    }
}
