//! The two that are measured, each started anew for each round: the server on a database of its own, and the relay.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use http::{HeaderMap, Uri};
use rustix::fs::statfs;
use serde_json::json;
use stentor_domain::key::{KeyText, Scope};
use tempfile::TempDir;

use super::child::{Child, Usage};
use super::load::Door;
use super::postgres::{Meter, OwnDatabase, Server};
use super::receiver::path_of;
use crate::client::{Api, json_headers, text};
use crate::failure::Failure;
use crate::system::SystemChance;

/// Tenants that the connections are spread over, so that the cap per endpoint is not what is measured.
const TENANTS: usize = 32;
const EVENT_TYPE: &str = "bench.steady";
/// The magic numbers of file systems that keep files in memory (statfs(2)).
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;
const WAL_FILE: &str = "stentor.db-wal";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What only passes on.
    Relay,
    /// What delivers durably.
    Server,
}

/// A running one.
pub(super) struct Subject {
    child: Child,
    /// Where its events are published, a door for each tenant.
    pub(super) doors: Vec<Door>,
    /// Of the server; removed when this is dropped.
    folder: Option<TempDir>,
    /// Of a server on PostgreSQL.
    database: Option<OwnDatabase>,
}

impl Subject {
    /// Starts one whose events go to `fan_out` endpoints each, at the receiver's address.
    pub(super) async fn start(
        kind: Kind,
        receiver: SocketAddr,
        fan_out: u64,
        postgres: Option<&Server>,
    ) -> Result<Self, Failure> {
        match kind {
            Kind::Relay => start_relay(receiver, fan_out).await,
            Kind::Server => start_server(receiver, fan_out, postgres).await,
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.child.address
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Result<Usage, Failure> {
        self.child.usage()
    }

    /// Bytes of the write-ahead log at this moment; `None` for who has none.
    pub(super) fn wal_bytes(&self) -> Option<u64> {
        let folder = self.folder.as_ref()?;
        fs::metadata(folder.path().join(WAL_FILE))
            .ok()
            .map(|file| file.len())
    }

    /// What PostgreSQL has spent so far, where that keeps its data.
    pub(super) async fn meter(&self) -> Result<Option<Meter>, Failure> {
        match &self.database {
            Some(database) => database.meter().await.map(Some),
            None => Ok(None),
        }
    }

    /// Ends it, and removes what it stored in files. Its database is left to be looked at.
    pub(super) async fn stop(self) -> Result<Option<OwnDatabase>, Failure> {
        self.child.stop().await?;
        Ok(self.database)
    }
}

async fn start_relay(receiver: SocketAddr, fan_out: u64) -> Result<Subject, Failure> {
    let (to, fan_out) = (receiver.to_string(), fan_out.to_string());
    let child = Child::start(["bench-relay", "--to", &to, "--fan-out", &fan_out], &[]).await?;
    let doors = (0..TENANTS).map(|tenant| {
        Ok(Door {
            uri: uri(&format!("/{tenant}"))?,
            headers: HeaderMap::new(),
            before: String::new(),
            after: "",
        })
    });
    Ok(Subject {
        child,
        doors: doors.collect::<Result<_, Failure>>()?,
        folder: None,
        database: None,
    })
}

async fn start_server(
    receiver: SocketAddr,
    fan_out: u64,
    postgres: Option<&Server>,
) -> Result<Subject, Failure> {
    let folder = folder()?;
    let database = match postgres {
        Some(server) => Some(server.make().await?),
        None => None,
    };
    let data = folder.path().as_os_str();
    let key = KeyText::draw(Scope::Root, &SystemChance);
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-destination",
        "127.0.0.0/8",
        "--data",
    ];
    let words = words.into_iter().map(AsRef::as_ref).chain([data]);
    let mut variables = vec![("STENTOR_ROOT_KEY", key.expose().to_owned())];
    variables.extend(database.iter().flat_map(OwnDatabase::variables));
    let child = Child::start(words, &variables).await?;
    let mut api = Api::open(child.address, key.expose()).await?;
    let mut doors = Vec::with_capacity(TENANTS);
    for tenant in 0..TENANTS {
        let made = api
            .post("/v1/tenants", &json!({"name": format!("Tenant {tenant}")}))
            .await?;
        let id = text(&made, "id")?;
        for place in 0..fan_out {
            let url = format!("http://{receiver}{}", path_of(tenant, place));
            let endpoint = json!({"tenant": id, "name": format!("Endpoint {place}"), "url": url});
            api.post("/v1/endpoints", &endpoint).await?;
        }
        doors.push(Door {
            uri: uri("/v1/events")?,
            headers: json_headers(key.expose())?,
            before: format!(r#"{{"tenant":"{id}","type":"{EVENT_TYPE}","payload":"#),
            after: "}",
        });
    }
    Ok(Subject {
        child,
        doors,
        folder: Some(folder),
        database,
    })
}

/// A folder for a database in the working directory, on a disk: in memory nothing is durable, and fsync is free.
fn folder() -> Result<TempDir, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!("no folder can be made in the working directory: {error}"))
    };
    let folder = tempfile::Builder::new()
        .prefix("stentor-bench-")
        .tempdir_in(".")
        .map_err(|error| failed(&error))?;
    if in_memory(folder.path()).map_err(|error| failed(&error))? {
        let why = "the working directory is kept in memory, where nothing is durable; run this in a directory on a disk";
        return Err(Failure::Failed(why.to_owned()));
    }
    Ok(folder)
}

fn in_memory(path: &Path) -> rustix::io::Result<bool> {
    let kind = statfs(path)?.f_type;
    Ok([TMPFS, RAMFS].contains(&kind))
}

fn uri(path: &str) -> Result<Uri, Failure> {
    path.parse()
        .map_err(|error| Failure::Failed(format!("{path} is not a path: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_no_place_for_a_durable_database() {
        // Linux mounts it everywhere but in the barest containers.
        if Path::new("/dev/shm").is_dir() {
            assert!(in_memory(Path::new("/dev/shm")).unwrap());
        }
        assert!(!in_memory(Path::new("/proc")).unwrap());
    }
}
