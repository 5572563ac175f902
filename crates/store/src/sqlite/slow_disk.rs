//! A disk that is slower than it is, for measuring only: `stentor bench` asks what a deployment on such a disk can do. It only
//! adds to what an fsync takes, and takes nothing from what is durable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Nothing, in every process but a measured one.
static DELAY_MICROS: AtomicU64 = AtomicU64::new(0);

/// From now on this process waits for so much longer whenever it has waited for the disk.
pub fn slow_down_the_disk(delay: Duration) {
    let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
    DELAY_MICROS.store(micros, Ordering::Relaxed);
}

/// Where SQLite has waited for the disk `times` times: for each commit once, for the log; for each emptying of the log twice,
/// for the log and for the file.
pub(super) fn waited_for_disk(times: u32) {
    let micros = DELAY_MICROS.load(Ordering::Relaxed);
    if micros > 0 {
        std::thread::sleep(Duration::from_micros(micros) * times);
    }
}
