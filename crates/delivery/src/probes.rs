//! Probes of hosts that cannot be reached: the parked endpoints on one dead host share them. A pure structure.
//!
//! One endpoint at a time is probed. While its probe is out, and until its own next one where that fails, the others need
//! not ask what is known already. Once the host answers it, all of them may be probed, each for itself: the host is there,
//! which says nothing of each of them.

use std::collections::HashMap;
use std::time::Duration;
use stentor_domain::Timestamp;
use stentor_domain::health::{Allowance, Health};
use stentor_store::Waiting;

/// Hosts remembered. Beyond it all are forgotten, which costs each of their endpoints a probe.
const HOSTS_MAX: usize = 10_000;
/// How long another one waits before it asks again what came of the probe that is out.
const PROBE_OUT: Duration = Duration::from_secs(1);

/// What is known of hosts with endpoints that were parked since they could not be reached.
#[derive(Debug, Default)]
pub(crate) struct Probes(HashMap<Box<str>, Host>);

#[derive(Debug, Default)]
struct Host {
    /// The endpoint whose probe is out.
    out: Option<i64>,
    /// Nobody else need ask before.
    failed_until: Option<Timestamp>,
    /// When a probe was answered last.
    answered_at: Option<Timestamp>,
    /// Those that wait, to be told.
    waiting: HashMap<i64, Waiting>,
}

impl Probes {
    /// How fast an endpoint on `host` that could not be reached may be asked at `now`.
    pub(crate) fn allowance(&self, host: &str, endpoint: i64, health: Health, now: Timestamp) -> Allowance {
        let own = health.allowance(now);
        let Some(known) = self.0.get(host) else {
            return own;
        };
        if known.answered_at.is_some() && known.answered_at > health.last_attempt_at {
            return Allowance::AtMost(1);
        }
        match own {
            Allowance::NotBefore(_) | Allowance::Full => own,
            Allowance::AtMost(_) => match (known.out, known.failed_until) {
                (Some(other), _) if other != endpoint => Allowance::NotBefore(now.plus(PROBE_OUT)),
                (_, Some(until)) if until > now => Allowance::NotBefore(until),
                _ => own,
            },
        }
    }

    /// An endpoint is to be told once its host answers.
    pub(crate) fn wait(&mut self, host: &str, waiting: Waiting) {
        self.host(host).waiting.insert(waiting.endpoint, waiting);
    }

    /// The probe of an endpoint goes out.
    pub(crate) fn start(&mut self, host: &str, endpoint: i64) {
        self.host(host).out = Some(endpoint);
    }

    /// The probe of `endpoint` found nobody: it is probed again at `until`.
    pub(crate) fn failed(&mut self, host: &str, endpoint: i64, until: Timestamp) {
        let known = self.host(host);
        known.failed_until = Some(until);
        known.out = known.out.filter(|out| *out != endpoint);
    }

    /// The probe of `endpoint` was answered, or came to nothing that says something of the host. Tells who waited.
    pub(crate) fn answered(&mut self, host: &str, endpoint: i64, at: Timestamp) -> Vec<Waiting> {
        let known = self.host(host);
        known.failed_until = None;
        known.answered_at = Some(at);
        known.out = known.out.filter(|out| *out != endpoint);
        known.waiting.drain().map(|(_, waiting)| waiting).collect()
    }

    fn host(&mut self, host: &str) -> &mut Host {
        if self.0.len() >= HOSTS_MAX && !self.0.contains_key(host) {
            self.0.clear();
        }
        self.0.entry(host.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stentor_domain::attempt::{ErrorClass, Outcome};
    use stentor_domain::health::Asked;

    const HOST: &str = "dead.example:443";
    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Parked at `NOW` for 30 s.
    fn unreachable() -> Health {
        (0..10).fold(Health::default(), |health, _| {
            health.after(Asked {
                outcome: Outcome::Failed(ErrorClass::Connect),
                pause: None,
                started_at: NOW,
                ended_at: NOW,
            })
        })
    }

    fn waiting(endpoint: i64) -> Waiting {
        Waiting {
            endpoint,
            shard: 0,
            due_at: NOW,
        }
    }

    #[test]
    fn one_is_probed_for_all_and_the_others_wait_for_what_comes_of_it() {
        let mut probes = Probes::default();
        let now = NOW.plus(seconds(30));
        let ask = |probes: &Probes, endpoint, now| probes.allowance(HOST, endpoint, unreachable(), now);
        assert_eq!(ask(&probes, 1, now), Allowance::AtMost(1));
        probes.start(HOST, 1);
        assert_eq!(ask(&probes, 1, now), Allowance::AtMost(1));
        assert_eq!(ask(&probes, 2, now), Allowance::NotBefore(now.plus(seconds(1))));
        assert_eq!(
            probes.allowance("other.example:443", 3, unreachable(), now),
            Allowance::AtMost(1)
        );
        let until = now.plus(seconds(60));
        probes.failed(HOST, 1, until);
        assert_eq!(ask(&probes, 2, now), Allowance::NotBefore(until));
        assert_eq!(ask(&probes, 2, until), Allowance::AtMost(1));
    }

    #[test]
    fn once_the_host_answers_all_may_be_probed_before_their_time() {
        let mut probes = Probes::default();
        let now = NOW.plus(seconds(10));
        probes.wait(HOST, waiting(2));
        probes.wait(HOST, waiting(2));
        probes.start(HOST, 1);
        assert_eq!(probes.answered(HOST, 1, now), [waiting(2)]);
        assert_eq!(
            probes.allowance(HOST, 2, unreachable(), now),
            Allowance::AtMost(1)
        );
        assert_eq!(probes.answered(HOST, 1, now), []);
    }

    #[test]
    fn too_many_hosts_are_forgotten_together() {
        let mut probes = Probes::default();
        for n in 0..=HOSTS_MAX {
            probes.start(&format!("{n}.example:443"), 1);
        }
        assert_eq!(probes.0.len(), 1);
    }
}
