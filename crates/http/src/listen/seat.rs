//! What the parts of one connection share: its place in the roster, its conduct, and the socket when hyper is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::conduct::{Conduct, Standing};
use super::limits::ListenLimits;
use super::roster::Place;

/// The state of one connection, from accept to close.
#[derive(Debug)]
pub(super) struct Seat {
    place: Place,
    limits: Arc<ListenLimits>,
    conduct: Mutex<Conduct>,
    lingers: AtomicBool,
    left_behind: Mutex<Option<TcpStream>>,
}

/// A request in flight. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    seat: Arc<Seat>,
    answered: bool,
}

impl Seat {
    pub(super) fn new(place: Place, limits: Arc<ListenLimits>) -> Arc<Self> {
        let conduct = Mutex::new(Conduct::new(Instant::now()));
        Arc::new(Seat {
            place,
            limits,
            conduct,
            lingers: AtomicBool::new(false),
            left_behind: Mutex::default(),
        })
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    /// `count` bytes came from the client.
    pub(super) fn received(&self, count: usize) {
        self.conduct.lock().received(count, Instant::now());
    }

    /// A request's head is whole. Gives the exchange, and whether its handler may run.
    pub(super) fn request_began(self: &Arc<Self>, is_http2: bool) -> (Exchange, bool) {
        let mut conduct = self.conduct.lock();
        let may_run = conduct.request_began(is_http2, &self.limits, Instant::now());
        self.place.begin_serving();
        drop(conduct);
        (
            Exchange {
                seat: Arc::clone(self),
                answered: false,
            },
            may_run,
        )
    }

    pub(super) fn retire(&self) {
        self.conduct.lock().retire(Instant::now());
    }

    pub(super) fn judge(&self) -> Standing {
        self.conduct.lock().judge(&self.limits, Instant::now())
    }

    /// The client may still be sending when we close: its socket must be read empty (see `connection::linger`).
    pub(super) fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to linger, and so must close.
    pub(super) fn lingers(&self) -> bool {
        self.lingers.load(Ordering::Relaxed)
    }

    /// Takes over a socket that hyper has finished with, if it is still needed.
    pub(super) fn leave_behind(&self, socket: TcpStream) {
        if self.lingers() {
            *self.left_behind.lock() = Some(socket);
        }
    }

    /// The socket to linger on, if there is one.
    pub(super) fn take_left_behind(&self) -> Option<TcpStream> {
        self.left_behind.lock().take()
    }
}

impl Exchange {
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }

    /// The answer was handed over whole.
    pub(super) fn answered(&mut self) {
        self.answered = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // The conduct stays locked, so that the place changes in the order in which requests begin and end.
        let mut conduct = self.seat.conduct.lock();
        if conduct.request_ended(self.answered, Instant::now()) {
            self.seat.place.begin_waiting();
        }
    }
}
