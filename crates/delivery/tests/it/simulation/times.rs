//! How time passes, and how processes die: at once, while they start requests, while they record answers, or in good order.

use super::DAY;
use super::known::Run;
use std::time::Duration;
use stentor_domain::attempt::ErrorClass;
use stentor_testkit::{Call, Reply, World};

/// Steps of passing by moments.
const MOMENTS: usize = 8;
/// Turns that other tasks get before a process dies.
const TURNS_MAX: usize = 40;
/// Days after which everything has ended that does not wait for a rate.
const HEALING_DAYS: usize = 12;
/// Seconds after which the rest has.
const HEALING_SECONDS: usize = 300;

impl Run {
    /// Everything is done that can be at this moment.
    async fn settle(&mut self, world: &mut World) {
        world.settle_looking(|world| self.look(world)).await;
    }

    /// Seconds to hours.
    pub(super) async fn pass(&mut self, world: &mut World) {
        let wait = Duration::from_secs(self.pick(&[0, 1, 6, 40, 700, 7_300]));
        if self.flying && self.once_in(2) {
            self.note(format!("{wait:?} pass, and nobody answers"));
            return world.clock.step(wait);
        }
        self.land(world).await;
        self.note(format!("{wait:?} pass"));
        world.clock.step(wait);
        self.settle(world).await;
    }

    pub(super) async fn pass_by_days(&mut self, world: &mut World) {
        self.land(world).await;
        let days = 1 + u32::try_from(self.below(3)).unwrap();
        self.note(format!("{days} days pass"));
        world.clock.step(days * DAY);
        self.settle(world).await;
    }

    /// Milliseconds at a time.
    pub(super) async fn pass_by_moments(&mut self, world: &mut World) {
        self.land(world).await;
        let moment = Duration::from_millis(self.pick(&[7, 60, 110, 340]));
        self.note(format!("{MOMENTS} times {moment:?} pass"));
        for _ in 0..MOMENTS {
            world.clock.step(moment);
            self.settle(world).await;
        }
    }

    /// What may start, starts, and nobody answers for a while.
    pub(super) async fn launch(&mut self, world: &mut World) {
        if !self.flying {
            world.launch_some().await;
            self.flying = true;
            self.note(format!("{} requests are open", world.receivers.open_now().len()));
        }
    }

    /// Everybody answers, and it is recorded.
    pub(super) async fn land(&mut self, world: &mut World) {
        if self.flying {
            self.note("everybody answers");
            world.land().await;
            self.flying = false;
            self.look(world);
        }
    }

    /// Dies with requests open that nobody has answered.
    pub(super) async fn die(&mut self, world: World) -> World {
        self.note("the process dies");
        let world = world.kill_and_restart().await;
        self.bury(&world, &[]);
        world
    }

    /// Dies somewhere between taking in what is to be sent and waiting for its answers.
    pub(super) async fn die_while_starting(&mut self, mut world: World) -> World {
        self.land(&mut world).await;
        self.note("the process dies while it starts requests");
        world.launch(0).await;
        self.turns().await;
        let world = world.kill_and_restart().await;
        self.bury(&world, &[]);
        world
    }

    /// Dies somewhere between the answers and their records.
    pub(super) async fn die_while_recording(&mut self, mut world: World) -> World {
        self.launch(&mut world).await;
        self.note("the process dies while it records answers");
        let open = world.receivers.open_now();
        world.receivers.speak();
        self.turns().await;
        let world = world.kill_and_restart().await;
        self.bury(&world, &open);
        world
    }

    async fn turns(&self) {
        for _ in 0..self.below(TURNS_MAX) {
            tokio::task::yield_now().await;
        }
    }

    /// Keeps account of what a death broke off: what had no answer is in no book; whether what was answered is, nobody knows.
    fn bury(&mut self, world: &World, in_doubt: &[Call]) {
        (self.flying, self.deaf) = (false, false);
        self.look(world);
        let lost = world.receivers.take_broken_off();
        for call in &lost {
            if let Some(requests) = self.requests_of(call) {
                requests.lost += 1;
            }
        }
        let doubtful: Vec<&Call> = in_doubt.iter().filter(|call| !lost.contains(call)).collect();
        for call in doubtful {
            if let Some(requests) = self.requests_of(call) {
                requests.doubtful += 1;
            }
            self.forget_asked(call);
        }
    }

    /// Ends in good order while requests are open that nobody answers in time: each is in the books as broken off.
    pub(super) async fn stop(&mut self, mut world: World) -> World {
        self.launch(&mut world).await;
        self.note("the process stops");
        let world = world.stop_and_restart().await;
        (self.flying, self.deaf) = (false, false);
        self.look(&world);
        world.receivers.take_broken_off();
        world
    }

    /// A process works by itself for a moment, and ends in good order with all its answers.
    pub(super) async fn run_and_stop(&mut self, world: World) -> World {
        // One that has lost what is handed over would not know of anything.
        let mut world = self.die(world).await;
        // Before, since nobody could say which endpoint is disabled in the meantime.
        self.publish(&world).await;
        self.note("the process works by itself, and stops");
        world.run();
        self.turns().await;
        world.stop().await;
        self.look(&world);
        world.kill_and_restart().await
    }

    pub(super) async fn lose_handover(&mut self, world: &mut World) {
        self.land(world).await;
        self.note("what is handed over is lost");
        world.drop_fresh().await;
        self.deaf = true;
    }

    /// Everybody answers well from now on, and time passes until nothing is left to be done.
    pub(super) async fn heal(&mut self, world: &mut World) {
        self.land(world).await;
        self.note("the world heals");
        for site in self.sites.iter().filter(|site| !site.deleted) {
            world.receivers.script(site.url(), &[Reply::Status(200)]);
            world.resume(site.id).await;
        }
        self.look(world);
        let days = std::iter::repeat_n(DAY + DAY / 5, HEALING_DAYS);
        let seconds = std::iter::repeat_n(Duration::from_secs(1), HEALING_SECONDS);
        for wait in days.chain(seconds) {
            world.clock.step(wait);
            self.settle(world).await;
            if world.unfinished() == 0 {
                break;
            }
        }
        // The end of what was begun for those that are gone, and of what nobody waits for.
        world.clock.step(DAY);
        self.settle(world).await;
    }
}

/// An attempt that a stop broke off.
pub(super) fn is_broken_off(class: Option<ErrorClass>) -> bool {
    class == Some(ErrorClass::Shutdown)
}
