//! What the scenarios are run with: where, how long, and how large.

use std::time::Duration;

use super::subject::Place;

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// What the bars ask for.
    Full,
    /// About a minute for everything.
    Quick,
    /// To see that it works; its figures say nothing.
    Tiny,
}

/// What was asked for on the command line.
#[derive(Clone)]
pub(super) struct Stand {
    pub(super) place: Place,
    pub(super) scale: Scale,
    pub(super) seconds: Option<u64>,
    pub(super) connections: Option<u64>,
    pub(super) fan_out: Option<u64>,
}

impl Stand {
    /// The one that belongs to the scale.
    pub(super) fn by_scale<T>(&self, full: T, quick: T, tiny: T) -> T {
        match self.scale {
            Scale::Full => full,
            Scale::Quick => quick,
            Scale::Tiny => tiny,
        }
    }

    /// How long a measured part is: as was asked for, or else as its scenario has it, in seconds.
    pub(super) fn window(&self, full: u64, quick: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or_else(|| self.by_scale(full, quick, 1)))
    }

    /// Connections: as was asked for, or else as the scenario has it.
    pub(super) fn connections(&self, usual: u64) -> u64 {
        self.connections.unwrap_or_else(|| self.by_scale(usual, usual, 4))
    }

    /// The scale's name.
    pub(super) fn scale_name(&self) -> &'static str {
        self.by_scale("full", "quick", "tiny")
    }
}
