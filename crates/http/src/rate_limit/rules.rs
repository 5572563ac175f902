//! What each contract documents: what is counted together, how much of it a key may do, and which headers say so.

use super::Asked;
use super::windows::{Bucket, Usage, WINDOW};
use crate::app::App;
use crate::problem::whole_seconds;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::fmt::Debug;
use std::num::NonZeroU32;

const X_RATELIMIT_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_RATELIMIT_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RATELIMIT_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How many requests one key may make in any 60 seconds, contract by contract; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestQuotas {
    /// All requests of contract organization together.
    pub organization: Option<NonZeroU32>,
    /// The same for a key of a sandbox project.
    pub organization_sandbox: Option<NonZeroU32>,
    /// Each operation of contract subscriptions.
    pub subscriptions: Option<NonZeroU32>,
    /// Its PATCH.
    pub subscriptions_patch: Option<NonZeroU32>,
    /// All requests of contract v1 together.
    pub v1: Option<NonZeroU32>,
    /// All requests of contract apps together.
    pub apps: Option<NonZeroU32>,
}

impl Default for RequestQuotas {
    /// As the contracts document them.
    fn default() -> Self {
        Self {
            organization: NonZeroU32::new(100),
            organization_sandbox: NonZeroU32::new(500),
            subscriptions: NonZeroU32::new(50),
            subscriptions_patch: NonZeroU32::new(100),
            v1: None,
            apps: None,
        }
    }
}

/// How a contract limits requests.
pub trait Rule: Debug + Sync {
    /// Is there anything to limit, as the operator set it?
    fn is_set(&self, quotas: &RequestQuotas) -> bool;

    /// The most requests in any 60 seconds; `None` is no limit.
    fn quota(&self, app: &App, asked: &Asked<'_>) -> Option<NonZeroU32>;

    /// What this request is counted with.
    fn bucket(&self, asked: &Asked<'_>) -> Bucket;

    /// Says in an answer's headers how the key stands.
    fn tell(&self, usage: &Usage, headers: &mut HeaderMap);
}

/// Contract organization: everything together, and more of it in a sandbox.
pub static ORGANIZATION: &dyn Rule = &Organization;
/// Contract subscriptions: each operation by itself.
pub static SUBSCRIPTIONS: &dyn Rule = &Subscriptions;
/// Contract v1: everything together, if the operator wants a limit at all.
pub static V1: &dyn Rule = &Undocumented {
    contract: "v1",
    quota: |quotas| quotas.v1,
};
/// Contract apps: the same.
pub static APPS: &dyn Rule = &Undocumented {
    contract: "apps",
    quota: |quotas| quotas.apps,
};

#[derive(Debug)]
struct Organization;

impl Rule for Organization {
    fn is_set(&self, quotas: &RequestQuotas) -> bool {
        quotas.organization.is_some() || quotas.organization_sandbox.is_some()
    }

    fn quota(&self, app: &App, asked: &Asked<'_>) -> Option<NonZeroU32> {
        let quotas = &app.settings().request_quotas;
        // A root key is of no project: it has the ordinary quota, wherever it acts.
        let project = app.engine().project_of(asked.key);
        if project.is_some_and(|project| project.sandbox) {
            quotas.organization_sandbox
        } else {
            quotas.organization
        }
    }

    fn bucket(&self, _: &Asked<'_>) -> Bucket {
        "organization".into()
    }

    fn tell(&self, usage: &Usage, headers: &mut HeaderMap) {
        tell_limit_and_remaining(usage, headers);
        let resets_at = usage.at.plus(usage.resets_in).micros();
        let seconds = u64::try_from(resets_at).unwrap_or(0).div_ceil(1_000_000);
        headers.insert(X_RATELIMIT_RESET, seconds.into());
    }
}

#[derive(Debug)]
struct Subscriptions;

impl Rule for Subscriptions {
    fn is_set(&self, quotas: &RequestQuotas) -> bool {
        quotas.subscriptions.is_some() || quotas.subscriptions_patch.is_some()
    }

    fn quota(&self, app: &App, asked: &Asked<'_>) -> Option<NonZeroU32> {
        let quotas = &app.settings().request_quotas;
        if asked.method == Method::PATCH {
            quotas.subscriptions_patch
        } else {
            quotas.subscriptions
        }
    }

    fn bucket(&self, asked: &Asked<'_>) -> Bucket {
        format!("{} {}", asked.method, asked.path).into()
    }

    fn tell(&self, usage: &Usage, headers: &mut HeaderMap) {
        tell_limit_and_remaining(usage, headers);
        let (limit, remaining) = (usage.limit, usage.remaining);
        let resets_in = whole_seconds(usage.resets_in);
        let window = WINDOW.as_secs();
        insert(
            headers,
            RATELIMIT,
            format!("\"default\";r={remaining};t={resets_in}"),
        );
        insert(
            headers,
            RATELIMIT_POLICY,
            format!("\"default\";q={limit};w={window}"),
        );
    }
}

/// A contract that documents no limit, and so no headers either.
#[derive(Debug)]
struct Undocumented {
    contract: &'static str,
    quota: fn(&RequestQuotas) -> Option<NonZeroU32>,
}

impl Rule for Undocumented {
    fn is_set(&self, quotas: &RequestQuotas) -> bool {
        (self.quota)(quotas).is_some()
    }

    fn quota(&self, app: &App, _: &Asked<'_>) -> Option<NonZeroU32> {
        (self.quota)(&app.settings().request_quotas)
    }

    fn bucket(&self, _: &Asked<'_>) -> Bucket {
        self.contract.into()
    }

    fn tell(&self, _: &Usage, _: &mut HeaderMap) {}
}

fn tell_limit_and_remaining(usage: &Usage, headers: &mut HeaderMap) {
    headers.insert(X_RATELIMIT_LIMIT, usage.limit.into());
    headers.insert(X_RATELIMIT_REMAINING, usage.remaining.into());
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: String) {
    // Quotes, letters and digits always are a header's value.
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use stentor_domain::Timestamp;

    const SECOND: Duration = Duration::from_secs(1);

    fn told(rule: &dyn Rule, usage: &Usage) -> Vec<String> {
        let mut headers = HeaderMap::new();
        rule.tell(usage, &mut headers);
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    fn usage(limit: u32, remaining: u32, resets_in: Duration) -> Usage {
        Usage {
            limit,
            remaining,
            at: Timestamp::from_seconds(1_700_000_000),
            resets_in,
            admitted: Ok(()),
        }
    }

    #[test]
    fn subscriptions_tells_in_two_ways() {
        assert_eq!(
            told(SUBSCRIPTIONS, &usage(50, 49, WINDOW)),
            [
                "ratelimit-policy: \"default\";q=50;w=60",
                "ratelimit: \"default\";r=49;t=60",
                "x-ratelimit-limit: 50",
                "x-ratelimit-remaining: 49",
            ]
        );
    }

    #[test]
    fn organization_tells_when_the_oldest_request_leaves() {
        assert_eq!(
            told(ORGANIZATION, &usage(500, 0, WINDOW)),
            [
                "x-ratelimit-limit: 500",
                "x-ratelimit-remaining: 0",
                "x-ratelimit-reset: 1700000060",
            ]
        );
    }

    #[test]
    fn what_is_left_of_a_second_is_a_second() {
        let started = told(
            SUBSCRIPTIONS,
            &usage(50, 0, 59 * SECOND + Duration::from_micros(1)),
        );
        assert_eq!(started[1], "ratelimit: \"default\";r=0;t=60");
        let whole = told(SUBSCRIPTIONS, &usage(50, 0, 59 * SECOND));
        assert_eq!(whole[1], "ratelimit: \"default\";r=0;t=59");
        let started = told(ORGANIZATION, &usage(100, 0, Duration::from_micros(1)));
        assert_eq!(started[2], "x-ratelimit-reset: 1700000001");
    }

    #[test]
    fn contracts_without_a_documented_limit_tell_nothing_and_have_none_unless_it_is_set() {
        assert!(told(V1, &usage(5, 4, WINDOW)).is_empty());
        let quotas = RequestQuotas::default();
        assert!(!V1.is_set(&quotas) && !APPS.is_set(&quotas));
        assert!(ORGANIZATION.is_set(&quotas) && SUBSCRIPTIONS.is_set(&quotas));
        let quotas = RequestQuotas {
            apps: NonZeroU32::new(1),
            ..quotas
        };
        assert!(!V1.is_set(&quotas) && APPS.is_set(&quotas));
    }
}
