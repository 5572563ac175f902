//! What is measured, started anew for each round: the server on a database of its own, or one that runs already, and the
//! relay; and what is made in a server through its API before the load comes.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use http::{HeaderMap, Uri};
use rustix::fs::statfs;
use serde_json::{Value, json};
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
const EVENT_TYPE: &str = "bench.event";
/// The magic numbers of file systems that keep files in memory (statfs(2)).
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;
const DATABASE_FILE: &str = "stentor.db";
const WAL_FILE: &str = "stentor.db-wal";

/// Where the measured server keeps its data, or where it runs already.
#[derive(Clone)]
pub(super) enum Place {
    /// In a file of its own.
    File,
    /// In a database of its own.
    Postgres(Server),
    /// Somebody else started it.
    Running(Target),
}

impl Place {
    /// The PostgreSQL server, if it is one.
    pub(super) fn postgres(&self) -> Option<&Server> {
        match self {
            Self::Postgres(server) => Some(server),
            Self::File | Self::Running(_) => None,
        }
    }
}

/// A server that runs already.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) key: String,
}

/// A running relay or server.
pub(super) struct Subject {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// `None` for one that runs already.
    child: Option<Child>,
    /// What its API is called with; empty for the relay.
    key: String,
    /// Of the server; removed when this is dropped.
    folder: Option<TempDir>,
    /// Of a server on PostgreSQL.
    database: Option<OwnDatabase>,
    /// Tenants in it, which a server that goes on running is rid of in the end.
    tenants: Vec<String>,
}

impl Subject {
    /// Starts a relay that passes each event on `fan_out` times to `receiver`. The second part is where events are published.
    pub(super) async fn relay(receiver: SocketAddr, fan_out: u64) -> Result<(Self, Vec<Door>), Failure> {
        let (to, fan_out) = (receiver.to_string(), fan_out.to_string());
        let child = Child::start(["bench-relay", "--to", &to, "--fan-out", &fan_out], &[]).await?;
        let doors = (0..TENANTS).map(|tenant| {
            Ok(Door {
                uri: uri(&format!("/{tenant}"))?,
                batch_uri: None,
                headers: HeaderMap::new(),
                before: String::new(),
                after: "",
            })
        });
        let relay = Self {
            address: child.address,
            child: Some(child),
            key: String::new(),
            folder: None,
            database: None,
            tenants: Vec::new(),
        };
        Ok((relay, doors.collect::<Result<_, Failure>>()?))
    }

    /// Starts a server with the further options `words`, or takes the one that runs.
    pub(super) async fn server(place: &Place, words: &[&str]) -> Result<Self, Failure> {
        if let Place::Running(target) = place {
            return Ok(Self {
                address: target.address,
                child: None,
                key: target.key.clone(),
                folder: None,
                database: None,
                tenants: Vec::new(),
            });
        }
        let folder = folder()?;
        let database = match place.postgres() {
            Some(server) => Some(server.make().await?),
            None => None,
        };
        let key = KeyText::draw(Scope::Root, &SystemChance).expose().to_owned();
        let child = start(folder.path(), database.as_ref(), &key, words).await?;
        Ok(Self {
            address: child.address,
            child: Some(child),
            key,
            folder: Some(folder),
            database,
            tenants: Vec::new(),
        })
    }

    /// Starts the server again, on what it has stored, with the further options `words`.
    pub(super) async fn start_again(&mut self, words: &[&str]) -> Result<(), Failure> {
        if let Some(folder) = &self.folder {
            let child = start(folder.path(), self.database.as_ref(), &self.key, words).await?;
            self.address = child.address;
            self.child = Some(child);
        }
        Ok(())
    }

    /// Its API, for making what is needed.
    pub(super) async fn setup(&mut self) -> Result<Setup<'_>, Failure> {
        Ok(Setup {
            api: Api::open(self.address, &self.key).await?,
            key: &self.key,
            tenants: &mut self.tenants,
        })
    }

    /// What it has used so far, where that can be known.
    pub(super) fn usage(&self) -> Result<Option<Usage>, Failure> {
        self.child.as_ref().map(Child::usage).transpose()
    }

    /// Bytes of the write-ahead log at this moment; `None` for who has none.
    pub(super) fn wal_bytes(&self) -> Option<u64> {
        let folder = self.folder.as_ref()?;
        fs::metadata(folder.path().join(WAL_FILE))
            .ok()
            .map(|file| file.len())
    }

    /// The database's file, where it is one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        let folder = self.folder.as_ref().filter(|_| self.database.is_none())?;
        Some(folder.path().join(DATABASE_FILE))
    }

    /// What PostgreSQL has spent so far, where that keeps its data.
    pub(super) async fn meter(&self) -> Result<Option<Meter>, Failure> {
        match &self.database {
            Some(database) => database.meter().await.map(Some),
            None => Ok(None),
        }
    }

    /// Asks its process to end, and leaves what it stored.
    pub(super) async fn end_process(&mut self) -> Result<(), Failure> {
        match self.child.take() {
            Some(child) => child.stop().await,
            None => Ok(()),
        }
    }

    /// Kills its process, as a power cut would.
    pub(super) async fn kill_process(&mut self) -> Result<(), Failure> {
        match self.child.take() {
            Some(child) => child.kill().await,
            None => Ok(()),
        }
    }

    /// Ends it, and removes what it stored in files. Its database is left to be looked at. One that goes on running loses the
    /// tenants that were made in it.
    pub(super) async fn stop(mut self) -> Result<Option<OwnDatabase>, Failure> {
        if self.child.is_none() && !self.tenants.is_empty() {
            let mut api = Api::open(self.address, &self.key).await?;
            for tenant in &self.tenants {
                api.delete(&format!("/v1/tenants/{tenant}")).await?;
            }
        }
        self.end_process().await?;
        Ok(self.database)
    }
}

async fn start(
    data: &Path,
    database: Option<&OwnDatabase>,
    key: &str,
    more: &[&str],
) -> Result<Child, Failure> {
    let words = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--allow-destination",
        "127.0.0.0/8",
    ];
    let words = words.iter().chain(more).map(AsRef::as_ref);
    let words = words.chain(["--data".as_ref(), data.as_os_str()]);
    let mut variables = vec![("STENTOR_ROOT_KEY", key.to_owned())];
    variables.extend(database.into_iter().flat_map(OwnDatabase::variables));
    Child::start(words, &variables).await
}

/// What is made in a server before it is measured.
pub(super) struct Setup<'a> {
    api: Api,
    key: &'a str,
    tenants: &'a mut Vec<String>,
}

impl Setup<'_> {
    /// Makes a tenant and gives its id.
    pub(super) async fn tenant(&mut self, name: &str) -> Result<String, Failure> {
        let made = self.api.post("/v1/tenants", &json!({"name": name})).await?;
        let id = text(&made, "id")?.to_owned();
        self.tenants.push(id.clone());
        Ok(id)
    }

    /// Makes an endpoint at `url` with the fields of `more` and gives its id.
    pub(super) async fn endpoint(
        &mut self,
        tenant: &str,
        url: &str,
        more: &[(&str, Value)],
    ) -> Result<String, Failure> {
        let common = [
            ("tenant", json!(tenant)),
            ("name", json!("Measured")),
            ("url", json!(url)),
        ];
        let fields = common.iter().chain(more);
        let endpoint = fields
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let made = self.api.post("/v1/endpoints", &Value::Object(endpoint)).await?;
        Ok(text(&made, "id")?.to_owned())
    }

    /// Holds an endpoint's deliveries, or resumes them.
    pub(super) async fn set_status(&mut self, endpoint: &str, status: &str) -> Result<(), Failure> {
        let path = format!("/v1/endpoints/{endpoint}");
        self.api.patch(&path, &json!({"status": status})).await?;
        Ok(())
    }

    /// Makes as many tenants as the load is spread over, each with `fan_out` endpoints at `receiver`, and tells where their
    /// events are published.
    pub(super) async fn steady_doors(
        &mut self,
        receiver: SocketAddr,
        fan_out: u64,
    ) -> Result<Vec<Door>, Failure> {
        let mut doors = Vec::with_capacity(TENANTS);
        for at in 0..TENANTS {
            let tenant = self.tenant(&format!("Tenant {at}")).await?;
            for place in 0..fan_out {
                let url = format!("http://{receiver}{}", path_of(at, place));
                self.endpoint(&tenant, &url, &[]).await?;
            }
            doors.push(self.door(&tenant)?);
        }
        Ok(doors)
    }

    /// Where the events of a tenant are published.
    pub(super) fn door(&self, tenant: &str) -> Result<Door, Failure> {
        Ok(Door {
            uri: uri("/v1/events")?,
            batch_uri: Some(uri("/v1/events/batch")?),
            headers: json_headers(self.key)?,
            before: format!(r#"{{"tenant":"{tenant}","type":"{EVENT_TYPE}","payload":"#),
            after: "}",
        })
    }
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
