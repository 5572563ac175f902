//! Instants and who tells them.

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
        self.render(".%3f")
    }

    /// ISO 8601 in UTC with whole seconds, as the published endpoint resource shows it: `2024-01-01T00:00:00Z`.
    pub fn iso_seconds(self) -> String {
        self.render("")
    }

    fn render(self, fraction: &str) -> String {
        let (least, most) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let micros = self.0.clamp(least.as_microsecond(), most.as_microsecond());
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap_or_default();
        instant
            .strftime(&format!("%Y-%m-%dT%H:%M:%S{fraction}Z"))
            .to_string()
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
