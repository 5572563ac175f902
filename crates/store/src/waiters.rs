//! Those who wait for a delivery to end: the callers of test sends.

use parking_lot::Mutex;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// Who waits for which delivery, by its key.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<i64, oneshot::Sender<()>>>);

impl Waiters {
    /// Waits for `delivery` from now on. Register before the delivery is written, or its end may be missed.
    pub(crate) fn register(&self, delivery: i64) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.0.lock();
        // Whoever went away without an answer is forgotten here, so that the map is bounded by those who wait.
        waiting.retain(|_, sender| !sender.is_closed());
        waiting.insert(delivery, sender);
        receiver
    }

    /// Tells those who wait for one of `ended`.
    pub(crate) fn wake(&self, ended: &[i64]) {
        if ended.is_empty() {
            return;
        }
        let mut waiting = self.0.lock();
        for sender in ended.iter().filter_map(|delivery| waiting.remove(delivery)) {
            drop(sender.send(()));
        }
    }
}
