//! Where everything is kept, and how a store is opened.

use crate::postgres::PostgresAddress;
use crate::seal::MasterKeys;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use stentor_domain::{Chance, Clock};

/// A database. Which one is the only difference that an operator makes: everything works on both.
#[derive(Clone, Debug)]
pub enum Database {
    /// The embedded one, in this file; made where there is none.
    File(PathBuf),
    /// A PostgreSQL server.
    Postgres(PostgresAddress),
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To run: this process becomes the node that owns every shard.
    Run,
    /// To change something beside a node that runs, or with none: nothing is taken over and nothing sent.
    Administer,
}

/// How to open a store.
pub struct Options {
    /// Where.
    pub database: Database,
    /// What for.
    pub purpose: Purpose,
    /// What seals secrets.
    pub master: MasterKeys,
    /// Dates what is stored.
    pub clock: Arc<dyn Clock>,
    /// Draws ids and secrets.
    pub chance: Arc<dyn Chance>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("database", &self.database)
            .field("purpose", &self.purpose)
            .finish_non_exhaustive()
    }
}
