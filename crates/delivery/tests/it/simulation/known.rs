//! What a run knows by itself: the endpoints and events that it made, what was received, and what nobody can know for sure
//! since a process died over it.

use super::wishes::Wishes;
use std::collections::{HashMap, HashSet};
use stentor_domain::Chance as _;
use stentor_domain::Timestamp;
use stentor_domain::id::{EndpointId, EventId, ReplayId};
use stentor_testkit::SeededChance;

/// A delivery, as receivers see it: an endpoint and an event.
pub(super) type Pair = (EndpointId, EventId);

/// An endpoint, or what was one.
pub(super) struct Site {
    pub(super) id: EndpointId,
    pub(super) tenant: String,
    /// Where it is, and before it where it was.
    pub(super) urls: Vec<String>,
    pub(super) wishes: Wishes,
    /// Its secrets, and when they end.
    pub(super) secrets: Vec<(String, Option<Timestamp>)>,
    pub(super) deleted: bool,
    /// It is paused, disabled or deleted, and that is committed: nothing but tests may start.
    pub(super) stopped: bool,
    /// Which events are sent to it in order: those from this place on.
    pub(super) ordered_from: usize,
    /// The place of the last of these that was sent.
    pub(super) last_place: usize,
    /// When requests came since it has its present rate.
    pub(super) came: Vec<Timestamp>,
}

impl Site {
    pub(super) fn url(&self) -> &str {
        self.urls.last().unwrap()
    }
}

/// An event that was accepted.
pub(super) struct Event {
    pub(super) id: EventId,
    pub(super) tenant: String,
    pub(super) payload: String,
    /// Part of its payload and of no other.
    pub(super) mark: String,
    pub(super) event_type: &'static str,
    pub(super) channels: Vec<String>,
    /// The number in its payload.
    pub(super) number: usize,
    pub(super) own_id: Option<String>,
    /// The endpoints that it must have a delivery for.
    pub(super) wanted: HashSet<EndpointId>,
    pub(super) erased: bool,
}

/// Requests of a delivery.
#[derive(Default)]
pub(super) struct Requests {
    pub(super) came: usize,
    /// Broken off by a death: none of them is in the books.
    pub(super) lost: usize,
    /// Answered when a process died: they may be in the books or not.
    pub(super) doubtful: usize,
}

/// One run, and all that it remembers.
pub(super) struct Run {
    trail: Trail,
    chance: SeededChance,
    pub(super) keeps_for_ever: bool,
    pub(super) payloads_expire: bool,
    pub(super) in_flight_max: usize,
    pub(super) tenants: Vec<String>,
    pub(super) gone_tenants: HashSet<String>,
    pub(super) sites: Vec<Site>,
    pub(super) events: Vec<Event>,
    pub(super) places: HashMap<String, usize>,
    pub(super) replays: Vec<ReplayId>,
    /// Ids of tests.
    pub(super) tests: HashSet<String>,
    pub(super) requests: HashMap<Pair, Requests>,
    /// What somebody has tried again by hand, or replayed: it comes after all else, and a delivery may be one that no publish
    /// made.
    pub(super) again: HashSet<Pair>,
    /// What somebody has cancelled.
    pub(super) cancelled: HashSet<Pair>,
    /// Of these, what nobody takes up again.
    pub(super) ended: HashSet<Pair>,
    /// What receivers asked to be left alone with, and until when.
    pub(super) not_before: HashMap<Pair, Timestamp>,
    /// Requests are open, and nobody answers them.
    pub(super) flying: bool,
    /// Nobody takes in what is handed over, until the next start.
    pub(super) deaf: bool,
    pub(super) made: usize,
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            trail: Trail {
                seed,
                notes: Vec::new(),
            },
            chance: SeededChance::new(seed),
            keeps_for_ever: true,
            payloads_expire: false,
            in_flight_max: 0,
            tenants: Vec::new(),
            gone_tenants: HashSet::new(),
            sites: Vec::new(),
            events: Vec::new(),
            places: HashMap::new(),
            replays: Vec::new(),
            tests: HashSet::new(),
            requests: HashMap::new(),
            again: HashSet::new(),
            cancelled: HashSet::new(),
            ended: HashSet::new(),
            not_before: HashMap::new(),
            flying: false,
            deaf: false,
            made: 0,
        }
    }

    /// A number of `0..most`.
    pub(super) fn below(&self, most: usize) -> usize {
        usize::try_from(self.chance.up_to(most as u64 - 1)).unwrap()
    }

    pub(super) fn pick<T: Clone>(&self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }

    /// True once in so many times.
    pub(super) fn once_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// The index of an endpoint that is there.
    pub(super) fn a_site(&self) -> usize {
        let there: Vec<usize> = (0..self.sites.len())
            .filter(|at| !self.sites[*at].deleted)
            .collect();
        self.pick(&there)
    }

    /// The index of the site at `url`, now or before.
    pub(super) fn site_at(&self, url: &str) -> Option<usize> {
        self.sites
            .iter()
            .position(|site| site.urls.iter().any(|known| known == url))
    }

    /// Somebody takes deliveries up again: they may come at any time, and after all else.
    pub(super) fn take_up(&mut self, pairs: impl IntoIterator<Item = Pair>) {
        for pair in pairs {
            self.ended.remove(&pair);
            self.not_before.remove(&pair);
            self.again.insert(pair);
        }
    }

    /// Notes what the run does, for whoever has to find out why it failed.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.trail.notes.push(note.into());
    }
}

/// What a run did. Prints it when the run fails.
struct Trail {
    seed: u64,
    notes: Vec<String>,
}

impl Drop for Trail {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for note in &self.notes {
                eprintln!("  {note}");
            }
            let (seed, name) = (self.seed, super::SEED);
            eprintln!(
                "seed {seed} failed. Repeat it: {name}={seed} cargo nextest run -p stentor-delivery simulation"
            );
        }
    }
}
