//! How a connection behaves, and how long that is put up with.
//!
//! [`Conduct`] is told what happens on one connection (bytes came, a request began, a request ended) and says until
//! when the connection may go on like that ([`Conduct::judge`]). Nothing here reads a clock or touches a socket.
//!
//! hyper's own head timeout is not used: it runs from the end of the last answer, so that it could not be shorter
//! than the idle time between requests, and it is not running at all while hyper-util still decides whether the
//! connection speaks HTTP/1 or HTTP/2.

use tokio::time::Instant;

use super::limits::ListenLimits;

/// What one connection has done so far.
#[derive(Debug)]
pub(super) struct Conduct {
    /// When the current state began: the accept, the first request in flight, or the last end of a request.
    since: Instant,
    in_flight: usize,
    cancelled: usize,
    /// Whether any request has come.
    has_asked: bool,
    /// On HTTP/2 a byte between requests is as well a PING as the begin of a request.
    is_http2: bool,
    /// When the first byte of the next head came, after an idle time.
    head_begun: Option<Instant>,
    unasked_bytes: usize,
    /// When the connection was told to finish.
    retiring: Option<Instant>,
}

/// What follows from a connection's conduct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It may go on as it is until then.
    Until(Instant),
    /// It must finish what is in flight and take no new request.
    Retire(&'static str),
    /// It must go, for this reason.
    Drop(&'static str),
}

impl Conduct {
    pub(super) fn new(now: Instant) -> Self {
        Conduct {
            since: now,
            in_flight: 0,
            cancelled: 0,
            has_asked: false,
            is_http2: false,
            head_begun: None,
            unasked_bytes: 0,
            retiring: None,
        }
    }

    /// `count` bytes came from the client.
    pub(super) fn received(&mut self, count: usize, now: Instant) {
        if self.in_flight > 0 {
            return;
        }
        self.unasked_bytes = self.unasked_bytes.saturating_add(count);
        if self.has_asked && !self.is_http2 {
            self.head_begun.get_or_insert(now);
        }
    }

    /// A request's head is whole. Says whether its handler may run: not while the client's cancelled requests still
    /// occupy every stream, nor once it has cancelled far too many.
    pub(super) fn request_began(&mut self, is_http2: bool, limits: &ListenLimits, now: Instant) -> bool {
        if self.in_flight == 0 {
            self.since = now;
        }
        self.in_flight += 1;
        self.has_asked = true;
        self.is_http2 = is_http2;
        self.head_begun = None;
        self.unasked_bytes = 0;
        let streams_max = usize::try_from(limits.http2.streams_max).unwrap_or(usize::MAX);
        self.in_flight <= streams_max && self.cancelled < limits.cancelled_max.saturating_mul(2)
    }

    /// A request ended: answered whole, or cancelled by the client. Says whether it was the last in flight.
    pub(super) fn request_ended(&mut self, answered: bool, now: Instant) -> bool {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.cancelled += usize::from(!answered);
        self.since = now;
        self.in_flight == 0
    }

    /// The connection was told to finish; from now on its time is short.
    pub(super) fn retire(&mut self, now: Instant) {
        self.retiring.get_or_insert(now);
    }

    /// Judges the conduct at the time `now`.
    pub(super) fn judge(&self, limits: &ListenLimits, now: Instant) -> Standing {
        if self.cancelled >= limits.cancelled_max.saturating_mul(2) {
            return Standing::Drop("too many cancelled requests");
        }
        if self.unasked_bytes > limits.unasked_bytes_max {
            return Standing::Drop("too many bytes without a request");
        }
        if self.retiring.is_none() && self.cancelled >= limits.cancelled_max {
            return Standing::Retire("many cancelled requests");
        }
        if self.in_flight > 0 {
            return drop_from(self.since + limits.exchange_stall_max, now, "exchange stalled");
        }
        if let Some(retiring) = self.retiring {
            let last = retiring.max(self.since);
            return drop_from(last + limits.head_read_max, now, "did not finish when told to");
        }
        if let Some(begun) = self.head_begun {
            return drop_from(begun + limits.head_read_max, now, "head too slow");
        }
        if !self.has_asked {
            return drop_from(self.since + limits.head_read_max, now, "no request");
        }
        match self.since + limits.keep_alive_idle_max {
            deadline if deadline <= now => Standing::Retire("idle"),
            deadline => Standing::Until(deadline),
        }
    }
}

fn drop_from(deadline: Instant, now: Instant, reason: &'static str) -> Standing {
    if deadline <= now {
        Standing::Drop(reason)
    } else {
        Standing::Until(deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    fn begin() -> (Conduct, ListenLimits, Instant) {
        let t = Instant::now();
        (Conduct::new(t), ListenLimits::default(), t)
    }

    #[test]
    fn a_silent_newcomer_has_the_time_of_one_head() {
        let (mut conduct, limits, t) = begin();
        conduct.received(1, t + seconds(9));
        assert_eq!(
            conduct.judge(&limits, t + seconds(9)),
            Standing::Until(t + seconds(10))
        );
        assert_eq!(
            conduct.judge(&limits, t + seconds(10)),
            Standing::Drop("no request")
        );
    }

    #[test]
    fn between_requests_a_connection_may_be_idle_but_not_slow() {
        let (mut conduct, limits, t) = begin();
        conduct.request_began(false, &limits, t);
        assert!(conduct.request_ended(true, t));
        assert_eq!(
            conduct.judge(&limits, t + seconds(74)),
            Standing::Until(t + seconds(75))
        );
        assert_eq!(conduct.judge(&limits, t + seconds(75)), Standing::Retire("idle"));
        conduct.received(1, t + seconds(20));
        conduct.received(1, t + seconds(29));
        assert_eq!(
            conduct.judge(&limits, t + seconds(30)),
            Standing::Drop("head too slow")
        );
    }

    #[test]
    fn pings_between_requests_are_no_slow_head() {
        let (mut conduct, limits, t) = begin();
        conduct.request_began(true, &limits, t);
        conduct.request_ended(true, t);
        conduct.received(17, t + seconds(1));
        assert_eq!(
            conduct.judge(&limits, t + seconds(60)),
            Standing::Until(t + seconds(75))
        );
    }

    #[test]
    fn an_exchange_without_end_is_dropped() {
        let (mut conduct, limits, t) = begin();
        conduct.request_began(true, &limits, t);
        conduct.request_began(true, &limits, t + seconds(60));
        assert!(!conduct.request_ended(true, t + seconds(100)));
        assert_eq!(
            conduct.judge(&limits, t + seconds(120)),
            Standing::Until(t + seconds(220))
        );
        assert_eq!(
            conduct.judge(&limits, t + seconds(220)),
            Standing::Drop("exchange stalled")
        );
    }

    #[test]
    fn cancelling_many_requests_retires_and_then_drops_the_connection() {
        let (mut conduct, limits, t) = begin();
        for _ in 0..limits.cancelled_max {
            assert!(conduct.request_began(true, &limits, t));
            conduct.request_ended(false, t);
        }
        assert_eq!(
            conduct.judge(&limits, t),
            Standing::Retire("many cancelled requests")
        );
        conduct.retire(t);
        for _ in 0..limits.cancelled_max {
            assert!(conduct.request_began(true, &limits, t));
            conduct.request_ended(false, t);
        }
        assert!(
            !conduct.request_began(true, &limits, t),
            "no handler runs any more"
        );
        assert_eq!(
            conduct.judge(&limits, t),
            Standing::Drop("too many cancelled requests")
        );
    }

    #[test]
    fn bytes_that_ask_for_nothing_are_counted_until_a_request_comes() {
        let (mut conduct, limits, t) = begin();
        conduct.received(limits.unasked_bytes_max, t);
        conduct.request_began(true, &limits, t);
        conduct.request_ended(true, t);
        conduct.received(limits.unasked_bytes_max, t);
        assert!(matches!(conduct.judge(&limits, t), Standing::Until(_)));
        conduct.received(1, t);
        assert_eq!(
            conduct.judge(&limits, t),
            Standing::Drop("too many bytes without a request")
        );
    }

    #[test]
    fn who_retires_has_the_time_of_one_head_after_its_last_answer() {
        let (mut conduct, limits, t) = begin();
        conduct.request_began(true, &limits, t);
        conduct.retire(t);
        conduct.request_ended(true, t + seconds(5));
        assert_eq!(
            conduct.judge(&limits, t + seconds(5)),
            Standing::Until(t + seconds(15))
        );
        assert_eq!(
            conduct.judge(&limits, t + seconds(15)),
            Standing::Drop("did not finish when told to")
        );
    }
}
