//! Connections for changes and questions: a few, each used by one at a time.

use super::PostgresAddress;
use super::session::{Session, within};
use crate::error::{Result, StoreError};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long somebody waits for a connection to be free: whoever asked wants to hear of the trouble, not to be part of it.
const TAKE_MAX: Duration = Duration::from_secs(2);

/// A bounded pool.
#[derive(Debug)]
pub(crate) struct Pool {
    address: PostgresAddress,
    /// What its connections are called, a number apart.
    name: String,
    /// Run on every new connection.
    settings: &'static str,
    opened: AtomicU64,
    idle: Mutex<Vec<Session>>,
    permits: Semaphore,
}

/// A connection taken from the pool. It is closed when this is dropped, unless it was given back: only whoever knows that
/// it is in no transaction may do so.
pub(crate) struct Taken<'p> {
    pub(crate) session: Session,
    pool: &'p Pool,
    _permit: SemaphorePermit<'p>,
}

impl Pool {
    pub(crate) fn new(address: PostgresAddress, name: String, settings: &'static str, size: usize) -> Self {
        Self {
            address,
            name,
            settings,
            opened: AtomicU64::new(0),
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(size),
        }
    }

    /// Takes a connection, a new one where none is idle.
    pub(crate) async fn take(&self) -> Result<Taken<'_>> {
        let taking = async { self.permits.acquire().await.map_err(|_| StoreError::Closed) };
        let permit = within(TAKE_MAX, taking).await.map_err(|error| match error {
            StoreError::Unavailable(_) => {
                StoreError::Unavailable("all connections to the database are busy".into())
            }
            other => other,
        })?;
        let idle = self.next_idle();
        let session = match idle {
            Some(session) => session,
            None => {
                let number = self.opened.fetch_add(1, Ordering::Relaxed);
                Session::open(&self.address, format!("{} {number}", self.name), self.settings).await?
            }
        };
        Ok(Taken {
            session,
            pool: self,
            _permit: permit,
        })
    }

    fn next_idle(&self) -> Option<Session> {
        let mut idle = self.idle.lock();
        while let Some(session) = idle.pop() {
            if session.is_good() {
                return Some(session);
            }
        }
        None
    }

    /// Closes what is idle; nothing is taken any more.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }
}

impl Taken<'_> {
    /// Gives the connection back for the next one.
    pub(crate) fn give_back(self) {
        if !self.pool.permits.is_closed() {
            self.pool.idle.lock().push(self.session);
        }
    }
}
