//! Statistics of endpoints and tenants: which buckets a question means, and who may ask it.

use crate::endpoints::Which;
use crate::error::{Error, Result};
use crate::{Caller, Engine};
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::limits::{STATS_DAYS_MAX, STATS_HOURS_MAX};
use stentor_domain::stats::{Counts, HOURS_PER_DAY, Hour};
use stentor_store::period::Period;
use stentor_store::stats::StatsOf;

/// The span of time that is meant where a question names none.
const SPAN: Duration = Duration::from_secs(24 * 3_600);

/// How long each bucket is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bucket {
    /// An hour of UTC.
    #[default]
    Hour,
    /// A day of UTC.
    Day,
}

impl Bucket {
    /// The word that contracts show.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// The bucket that `word` names.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Hour, Self::Day]
            .into_iter()
            .find(|one| one.as_str() == word)
    }

    const fn hours(self) -> u32 {
        match self {
            Self::Hour => 1,
            Self::Day => HOURS_PER_DAY,
        }
    }

    const fn most(self) -> u32 {
        match self {
            Self::Hour => STATS_HOURS_MAX,
            Self::Day => STATS_DAYS_MAX,
        }
    }
}

/// What was counted of the deliveries that were accepted in a span of whole buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// How long each bucket is.
    pub bucket: Bucket,
    /// Where the first one begins.
    pub since: Timestamp,
    /// Where the last one ends.
    pub until: Timestamp,
    /// All of them together.
    pub totals: Counts,
    /// Each with its begin, the oldest first; those in which nothing was accepted too.
    pub buckets: Vec<(Timestamp, Counts)>,
}

/// A span of whole buckets, as places of buckets since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    bucket: Bucket,
    first: u32,
    /// The one after the last.
    end: u32,
}

impl Span {
    /// The buckets that a period touches.
    fn of(period: Period, bucket: Bucket, now: Timestamp) -> Result<Self> {
        let until = period.until.unwrap_or(now);
        let since = period.since.unwrap_or_else(|| until.minus(SPAN));
        if since >= until {
            let (field, rule) = match period.until {
                Some(_) => ("until", "must be after `since`"),
                None => ("since", "must be in the past"),
            };
            return Err(Error::invalid(field, rule));
        }
        // Exclusive: an instant at which a bucket begins is not in it.
        let last = Hour::of(until.minus(Duration::from_micros(1))).0 / bucket.hours();
        let span = Self {
            bucket,
            first: Hour::of(since).0 / bucket.hours(),
            end: last.saturating_add(1),
        };
        if span.end - span.first > bucket.most() {
            let (most, unit) = (bucket.most(), bucket.as_str());
            let rule = format!("must be at most {most} buckets of one {unit} before `until`");
            return Err(Error::invalid("since", rule));
        }
        Ok(span)
    }

    /// Where the bucket at this place begins.
    fn hour(self, place: u32) -> Hour {
        Hour(place.saturating_mul(self.bucket.hours()))
    }
}

impl Engine {
    /// What was counted of an endpoint's deliveries.
    pub async fn endpoint_stats<'a>(
        &self,
        caller: &Caller,
        which: impl Into<Which<'a>>,
        period: Period,
        bucket: Bucket,
    ) -> Result<Stats> {
        let id = self.endpoint(caller, which)?.endpoint.id;
        self.stats(StatsOf::Endpoint(id), period, bucket).await
    }

    /// What was counted of the deliveries of all endpoints of a tenant, deleted ones too. A tenant's own key may ask.
    pub async fn tenant_stats(
        &self,
        caller: &Caller,
        named: &str,
        period: Period,
        bucket: Bucket,
    ) -> Result<Stats> {
        let id = self.tenant_in_path(caller, named)?.id;
        self.stats(StatsOf::Tenant(id), period, bucket).await
    }

    async fn stats(&self, of: StatsOf, period: Period, bucket: Bucket) -> Result<Stats> {
        let span = Span::of(period, bucket, self.now())?;
        let hours = span.hour(span.first)..span.hour(span.end);
        let mut buckets: Vec<(Timestamp, Counts)> = (span.first..span.end)
            .map(|place| (span.hour(place).start(), Counts::default()))
            .collect();
        let mut totals = Counts::default();
        for (hour, counts) in self.store.stats(of, hours.clone()).await? {
            let place = usize::try_from(hour.0 / bucket.hours() - span.first).unwrap_or(usize::MAX);
            if let Some((_, into)) = buckets.get_mut(place) {
                into.add(&counts);
                totals.add(&counts);
            }
        }
        Ok(Stats {
            bucket,
            since: hours.start.start(),
            until: hours.end.start(),
            totals,
            buckets,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_iso(text).unwrap()
    }

    fn span(since: Option<&str>, until: Option<&str>, bucket: Bucket) -> Result<(String, String)> {
        let period = Period {
            since: since.map(at),
            until: until.map(at),
        };
        let span = Span::of(period, bucket, at("2024-03-02T10:20:00Z"))?;
        let shown = |place| span.hour(place).start().iso_seconds();
        Ok((shown(span.first), shown(span.end)))
    }

    #[test]
    fn a_span_is_widened_to_whole_buckets() {
        let told = |since: &str, until: &str| (since.to_owned(), until.to_owned());
        assert_eq!(
            span(None, None, Bucket::Hour).unwrap(),
            told("2024-03-01T10:00:00Z", "2024-03-02T11:00:00Z")
        );
        assert_eq!(
            span(None, None, Bucket::Day).unwrap(),
            told("2024-03-01T00:00:00Z", "2024-03-03T00:00:00Z")
        );
        let whole = (Some("2024-03-01T10:00:00Z"), Some("2024-03-01T11:00:00Z"));
        assert_eq!(
            span(whole.0, whole.1, Bucket::Hour).unwrap(),
            told("2024-03-01T10:00:00Z", "2024-03-01T11:00:00Z")
        );
    }

    #[test]
    fn a_span_that_ends_before_it_begins_or_is_too_long_is_refused() {
        let field = |result: Result<_>| match result {
            Err(Error::Invalid(faults)) => faults.first().map(|fault| fault.field.clone()),
            _ => None,
        };
        let (early, late) = (Some("2024-03-01T10:00:00Z"), Some("2024-03-01T11:00:00Z"));
        assert_eq!(field(span(late, early, Bucket::Hour)).as_deref(), Some("until"));
        assert_eq!(field(span(early, early, Bucket::Hour)).as_deref(), Some("until"));
        let future = Some("2030-01-01T00:00:00Z");
        assert_eq!(field(span(future, None, Bucket::Hour)).as_deref(), Some("since"));
        let long_ago = Some("2023-12-01T00:00:00Z");
        assert_eq!(
            field(span(long_ago, None, Bucket::Hour)).as_deref(),
            Some("since")
        );
        assert!(span(long_ago, None, Bucket::Day).is_ok());
    }
}
