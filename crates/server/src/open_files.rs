//! The limit of open files: raised at the start, and shared out between clients and receivers, so that a busy server
//! turns clients away rather than failing to open its own database.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For the database and its readers, the listener, the log and name lookups.
const RESERVED: u64 = 64;
/// A request to a receiver holds one socket, and the pool may keep as many idle.
const SOCKETS_PER_REQUEST: u64 = 2;
/// Clients connected at once when nothing was configured, however many files may be open: bounds their memory.
const CONNECTIONS_DEFAULT_MAX: usize = 8_192;

/// Raises the soft limit of open files to the hard one and returns what is in force then. What cannot be raised stays.
pub(crate) fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    );
    // No number means no limit.
    (if raised.is_ok() { maximum } else { current }).unwrap_or(u64::MAX)
}

/// How many sockets the two sides of the server may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Clients connected at once.
    pub(crate) connections_max: usize,
    /// Requests to receivers under way at once.
    pub(crate) in_flight_max: usize,
}

/// Shares `open_files` out: what is reserved first, then the requests in flight as configured but at most half of the
/// rest, then the clients: as configured (`None`: a default ceiling), but at most what is left. Neither is ever zero.
pub(crate) fn share(open_files: u64, connections_max: Option<usize>, in_flight_max: usize) -> Sockets {
    let available = open_files.saturating_sub(RESERVED);
    let in_flight_max = in_flight_max
        .min(count(available / 2 / SOCKETS_PER_REQUEST))
        .max(1);
    let outgoing = u64::try_from(in_flight_max)
        .unwrap_or(u64::MAX)
        .saturating_mul(SOCKETS_PER_REQUEST);
    let left = count(available.saturating_sub(outgoing));
    Sockets {
        connections_max: connections_max
            .unwrap_or(CONNECTIONS_DEFAULT_MAX)
            .min(left)
            .max(1),
        in_flight_max,
    }
}

fn count(files: u64) -> usize {
    usize::try_from(files).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(open_files: u64, connections_max: Option<usize>, in_flight_max: usize) -> (usize, usize) {
        let sockets = share(open_files, connections_max, in_flight_max);
        (sockets.connections_max, sockets.in_flight_max)
    }

    #[test]
    fn many_open_files_give_what_was_configured() {
        assert_eq!(shared(1_048_576, None, 512), (CONNECTIONS_DEFAULT_MAX, 512));
        assert_eq!(shared(1_048_576, Some(100_000), 512), (100_000, 512));
        assert_eq!(shared(u64::MAX, Some(10), 1), (10, 1));
    }

    #[test]
    fn few_open_files_are_shared_so_that_the_sum_fits() {
        // 256 less 64 is 192: at most 96 for 48 requests, the other 96 for clients.
        assert_eq!(shared(256, None, 512), (96, 48));
        assert_eq!(shared(256, Some(1_000), 512), (96, 48));
        assert_eq!(shared(256, Some(20), 10), (20, 10));
        assert_eq!(shared(256, None, 10), (172, 10));
    }

    #[test]
    fn hardly_any_open_files_still_leave_one_of_each() {
        assert_eq!(shared(0, None, 512), (1, 1));
        assert_eq!(shared(RESERVED + 1, Some(5), 512), (1, 1));
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise_limit();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!((current, maximum.unwrap_or(u64::MAX)), (maximum, limit));
    }
}
