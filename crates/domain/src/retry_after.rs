//! The `Retry-After` of an answer (RFC 9110, section 10.2.3): seconds or an HTTP date, and any garbage survived.

use crate::Timestamp;
use crate::limits::RETRY_AFTER_MAX;
use std::time::Duration;

/// The wait that a `Retry-After` value asks for, seen at `now`; capped at 24 h. `None` where it says nothing usable: an
/// unreadable value, or a date that has passed.
pub fn parse(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are more than the cap in any case.
        let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
        return Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let wait = Timestamp::EPOCH.plus(since_epoch).since(now);
    (wait > Duration::ZERO).then(|| wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_445_412_000); // Wed, 21 Oct 2015 07:20:00 GMT

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(parse("120", NOW), Some(Duration::from_secs(120)));
        assert_eq!(parse(" 0 ", NOW), Some(Duration::ZERO));
        assert_eq!(
            parse("Wed, 21 Oct 2015 07:28:00 GMT", NOW),
            Some(Duration::from_secs(480))
        );
        assert_eq!(parse("Wed, 21 Oct 2015 07:00:00 GMT", NOW), None);
    }

    #[test]
    fn a_day_is_the_most() {
        for far in [
            "86401",
            "99999999999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(parse(far, NOW), Some(RETRY_AFTER_MAX), "{far}");
        }
    }

    #[test]
    fn garbage_asks_for_nothing() {
        for garbage in [
            "",
            "-1",
            "1.5",
            "soon",
            "1e3",
            "٣",
            "Wed, 99 Oct 2015 07:28:00 GMT",
        ] {
            assert_eq!(parse(garbage, NOW), None, "{garbage}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_or_exceeds_a_day(value in "\\PC{0,60}", now in any::<i64>()) {
            prop_assert!(parse(&value, Timestamp::from_micros(now)).is_none_or(|wait| wait <= RETRY_AFTER_MAX));
        }
    }
}
