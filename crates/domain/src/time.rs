//! Instants and who tells them.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::fmt;
use std::time::Duration;

/// An instant: microseconds since the Unix epoch, in UTC. What the database stores and every rule compares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the Unix epoch; saturates at the ends of the range.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant `wait` later; saturates rather than overflows, so that no schedule can wrap round.
    pub fn plus(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// This instant `wait` earlier; saturates.
    pub fn minus(self, wait: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)),
        )
    }

    /// The time from `earlier` to this instant; zero where `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The instant that an ISO 8601 text with an offset or `Z` names, or `None`.
    pub fn parse_iso(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(|t| Self(t.as_microsecond()))
    }

    /// ISO 8601 in UTC with milliseconds, as most contracts show it: `2024-01-01T00:00:00.000Z`.
    pub fn iso_millis(self) -> String {
        let time = self.civil();
        let mut text = to_the_second(time);
        text.push('.');
        push_digits(&mut text, time.millisecond(), 3);
        text.push('Z');
        text
    }

    /// ISO 8601 in UTC with whole seconds, as the published endpoint resource shows it: `2024-01-01T00:00:00Z`.
    pub fn iso_seconds(self) -> String {
        let mut text = to_the_second(self.civil());
        text.push('Z');
        text
    }

    fn civil(self) -> DateTime {
        let (least, most) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let micros = self.0.clamp(least.as_microsecond(), most.as_microsecond());
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
        Offset::UTC.to_datetime(instant)
    }
}

/// Written digit by digit: each event that is accepted shows an instant, and a formatter that reads a pattern first costs
/// as much as the rest of the answer.
fn to_the_second(time: DateTime) -> String {
    let mut text = String::with_capacity("-2024-01-01T00:00:00.000Z".len());
    match time.year() {
        year @ 0.. => push_digits(&mut text, year, 4),
        before @ ..0 => text.push_str(&format!("{before:04}")),
    }
    for (before, part) in [
        ('-', time.month()),
        ('-', time.day()),
        ('T', time.hour()),
        (':', time.minute()),
        (':', time.second()),
    ] {
        text.push(before);
        push_digits(&mut text, part.into(), 2);
    }
    text
}

/// The last `count` decimal digits of a number that is not negative.
fn push_digits(text: &mut String, number: i16, count: u32) {
    for place in (0..count).rev() {
        let digit = u8::try_from(number / 10_i16.pow(place) % 10).unwrap_or(0);
        text.push(char::from(b'0' + digit));
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.iso_millis())
    }
}

/// Who tells the time. The server's is the system clock, the tests' stands still until it is stepped.
pub trait Clock: Send + Sync + 'static {
    /// The present instant by the wall clock; it may step backwards when the machine's clock is set.
    fn now(&self) -> Timestamp;

    /// The time since a fixed point of this process' life; never steps back. For measuring how long something took.
    fn monotonic(&self) -> Duration;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_shown_in_utc_with_the_precision_of_the_contract() {
        let t = Timestamp::from_micros(1_704_067_200_123_456);
        assert_eq!(t.iso_millis(), "2024-01-01T00:00:00.123Z");
        assert_eq!(t.iso_seconds(), "2024-01-01T00:00:00Z");
        assert_eq!(Timestamp::parse_iso("2024-01-01T01:00:00.123456+01:00"), Some(t));
        assert_eq!(Timestamp::parse_iso("yesterday"), None);
    }

    /// As a general formatter writes it.
    fn formatted(t: Timestamp, pattern: &str) -> String {
        let (least, most) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let micros = t.0.clamp(least.as_microsecond(), most.as_microsecond());
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
        instant.strftime(pattern).to_string()
    }

    proptest::proptest! {
        #[test]
        fn an_instant_is_written_as_a_general_formatter_does(
            micros in proptest::prop_oneof![
                proptest::prelude::any::<i64>(),
                -400_000_000_000_000_000..400_000_000_000_000_000_i64,
                -2_000_000..2_000_000_i64,
            ]
        ) {
            let t = Timestamp::from_micros(micros);
            proptest::prop_assert_eq!(t.iso_millis(), formatted(t, "%Y-%m-%dT%H:%M:%S.%3fZ"));
            proptest::prop_assert_eq!(t.iso_seconds(), formatted(t, "%Y-%m-%dT%H:%M:%SZ"));
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(
            Timestamp::from_micros(i64::MAX).plus(Duration::MAX).micros(),
            i64::MAX
        );
        assert_eq!(Timestamp::EPOCH.since(Timestamp::from_micros(5)), Duration::ZERO);
        assert!(!Timestamp::from_micros(i64::MAX).iso_millis().is_empty());
    }
}
