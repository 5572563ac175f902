//! The snapshot of the configuration: the only cache in the process. Matching, authentication and sending read it.
//!
//! Every change of the control plane raises `config_clock.seq` and leaves that number on the rows it changed. A refresh
//! reads the rows with a number above the one applied last, so that its cost is that of the change. What belongs to one
//! tenant is replaced as a whole: a reader sees it before a change or after it, never in between.

use crate::error::Result;
use crate::event_types::{self, EventType};
use crate::projects::{read_formats, read_prefix};
use crate::seal::MasterKeys;
use crate::tx::{Row, Tx, values};
use crate::{endpoints, keys};
use parking_lot::RwLock;
use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use stentor_domain::endpoint::Endpoint;
use stentor_domain::id::{ProjectId, TenantId};
use stentor_domain::key::Key;
use stentor_domain::name::EventTypeName;
use stentor_domain::notice::NoticeKind;
use stentor_domain::payload_format::PayloadFormats;
use stentor_domain::secret::SigningSecret;
use stentor_domain::signature_prefix::SignaturePrefix;

/// A tenant, as matching sees it.
#[derive(Clone, Debug)]
pub struct TenantConfig {
    /// Its id.
    pub id: TenantId,
    /// Its project.
    pub project: ProjectId,
    /// The owner's own id for it.
    pub uid: Option<String>,
    /// Raised by every change of the tenant or its endpoints.
    pub version: i64,
    /// Does it hold its project's endpoints for Stentor's own events? Nobody sees it then.
    pub operational: bool,
    /// Events with keys below have had their content erased.
    pub content_erased_below: i64,
    /// Its endpoints by key, oldest first.
    endpoints: Vec<Arc<EndpointConfig>>,
}

impl TenantConfig {
    /// All endpoints, oldest first.
    pub fn endpoints(&self) -> &[Arc<EndpointConfig>] {
        &self.endpoints
    }

    /// Those with a key above `after` and below `before`, oldest first.
    pub fn endpoints_between(&self, after: i64, before: i64) -> &[Arc<EndpointConfig>] {
        let place = |key: i64| {
            self.endpoints
                .partition_point(|known| known.endpoint.id.n() < key)
        };
        let (from, to) = (place(after.saturating_add(1)), place(before));
        self.endpoints.get(from..to).unwrap_or_default()
    }
}

/// An endpoint, as sending sees it.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Its project.
    pub project: ProjectId,
    /// Is it for Stentor's own events? Then its tenant is nobody's.
    pub operational: bool,
    /// Its shard.
    pub shard: u16,
    /// Its secrets, newest first; some may have expired.
    pub secrets: Vec<SigningSecret>,
    /// Names the version of its custom headers, if it has any.
    pub header_set: Option<i64>,
    /// The number that the configuration had when it was changed last.
    pub version: i64,
    /// What the engine made of its filter.
    pub made: Made,
}

/// What a layer above has made of the text of one version of something: made when it is first asked for, kept beside that
/// version, and gone with it. The store keeps text and does not read it.
#[derive(Clone, Debug, Default)]
pub struct Made(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Made {
    /// What `make` makes. `None` where something of another type is kept.
    pub fn get_or_make<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Option<&T> {
        self.0.get_or_init(|| Arc::new(make())).downcast_ref()
    }
}

/// An event type whose schema is enforced, as publishing sees it.
#[derive(Debug)]
pub struct EnforcedType {
    /// Its JSON Schema.
    pub schema: String,
    /// What was made of it.
    pub made: Made,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectConfig {
    /// Its id.
    pub id: ProjectId,
    /// Its name, unique.
    pub name: String,
    /// Is it a sandbox? It stays what it is.
    pub sandbox: bool,
    /// What the names of its own signature headers begin with.
    pub signature_prefix: SignaturePrefix,
    /// What the bodies of new endpoints' deliveries look like.
    pub payload_formats: PayloadFormats,
    /// The number that the configuration had when it was changed last.
    pub version: i64,
}

/// The snapshot. Cheap to share; a question takes a read lock for a look-up.
#[derive(Debug)]
pub struct Config {
    maps: RwLock<Maps>,
    applied: AtomicI64,
    master: MasterKeys,
}

#[derive(Debug, Default)]
struct Maps {
    projects: HashMap<i64, Arc<ProjectConfig>>,
    projects_by_name: HashMap<String, i64>,
    tenants: HashMap<i64, Arc<TenantConfig>>,
    tenants_by_uid: HashMap<(i64, String), i64>,
    /// The operational tenants, by project.
    operational: HashMap<i64, i64>,
    endpoints: HashMap<i64, Arc<EndpointConfig>>,
    /// By project and name; no project is here that enforces none.
    enforced_types: HashMap<i64, HashMap<EventTypeName, Arc<EnforcedType>>>,
    keys: HashMap<[u8; 32], Arc<Key>>,
    key_hashes: HashMap<i64, [u8; 32]>,
}

impl Config {
    /// An empty snapshot, whose secrets `master` will open.
    pub(crate) fn new(master: MasterKeys) -> Self {
        Self {
            maps: RwLock::default(),
            applied: AtomicI64::new(0),
            master,
        }
    }

    /// The key whose text has this SHA-256 hash, unless it was revoked. Its expiry is the caller's to judge.
    pub fn key(&self, hash: &[u8; 32]) -> Option<Arc<Key>> {
        // Looking up a hash takes the same time whatever key it came from.
        self.maps.read().keys.get(hash).cloned()
    }

    /// The project with this name.
    pub fn project_named(&self, name: &str) -> Option<Arc<ProjectConfig>> {
        let maps = self.maps.read();
        maps.projects_by_name
            .get(name)
            .and_then(|n| maps.projects.get(n))
            .cloned()
    }

    /// The project with this id.
    pub fn project(&self, id: ProjectId) -> Option<Arc<ProjectConfig>> {
        self.maps
            .read()
            .projects
            .get(&id.n())
            .filter(|project| project.id == id)
            .cloned()
    }

    /// The tenant with this id.
    pub fn tenant(&self, id: TenantId) -> Option<Arc<TenantConfig>> {
        self.maps
            .read()
            .tenants
            .get(&id.n())
            .filter(|tenant| tenant.id == id)
            .cloned()
    }

    /// The tenant of `project` that its owner calls `uid`.
    pub fn tenant_with_uid(&self, project: ProjectId, uid: &str) -> Option<Arc<TenantConfig>> {
        let maps = self.maps.read();
        let n = maps.tenants_by_uid.get(&(project.n(), uid.to_owned()))?;
        maps.tenants.get(n).cloned()
    }

    /// The tenant that holds a project's endpoints for Stentor's own events, where it has had one.
    pub fn operational_tenant(&self, project: ProjectId) -> Option<Arc<TenantConfig>> {
        let maps = self.maps.read();
        let n = maps.operational.get(&project.n())?;
        maps.tenants.get(n).cloned()
    }

    /// Would anybody in the project hear of this? Filters are not asked.
    pub fn wants_to_hear(&self, project: ProjectId, kind: NoticeKind) -> bool {
        let Some(tenant) = self.operational_tenant(project) else {
            return false;
        };
        let event_type = kind.event_type();
        tenant.endpoints().iter().any(|known| {
            let endpoint = &known.endpoint;
            endpoint.status.matches_events() && endpoint.settings.subscription.types.matches(&event_type)
        })
    }

    /// Was the content of this event erased with all of its tenant's?
    pub fn content_is_erased(&self, tenant: i64, event: i64) -> bool {
        let maps = self.maps.read();
        let tenant = maps.tenants.get(&tenant);
        tenant.is_some_and(|tenant| event < tenant.content_erased_below)
    }

    /// The event type of a project with this name, where its schema is enforced.
    pub fn enforced_type(&self, project: ProjectId, name: &EventTypeName) -> Option<Arc<EnforcedType>> {
        let maps = self.maps.read();
        maps.enforced_types.get(&project.n())?.get(name).cloned()
    }

    /// The endpoint with this key, unless it or its tenant was deleted.
    pub fn endpoint(&self, n: i64) -> Option<Arc<EndpointConfig>> {
        self.maps.read().endpoints.get(&n).cloned()
    }

    /// The same with its project, both as of one moment: what sending goes by.
    pub fn endpoint_with_project(&self, n: i64) -> Option<(Arc<EndpointConfig>, Arc<ProjectConfig>)> {
        let maps = self.maps.read();
        let endpoint = maps.endpoints.get(&n)?;
        // A project with tenants cannot be deleted.
        let project = maps.projects.get(&endpoint.project.n())?;
        Some((Arc::clone(endpoint), Arc::clone(project)))
    }

    /// The number of the configuration's clock that the snapshot has.
    pub(crate) fn applied(&self) -> i64 {
        self.applied.load(Ordering::Relaxed)
    }

    /// Brings the snapshot up to what the database says, as of one moment of it. Nobody else may do so meanwhile.
    pub(crate) async fn refresh(&self, tx: &mut Tx<'_>) -> Result<()> {
        let since = self.applied();
        let seq = tx
            .row("SELECT seq FROM config_clock", values![], |row| row.int(0))
            .await?
            .unwrap_or(0);
        if seq == since && seq != 0 {
            return Ok(());
        }
        let projects = tx.rows(PROJECTS, values![since], read_project).await?;
        let keys = keys::changed(tx, since).await?;
        let tenants = tx.rows(TENANTS, values![since], read_tenant).await?;
        let event_types = event_types::changed(tx, since).await?;
        let endpoints = endpoints::changed(tx, since, &self.master).await?;
        let mut maps = self.maps.write();
        projects
            .into_iter()
            .for_each(|(project, deleted)| maps.put_project(project, deleted));
        keys.into_iter()
            .for_each(|(hash, key, revoked)| maps.put_key(hash, key, revoked));
        tenants
            .into_iter()
            .for_each(|(tenant, deleted)| maps.put_tenant(tenant, deleted));
        event_types
            .into_iter()
            .for_each(|event_type| maps.put_event_type(event_type));
        maps.put_endpoints(endpoints);
        self.applied.store(seq, Ordering::Relaxed);
        Ok(())
    }
}

/// In the order of their changes: a name that one gave up may be another one's since.
const PROJECTS: &str =
    "SELECT n, tag, name, deleted_at, sandbox, signature_prefix, config_version, payload_formats FROM projects WHERE config_version > ?1
     ORDER BY config_version";
const TENANTS: &str =
    "SELECT n, tag, project, (SELECT tag FROM projects WHERE n = tenants.project), uid, config_version, deleted_at,
            content_erased_below, kind = 'operational' FROM tenants WHERE config_version > ?1 ORDER BY config_version";

fn read_project(row: &Row<'_>) -> Result<(ProjectConfig, bool)> {
    let id = ProjectId(row.id(0)?);
    Ok((
        ProjectConfig {
            id,
            name: row.text(2)?,
            sandbox: row.flag(4)?,
            signature_prefix: read_prefix(row, 5)?,
            payload_formats: read_formats(row, 7)?,
            version: row.int(6)?,
        },
        row.int_or_null(3)?.is_some(),
    ))
}

fn read_tenant(row: &Row<'_>) -> Result<(TenantConfig, bool)> {
    let tenant = TenantConfig {
        id: TenantId(row.id(0)?),
        project: ProjectId(row.id(2)?),
        uid: row.text_or_null(4)?,
        version: row.int(5)?,
        content_erased_below: row.int(7)?,
        operational: row.flag(8)?,
        endpoints: Vec::new(),
    };
    Ok((tenant, row.int_or_null(6)?.is_some()))
}

impl Maps {
    fn put_project(&mut self, project: ProjectConfig, deleted: bool) {
        let n = project.id.n();
        if let Some(before) = self.projects.remove(&n) {
            self.projects_by_name.remove(&before.name);
        }
        if !deleted {
            self.projects_by_name.insert(project.name.clone(), n);
            self.projects.insert(n, Arc::new(project));
        }
    }

    fn put_key(&mut self, hash: [u8; 32], key: Key, revoked: bool) {
        let n = key.id.n();
        if let Some(before) = self.key_hashes.remove(&n) {
            self.keys.remove(&before);
        }
        if !revoked {
            self.key_hashes.insert(n, hash);
            self.keys.insert(hash, Arc::new(key));
        }
    }

    fn put_tenant(&mut self, mut tenant: TenantConfig, deleted: bool) {
        let n = tenant.id.n();
        let before = self.tenants.remove(&n);
        if let Some(uid) = before.as_ref().and_then(|before| before.uid.clone()) {
            self.tenants_by_uid.remove(&(tenant.project.n(), uid));
        }
        let endpoints = before
            .map(|before| Arc::unwrap_or_clone(before).endpoints)
            .unwrap_or_default();
        if deleted {
            if tenant.operational {
                self.operational.remove(&tenant.project.n());
            }
            for configured in endpoints {
                self.endpoints.remove(&configured.endpoint.id.n());
            }
            return;
        }
        if tenant.operational {
            self.operational.insert(tenant.project.n(), n);
        }
        tenant.endpoints = endpoints;
        if let Some(uid) = &tenant.uid {
            self.tenants_by_uid.insert((tenant.project.n(), uid.clone()), n);
        }
        self.tenants.insert(n, Arc::new(tenant));
    }

    fn put_event_type(&mut self, event_type: EventType) {
        let n = event_type.project.n();
        let settings = event_type.settings;
        let schema = settings
            .schema
            .filter(|_| settings.validate && event_type.archived_at.is_none());
        match schema {
            Some(schema) => {
                let enforced = EnforcedType {
                    schema,
                    made: Made::default(),
                };
                let names = self.enforced_types.entry(n).or_default();
                names.insert(event_type.name, Arc::new(enforced));
            }
            None => {
                if let Some(names) = self.enforced_types.get_mut(&n) {
                    names.remove(&event_type.name);
                    if names.is_empty() {
                        self.enforced_types.remove(&n);
                    }
                }
            }
        }
    }

    fn put_endpoints(&mut self, changed: Vec<(EndpointConfig, bool)>) {
        for (configured, deleted) in changed {
            let (n, tenant) = (configured.endpoint.id.n(), configured.endpoint.tenant.n());
            let Some(tenant) = self.tenants.get_mut(&tenant) else {
                continue;
            };
            // Copies the list only where a publish is looking at it right now.
            let endpoints = &mut Arc::make_mut(tenant).endpoints;
            let place = endpoints.binary_search_by_key(&n, |known| known.endpoint.id.n());
            if deleted {
                self.endpoints.remove(&n);
                if let Ok(at) = place {
                    endpoints.remove(at);
                }
                continue;
            }
            let configured = Arc::new(configured);
            self.endpoints.insert(n, Arc::clone(&configured));
            match place {
                Ok(at) => {
                    if let Some(slot) = endpoints.get_mut(at) {
                        *slot = configured;
                    }
                }
                Err(at) => endpoints.insert(at, configured),
            }
        }
    }
}
