//! What holds at every request, looked at between operations and between the rounds of passing time.

use super::behaviour;
use super::known::{Pair, Requests, Run, Site};
use std::collections::BTreeSet;
use std::time::Duration;
use stentor_delivery::sign::Signer;
use stentor_domain::Timestamp;
use stentor_domain::secret::{Secret, SigningSecret};
use stentor_testkit::{Call, Received, Reply, World};

impl Run {
    /// Checks what was received since the last look, and sees who is stopped by now.
    pub(super) fn look(&mut self, world: &World) {
        for received in world.receivers.take() {
            let at = self
                .site_at(&received.url)
                .expect("every request goes to an endpoint");
            let what = format!(
                "{} got {} at {}",
                received.url,
                received.id(),
                received.at.micros()
            );
            let site = &self.sites[at];
            assert!(!site.deleted, "{what}: it is deleted");
            assert_eq!(site.url(), received.url, "{what}: it is elsewhere by now");
            assert!(!received.body.is_empty(), "{what}: empty");
            assert_signed(site, &received, &what);
            if self.tests.contains(received.id()) {
                continue;
            }
            self.check(at, &received, &what);
            let call = (received.url.clone(), received.id().to_owned());
            self.requests_of(&call).unwrap().came += 1;
            self.note(what);
        }
        self.hear(world);
        for site in &mut self.sites {
            let configured = world.store.config().endpoint(site.id.n());
            site.stopped = configured.is_none_or(|known| !known.endpoint.status.sends());
        }
    }

    /// Keeps in mind what receivers asked for since the last look.
    fn hear(&mut self, world: &World) {
        for told in world.receivers.take_told() {
            let Reply::RetryAfter(_, text) = told.reply else {
                continue;
            };
            if let Some(pair) = self.pair_of(&told.call)
                && let Some(wait) = behaviour::asked_for(text)
                && !self.again.contains(&pair)
            {
                self.not_before.insert(pair, told.at.plus(wait));
            }
        }
    }

    /// What holds at the request of an event.
    fn check(&mut self, at: usize, received: &Received, what: &str) {
        let place = *self
            .places
            .get(received.id())
            .expect("an event that was accepted, or a test");
        let (event, site) = (&self.events[place], &mut self.sites[at]);
        let pair = (site.id, event.id);
        assert_eq!(site.tenant, event.tenant, "{what}: another tenant's");
        assert!(
            event.wanted.contains(&site.id) || self.again.contains(&pair),
            "{what}: unwanted"
        );
        assert!(!site.stopped, "{what}: it is stopped");
        // What is in memory hears of these by the way that may be lost.
        assert!(!event.erased || self.deaf, "{what}: its content was erased");
        assert!(
            !self.ended.contains(&pair) || self.deaf,
            "{what}: it was cancelled"
        );
        let not_before = self.not_before.get(&pair);
        assert!(
            not_before.is_none_or(|until| received.at >= *until),
            "{what}: its receiver asked for a pause until {not_before:?}"
        );
        assert!(
            site.wishes.is_body_of(&received.text(), event),
            "{what}: {}",
            received.text()
        );
        assert!(
            !received.beside.iter().any(|id| id == received.id()),
            "{what}: twice at once"
        );
        let beside = received
            .beside
            .iter()
            .filter(|id| !self.tests.contains(*id))
            .count();
        assert!(beside < site.wishes.at_once(), "{what}: {} at once", beside + 1);
        if let Some(rate) = site.wishes.rate {
            site.came.push(received.at);
            let within = |came: &&Timestamp| received.at.since(**came) < Duration::from_secs(1);
            let within = site.came.iter().rev().take_while(within).count();
            assert!(
                within <= rate,
                "{what}: {within} in a second, and no more than {rate}"
            );
        }
        if site.wishes.ordered && place >= site.ordered_from && !self.again.contains(&pair) {
            assert!(
                place >= site.last_place,
                "{what}: after {}",
                self.events[site.last_place].id
            );
            site.last_place = place;
        }
    }

    /// Nobody knows whether what a receiver asked for was written down.
    pub(super) fn forget_asked(&mut self, call: &Call) {
        if let Some(pair) = self.pair_of(call) {
            self.not_before.remove(&pair);
        }
    }

    /// Which delivery a request was of; `None` where it was a test.
    pub(super) fn pair_of(&self, (url, id): &Call) -> Option<Pair> {
        let site = self.sites[self.site_at(url)?].id;
        Some((site, self.events[*self.places.get(id)?].id))
    }

    /// The account of a request's delivery; `None` where it was a test.
    pub(super) fn requests_of(&mut self, call: &Call) -> Option<&mut Requests> {
        let pair = self.pair_of(call)?;
        Some(self.requests.entry(pair).or_default())
    }
}

/// A request is signed by every secret that was valid when it was sent, and by nothing else.
fn assert_signed(site: &Site, received: &Received, what: &str) {
    let timestamp = received.header("webhook-timestamp");
    assert_eq!(timestamp, received.at.seconds().to_string(), "{what}");
    let signed: BTreeSet<String> = received
        .header("webhook-signature")
        .split(' ')
        .map(str::to_owned)
        .collect();
    let valid = site
        .secrets
        .iter()
        .filter(|(_, until)| until.is_none_or(|until| until > received.at));
    let right: BTreeSet<String> = valid
        .map(|(text, _)| {
            let secret = SigningSecret {
                secret: Secret::parse(text).unwrap(),
                created_at: Timestamp::EPOCH,
                expires_at: None,
            };
            Signer::new(&[secret]).sign(received.id(), timestamp, &received.body, received.at)
        })
        .collect();
    assert_eq!(signed, right, "{what}: signatures");
}
