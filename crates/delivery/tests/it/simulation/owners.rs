//! What owners do with their endpoints, and operators with tenants.

use super::known::{Run, Site};
use super::wishes::Wishes;
use std::time::Duration;
use stentor_testkit::{EndpointFields, World};

/// Several endpoints share each of them.
pub(super) const HOSTS: [&str; 3] = ["one.example", "two.example", "three.example"];
const TENANTS: usize = 2;
const ENDPOINTS: usize = 4;
const SECRETS: [&str; 3] = [
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
    "a secret of plain text",
];
/// Secrets that sign at once.
const SECRETS_MAX: usize = 10;

impl Run {
    /// Makes what there is in the beginning.
    pub(super) async fn begin(&mut self, world: &World) {
        for _ in 0..TENANTS {
            self.make_tenant(world).await;
        }
        for _ in 0..ENDPOINTS {
            self.make_endpoint(world).await;
        }
    }

    async fn make_tenant(&mut self, world: &World) {
        let uid = format!("tenant-{}", self.tenants.len() + self.gone_tenants.len());
        world.tenant(&uid).await;
        self.tenants.push(uid);
    }

    fn draw_url(&mut self) -> String {
        self.made += 1;
        format!("https://{}/{}", self.pick(&HOSTS), self.made)
    }

    pub(super) async fn make_endpoint(&mut self, world: &World) {
        let tenant = self.pick(&self.tenants);
        let (url, wishes, secret) = (self.draw_url(), Wishes::draw(self), self.pick(&SECRETS));
        self.note(format!("{tenant} makes {url}: {wishes:?}"));
        let fields = EndpointFields {
            secret: Some(secret.into()),
            ..wishes.fields()
        };
        let id = world.endpoint_with(&tenant, &url, fields).await;
        self.sites.push(Site {
            id,
            tenant,
            urls: vec![url],
            wishes,
            secrets: vec![(secret.into(), None)],
            deleted: false,
            stopped: false,
            ordered_from: self.events.len(),
            last_place: 0,
            came: Vec::new(),
        });
    }

    /// Sets everything anew, sometimes the URL, too.
    pub(super) async fn change_endpoint(&mut self, world: &World) {
        let at = self.a_site();
        let wishes = Wishes::draw(self);
        let url = self.once_in(3).then(|| self.draw_url());
        self.note(format!("{} becomes {url:?}: {wishes:?}", self.sites[at].url()));
        let fields = EndpointFields {
            url: url.clone(),
            ..wishes.fields()
        };
        world.change(self.sites[at].id, fields).await;
        let events = self.events.len();
        let site = &mut self.sites[at];
        site.urls.extend(url);
        if wishes.ordered && !site.wishes.ordered {
            (site.ordered_from, site.last_place) = (events, 0);
        }
        if wishes.rate != site.wishes.rate {
            site.came.clear();
        }
        site.wishes = wishes;
    }

    pub(super) async fn pause(&mut self, world: &World) {
        let at = self.a_site();
        self.note(format!("{} is paused", self.sites[at].url()));
        world.pause(self.sites[at].id).await;
    }

    /// Makes an endpoint active, whatever it was.
    pub(super) async fn resume(&mut self, world: &World) {
        let stopped: Vec<usize> = (0..self.sites.len())
            .filter(|at| self.sites[*at].stopped && !self.sites[*at].deleted)
            .collect();
        if !stopped.is_empty() {
            let at = self.pick(&stopped);
            self.note(format!("{} is active", self.sites[at].url()));
            world.resume(self.sites[at].id).await;
        }
    }

    pub(super) async fn rotate(&mut self, world: &World) {
        let at = self.a_site();
        let grace = self.pick(&[0, 1, 3_600, 86_400]);
        self.note(format!(
            "{} gets a new secret, grace {grace} s",
            self.sites[at].url()
        ));
        let drawn = world.rotate(self.sites[at].id, grace).await;
        let now = world.now();
        let ends = now.plus(Duration::from_secs(grace.unsigned_abs()));
        let secrets = &mut self.sites[at].secrets;
        for (_, until) in secrets.iter_mut() {
            *until = Some(until.map_or(ends, |until| until.min(ends)));
        }
        secrets.retain(|(_, until)| *until > Some(now));
        secrets.push((drawn, None));
        // A rotation beyond the bound drops the oldest.
        let over = secrets.len().saturating_sub(SECRETS_MAX);
        secrets.drain(..over);
    }

    pub(super) async fn delete_endpoint(&mut self, world: &World) {
        let at = self.a_site();
        self.note(format!("{} is deleted", self.sites[at].url()));
        world.delete(self.sites[at].id).await;
        self.sites[at].deleted = true;
        self.make_endpoint(world).await;
    }

    pub(super) async fn delete_tenant(&mut self, world: &World) {
        let uid = self.tenants.swap_remove(self.below(TENANTS));
        self.note(format!("{uid} is deleted"));
        world.delete_tenant(&uid).await;
        for site in self.sites.iter_mut().filter(|site| site.tenant == uid) {
            site.deleted = true;
        }
        self.gone_tenants.insert(uid);
        self.make_tenant(world).await;
        self.make_endpoint(world).await;
    }
}
