//! A server without sockets: the front over a real database, a clock that is stepped and chance that is repeated.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use stentor_domain::attempt::{Attempt, Exchange, Outcome};
use stentor_domain::judge::Effect;
use stentor_domain::key::KeyText;
use stentor_engine::{Engine, Result, Settings};
use stentor_http::listen::{Answers, PeerAddr};
use stentor_http::{App, AppSettings, Front, RequestQuotas};
use stentor_store::hot::{Claimed, Finish, Next};
use stentor_store::{Fresh, Handover, MasterKey, MasterKeys, Options, Purpose, Store};
use stentor_testkit::{SeededChance, StepClock, TestDatabase};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

/// Failed authentications that an address has per minute here.
pub(crate) const FAILURES_PER_MINUTE: u32 = 3;
/// Where requests come from.
const PEER: &str = "192.0.2.1:40000";

pub(crate) struct World {
    pub(crate) clock: Arc<StepClock>,
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    /// What the dispatcher would be told.
    pub(crate) fresh: Fresh,
    /// The text of the root key that the start made.
    pub(crate) root: String,
    front: BoxCloneSyncService<Request<Body>, Response, Infallible>,
    pub(crate) database: TestDatabase,
}

/// What a person sees of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// The document; null where there is none.
    pub(crate) body: Value,
    /// The document as it was written.
    pub(crate) raw: String,
}

impl Answer {
    /// The text of a field.
    pub(crate) fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap().to_owned()
    }

    /// The status and, of a refusal, its code.
    pub(crate) fn verdict(&self) -> (u16, &str) {
        (self.status, self.body["code"].as_str().unwrap_or_default())
    }

    /// The document, where the status is the one that was expected.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.raw);
        self.body.clone()
    }

    /// The code and the fields at fault of a refusal, where the status is the one that was expected.
    pub(crate) fn refusal(&self, status: u16) -> (String, Vec<String>) {
        self.expect(status);
        let faults = self.faults().into_iter().map(str::to_owned);
        (self.text("code"), faults.collect())
    }

    /// The fields at fault.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let errors = self.body["errors"].as_array().map_or(&[][..], Vec::as_slice);
        errors
            .iter()
            .map(|error| error["field"].as_str().unwrap())
            .collect()
    }

    /// The values of a field in the items of a list.
    pub(crate) fn each(&self, field: &str) -> Vec<&str> {
        let items = self.body["data"].as_array().unwrap();
        items.iter().map(|item| item[field].as_str().unwrap()).collect()
    }
}

impl World {
    /// The next delivery that is handed over to be sent.
    pub(crate) async fn handed_over(&mut self) -> Claimed {
        loop {
            if let Handover::Claimed(mut claimed) = self.fresh.next().await.unwrap() {
                return claimed.remove(0);
            }
        }
    }

    /// Records the attempt of a delivery that was handed over, made and ended at this moment.
    pub(crate) async fn record(
        &self,
        claimed: &Claimed,
        outcome: Outcome,
        exchange: Exchange,
        next: Next,
        effect: Effect,
    ) {
        let now = self.store.clock().now();
        let configured = self.store.config().endpoint(claimed.endpoint).unwrap();
        let finish = Finish {
            delivery: claimed.delivery,
            event: claimed.event.id.n(),
            endpoint: claimed.endpoint,
            endpoint_version: configured.version,
            shard: claimed.shard,
            tenant: claimed.event.tenant,
            attempt: Attempt {
                no: claimed.attempt,
                trigger: claimed.trigger,
                started_at: now,
                outcome,
                exchange,
            },
            next,
            effect,
            patience: None,
            ended_at: now,
        };
        self.store.finish_attempt(finish).await.unwrap();
    }

    /// A first start.
    pub(crate) async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// A first start of an engine that an operator has set.
    pub(crate) async fn start_with(settings: Settings) -> Self {
        let (clock, chance) = (Arc::new(StepClock::default()), SeededChance::default());
        let mut world = Self::open(TestDatabase::new(), clock, chance, settings).await;
        world.root = world.prepare(None).await.unwrap().unwrap();
        world
    }

    /// A database that no server has been started with.
    pub(crate) async fn untouched() -> Self {
        Self::open(
            TestDatabase::new(),
            Arc::default(),
            SeededChance::default(),
            Settings::default(),
        )
        .await
    }

    /// Stops, and opens the same database again with other chance.
    pub(crate) async fn restart(self) -> Self {
        let Self {
            clock,
            store,
            root,
            database,
            engine,
            front,
            ..
        } = self;
        store.close().await;
        drop((engine, front, store));
        Self {
            root,
            ..Self::open(database, clock, SeededChance::new(2), Settings::default()).await
        }
    }

    async fn open(
        database: TestDatabase,
        clock: Arc<StepClock>,
        chance: SeededChance,
        settings: Settings,
    ) -> Self {
        let (store, fresh) = Store::open(Options {
            database: database.location(),
            purpose: Purpose::Run,
            master: MasterKeys::new(MasterKey::new([7; 32]), vec![]),
            clock: Arc::<StepClock>::clone(&clock),
            chance: Arc::new(chance),
        })
        .await
        .unwrap();
        let engine = Engine::new(store.clone(), settings);
        Self {
            clock,
            store,
            front: BoxCloneSyncService::new(Front::new(app(&engine, RequestQuotas::default()))),
            engine,
            fresh,
            root: String::new(),
            database,
        }
    }

    /// From now on serves what `make` makes of an application with these quotas.
    pub(crate) fn serve<S: Answers>(&mut self, quotas: RequestQuotas, make: impl FnOnce(App) -> S) {
        self.front = BoxCloneSyncService::new(make(app(&self.engine, quotas)));
    }

    /// What every start does, with the root key that an operator may have set; answers the one to be printed.
    pub(crate) async fn prepare(&self, given: Option<&str>) -> Result<Option<String>> {
        let given = given.map(|text| KeyText::given(text).unwrap());
        let printed = self.engine.prepare(given).await?;
        Ok(printed.map(|text| text.expose().to_owned()))
    }

    /// Someone with a key.
    pub(crate) fn with<'a>(&'a self, key: &'a str) -> Asker<'a> {
        self.with_headers(vec![("x-api-key", key)])
    }

    /// Someone with whatever headers.
    pub(crate) fn with_headers<'a>(&'a self, headers: Vec<(&'a str, &'a str)>) -> Asker<'a> {
        Asker { world: self, headers }
    }

    /// Whoever has the root key.
    pub(crate) fn root(&self) -> Asker<'_> {
        self.with(&self.root)
    }

    /// Makes a project with this name; answers its id.
    pub(crate) async fn project(&self, name: &str) -> String {
        let made = self.root().post("/v1/projects", json!({ "name": name })).await;
        made.text("id")
    }

    /// Makes a tenant of a project; answers its id.
    pub(crate) async fn tenant(&self, project: &str, uid: &str) -> String {
        let body = json!({ "name": uid, "uid": uid, "project": project });
        self.root().post("/v1/tenants", body).await.text("id")
    }

    /// Makes a tenant of project `default`; answers the text of a key for it.
    pub(crate) async fn tenant_key(&self, uid: &str) -> String {
        self.tenant("default", uid).await;
        self.key(json!({ "role": "tenant", "tenant": uid }))
            .await
            .text("key")
    }

    /// Makes a key; answers it with its text.
    pub(crate) async fn key(&self, body: Value) -> Answer {
        let made = self.root().post("/v1/keys", body).await;
        assert_eq!(made.status, 201, "{made:?}");
        made
    }
}

fn app(engine: &Engine, request_quotas: RequestQuotas) -> App {
    let settings = AppSettings {
        failed_authentications_per_minute: NonZeroU32::new(FAILURES_PER_MINUTE),
        request_quotas,
        ..AppSettings::default()
    };
    App::new(engine.clone(), settings)
}

/// Someone who asks, always with the same headers.
#[derive(Clone)]
pub(crate) struct Asker<'a> {
    world: &'a World,
    headers: Vec<(&'a str, &'a str)>,
}

impl<'a> Asker<'a> {
    pub(crate) fn and(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, Body::from(body.to_string())).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, Body::from(body.to_string())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.ask(Method::DELETE, path, Body::empty()).await
    }

    /// Asks for an operation named as the contract names it: `POST /v1/events`.
    pub(crate) async fn call(&self, operation: &str, body: Value) -> Answer {
        let (method, path) = operation.split_once(' ').unwrap();
        let body = if body.is_null() {
            Body::empty()
        } else {
            Body::from(body.to_string())
        };
        self.ask(method.parse().unwrap(), path, body).await
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Body) -> Answer {
        let peer: SocketAddr = PEER.parse().unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .extension(PeerAddr(peer));
        for (name, value) in &self.headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body).unwrap();
        let response = self.world.front.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            raw: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }
}
