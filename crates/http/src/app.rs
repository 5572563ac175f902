//! What every handler is given.

use crate::attempts_at_keys::AttemptsAtKeys;
use crate::paging::{self, Cursors};
use crate::rate_limit::{RateLimits, RequestQuotas};
use ipnet::IpNet;
use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use stentor_engine::Engine;
use stentor_store::authenticator::Authenticator;

/// What an operator may set about HTTP.
#[derive(Clone, Debug, Default)]
pub struct AppSettings {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Host names that requests may carry, in lower case; empty is any.
    pub public_hosts: Vec<String>,
    /// Failed authentications per minute and peer address; `None` is no limit.
    pub failed_authentications_per_minute: Option<NonZeroU32>,
    /// How often a key may ask.
    pub request_quotas: RequestQuotas,
}

/// What every handler is given. Cheap to clone.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    settings: AppSettings,
    attempts_at_keys: AttemptsAtKeys,
    rate_limits: RateLimits,
    cursors: Authenticator,
    ready: AtomicBool,
}

impl App {
    /// An application over an engine. It is not ready until it is told so.
    pub fn new(engine: Engine, settings: AppSettings) -> Self {
        let attempts_at_keys = AttemptsAtKeys::new(settings.failed_authentications_per_minute);
        Self(Arc::new(Inner {
            cursors: engine.authenticator(paging::PURPOSE),
            engine,
            settings,
            attempts_at_keys,
            rate_limits: RateLimits::default(),
            ready: AtomicBool::new(false),
        }))
    }

    /// What does the work.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// What an operator set.
    pub fn settings(&self) -> &AppSettings {
        &self.0.settings
    }

    pub(crate) fn attempts_at_keys(&self) -> &AttemptsAtKeys {
        &self.0.attempts_at_keys
    }

    pub(crate) fn rate_limits(&self) -> &RateLimits {
        &self.0.rate_limits
    }

    /// The cursors of a list: `list` names it among those of all contracts, `whom` says whose things are in it.
    pub(crate) fn cursors(&self, list: &'static str, whom: impl Display) -> Cursors<'_> {
        Cursors::new(&self.0.cursors, list, whom)
    }

    /// Says whether requests should be sent here: `/readyz` answers 200 or 503.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }
}
