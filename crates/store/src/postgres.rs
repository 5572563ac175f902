//! The engine on a PostgreSQL server.

mod address;
mod pooler;
mod session;
mod tls;

pub use address::PostgresAddress;
pub(crate) use address::unfolded;
pub(crate) use pooler::{SHARED, is_of_a_pool};
pub(crate) use session::Session;

use crate::common::{Common, Seams};
use crate::database::Purpose;
use crate::effects::Effects;
use crate::error::{Result, StoreError};
use crate::fresh::Fresh;
use crate::member::Hot;
use crate::tx::Tx;
use futures_util::future::BoxFuture;
use std::ops::Range;

/// An open store on a PostgreSQL server.
#[derive(Debug)]
pub(crate) struct Postgres {}

pub(crate) async fn migrate(address: &PostgresAddress) -> Result<Range<usize>> {
    let _ = address;
    Err(StoreError::Closed)
}

pub(crate) async fn is_sealed(address: &PostgresAddress) -> Result<bool> {
    let _ = address;
    Err(StoreError::Closed)
}

impl Postgres {
    pub(crate) async fn open(
        address: PostgresAddress,
        purpose: Purpose,
        seams: Seams,
    ) -> Result<(Self, Common, Fresh)> {
        pooler::check(&address).await?;
        let _ = (purpose, seams);
        Err(StoreError::Closed)
    }

    pub(crate) async fn close(&self) {}

    pub(crate) fn push(&self, _member: Hot) -> Result<()> {
        Err(StoreError::Closed)
    }

    pub(crate) async fn change<T, E, W, F>(&self, work: W, follow: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T, E>> + Send + 'static,
        F: FnOnce(&T, &mut Effects) + Send + 'static,
    {
        let _ = (work, follow);
        Err(StoreError::Closed.into())
    }

    pub(crate) async fn ask<T, W>(&self, question: W) -> Result<T>
    where
        T: Send + 'static,
        W: for<'a, 'c> FnOnce(&'a mut Tx<'c>) -> BoxFuture<'a, Result<T>> + Send + 'static,
    {
        let _ = question;
        Err(StoreError::Closed)
    }
}
