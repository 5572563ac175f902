//! Where a PostgreSQL server is, and who asks.

use crate::error::Result;
use std::fmt;
use tokio_postgres::{Client, Config, NoTls};

/// Where a PostgreSQL server is, and who asks: what a URL says, with the password.
#[derive(Clone)]
pub struct PostgresAddress {
    config: Config,
}

impl fmt::Debug for PostgresAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresAddress")
            .field("hosts", &self.config.get_hosts())
            .finish_non_exhaustive()
    }
}

impl PostgresAddress {
    /// Takes `postgres://user@host:port/name`. The error never quotes the text, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let config = url
            .parse()
            .map_err(|_| "it is not a URL such as postgres://user@host:5432/name".to_owned())?;
        Ok(Self { config })
    }

    /// A connection that the server knows as `name`.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client> {
        let mut config = self.config.clone();
        config.application_name(name);
        let (client, connection) = config.connect(NoTls).await?;
        // Ends when the client is dropped, or when the server goes.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the database ended");
            }
        });
        Ok(client)
    }
}
