//! What every store has in memory, whichever its database is.

use crate::backpressure::Backpressure;
use crate::config::Config;
use crate::health::Healths;
use crate::key_uses::KeyUses;
use crate::metrics::Metrics;
use crate::seal::MasterKeys;
use crate::waiters::Waiters;
use std::sync::Arc;
use stentor_domain::id::Ids;
use stentor_domain::{Chance, Clock};

/// What is passed in.
pub(crate) struct Seams {
    pub(crate) master: MasterKeys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
}

/// What every store has in memory.
pub(crate) struct Common {
    pub(crate) config: Arc<Config>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) healths: Arc<Healths>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) backpressure: Arc<Backpressure>,
    pub(crate) key_uses: KeyUses,
    pub(crate) ids: Ids,
    pub(crate) master: MasterKeys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
}

impl Common {
    pub(crate) fn new(
        config: Arc<Config>,
        waiters: Arc<Waiters>,
        healths: Arc<Healths>,
        metrics: Arc<Metrics>,
        ids: Ids,
        seams: Seams,
    ) -> Self {
        let Seams {
            master,
            clock,
            chance,
        } = seams;
        Self {
            config,
            waiters,
            healths,
            metrics,
            backpressure: Arc::default(),
            key_uses: KeyUses::default(),
            ids,
            master,
            clock,
            chance,
        }
    }
}
