//! What receivers do: they answer, refuse, ask for a pause, say that they are gone, or say nothing.

use super::known::Run;
use std::time::Duration;
use stentor_domain::attempt::ErrorClass;
use stentor_domain::limits::RETRY_AFTER_MAX;
use stentor_testkit::{Reply, World};

/// The most replies that one receiver has in store.
const REPLIES_MAX: usize = 4;

impl Run {
    /// One receiver behaves in another way from now on.
    pub(super) fn change_behaviour(&mut self, world: &World) {
        let at = self.a_site();
        let replies: Vec<Reply> = (0..=self.below(REPLIES_MAX)).map(|_| self.draw_reply()).collect();
        let url = self.sites[at].url().to_owned();
        self.note(format!("{url} will answer {replies:?}"));
        world.receivers.script(&url, &replies);
    }

    /// Nobody on a host can be reached, or everybody again.
    pub(super) fn change_host(&mut self, world: &World) {
        let host = self.pick(&super::owners::HOSTS);
        let reply = self.pick(&[
            Reply::Fails(ErrorClass::Connect),
            Reply::Fails(ErrorClass::Timeout),
            Reply::Status(200),
        ]);
        self.note(format!("all of {host} will answer {reply:?}"));
        for site in self.sites.iter().filter(|site| site.url().contains(host)) {
            world.receivers.script(site.url(), std::slice::from_ref(&reply));
        }
    }

    fn draw_reply(&self) -> Reply {
        let fails = |of: &[ErrorClass]| Reply::Fails(self.pick(of));
        match self.below(10) {
            0..=2 => Reply::Status(200),
            3 | 4 => Reply::Status(self.pick(&[400, 500, 502, 504, 301])),
            5 => Reply::RetryAfter(
                self.pick(&[429, 503]),
                self.pick(&[
                    "0",
                    "3",
                    "7200",
                    "999999999",
                    "soon",
                    "Wed, 03 Jan 2024 07:28:00 GMT",
                ]),
            ),
            6 => Reply::Status(410),
            7 => fails(&[ErrorClass::Timeout, ErrorClass::Connect]),
            8 => fails(&[
                ErrorClass::Protocol,
                ErrorClass::Tls,
                ErrorClass::DnsNotFound,
                ErrorClass::NoRoute,
            ]),
            // A fault of the operator's, which costs no place in a schedule.
            _ => fails(&[ErrorClass::Proxy]),
        }
    }
}

/// The pause that a `Retry-After` of [`Run::draw_reply`] asks for, where it says so in seconds.
pub(super) fn asked_for(text: &str) -> Option<Duration> {
    let seconds = text.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}
