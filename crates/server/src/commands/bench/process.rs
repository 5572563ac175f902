//! What Linux tells of processes in `/proc`: who their parent is, and the processor time that they have used.

use std::fs;
use std::time::Duration;

/// A process in `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: i32,
    /// What it has used itself, in user and kernel mode together, in the kernel's ticks.
    pub(super) own_ticks: u64,
    /// What its children had used that have ended.
    pub(super) ended_ticks: u64,
}

impl Stat {
    /// Of the process with this number; `None` where there is none, or none that may be looked at.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name, which is the second field, may hold anything, so that fields are counted from its closing parenthesis.
    fn parse(stat: &str) -> Option<Self> {
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ').skip(1);
        let parent = fields.next()?.parse().ok()?;
        let mut times = fields.skip(9).map(str::parse::<u64>);
        let mut two = || Some(times.next()?.ok()? + times.next()?.ok()?);
        Some(Self {
            parent,
            own_ticks: two()?,
            ended_ticks: two()?,
        })
    }
}

/// Ticks as time.
pub(super) fn duration(ticks: u64) -> Duration {
    let micros_per_tick = 1_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Duration::from_micros(ticks * micros_per_tick)
}

/// A process with all its children, as PostgreSQL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Family(i32);

impl Family {
    /// The parent of `child` and its children, if `child` is a process of this machine whose title holds `word`. Numbers that
    /// another machine, or another container, gives to its processes lead to others here, or to none.
    pub(super) fn of(child: i32, word: &str) -> Option<Self> {
        let title = fs::read(format!("/proc/{child}/cmdline")).ok()?;
        let is_meant = String::from_utf8_lossy(&title).contains(word);
        is_meant
            .then(|| Stat::of(child))
            .flatten()
            .map(|stat| Self(stat.parent))
    }

    /// What all of them have used so far, those that have ended included.
    pub(super) fn cpu(self) -> Option<Duration> {
        let processes = fs::read_dir("/proc").ok()?;
        let children = processes.filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Stat::of(pid).filter(|stat| stat.parent == self.0)
        });
        let ticks = |stat: Stat| stat.own_ticks + stat.ended_ticks;
        let used = ticks(Stat::of(self.0)?) + children.map(ticks).sum::<u64>();
        Some(duration(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "4242 (a ) b) S 1 4242 4242 0 -1 4194560 1391 0 3 0 250 31 7 2 20 0 4 0 81234 251658240";
        let expected = Stat {
            parent: 1,
            own_ticks: 281,
            ended_ticks: 9,
        };
        assert_eq!(Stat::parse(stat), Some(expected));
        assert_eq!(Stat::parse("4242"), None);
    }

    #[test]
    fn a_family_is_known_by_the_title_of_a_child() {
        let own = i32::try_from(std::process::id()).unwrap();
        let title = fs::read_to_string("/proc/self/cmdline").unwrap();
        let word = title.split('\0').next().unwrap();
        let family = Family::of(own, word).unwrap();
        assert_eq!(family, Family(Stat::of(own).unwrap().parent));
        assert!(family.cpu().is_some());
        assert_eq!(Family::of(own, "no such title"), None);
    }
}
