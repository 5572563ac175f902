//! A server without sockets: the router over a real database file, with stepped time and seeded chance.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use std::sync::Arc;
use stentor_domain::key::KeyText;
use stentor_engine::{Engine, Settings};
use stentor_http::{App, AppSettings};
use stentor_store::{Fresh, MasterKey, MasterKeys, Options, Store};
use stentor_testkit::{SeededChance, StepClock};
use tower::ServiceExt as _;

/// The root key of every world.
pub(crate) const ROOT: &str = "root-key-of-a-world-that-is-only-a-test";

/// A server, and what a test may do to it.
pub(crate) struct World {
    pub(crate) clock: Arc<StepClock>,
    pub(crate) store: Store,
    pub(crate) fresh: Fresh,
    folder: tempfile::TempDir,
    router: axum::Router,
}

/// What the server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::over(tempfile::tempdir().unwrap(), settings).await
    }

    /// The same data after the server's end and another start.
    pub(crate) async fn restarted(self) -> Self {
        let Self {
            folder,
            store,
            router,
            ..
        } = self;
        store.close().await;
        drop((store, router));
        Self::over(folder, Settings::default()).await
    }

    async fn over(folder: tempfile::TempDir, settings: Settings) -> Self {
        let clock = Arc::new(StepClock::default());
        let (store, fresh) = Store::open(Options {
            path: folder.path().join("stentor.db"),
            master: MasterKeys::new(MasterKey::new([7; 32]), vec![]),
            clock: Arc::clone(&clock) as _,
            chance: Arc::new(SeededChance::default()),
        })
        .unwrap();
        let engine = Engine::new(store.clone(), settings);
        engine.prepare(Some(KeyText::given(ROOT).unwrap())).await.unwrap();
        let router = stentor_http::router(App::new(engine, AppSettings::default()));
        Self {
            clock,
            store,
            fresh,
            folder,
            router,
        }
    }

    /// Sends a request with further headers; a body of null is none.
    pub(crate) async fn send(
        &self,
        key: &str,
        method_and_path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.send_text(key, method_and_path, headers, body).await
    }

    /// Sends a request whose body is as it is written.
    pub(crate) async fn send_text(
        &self,
        key: &str,
        method_and_path: &str,
        headers: &[(&str, &str)],
        body: String,
    ) -> Answer {
        let (method, path) = method_and_path.split_once(' ').unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(AUTHORIZATION, format!("Bearer {key}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(axum::body::Body::new(Full::from(body))).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Sends a request as it mostly is.
    pub(crate) async fn call(&self, key: &str, method_and_path: &str, body: Value) -> Answer {
        self.send(key, method_and_path, &[], body).await
    }

    /// Makes a tenant in project `default`, and a key for it.
    pub(crate) async fn tenant(&self, uid: &str) -> String {
        let tenant = json!({"name": uid, "uid": uid});
        self.call(ROOT, "POST /v1/tenants", tenant).await.expect(201);
        let key = json!({"role": "tenant", "tenant": uid});
        self.call(ROOT, "POST /v1/keys", key).await.expect(201)["key"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// All that the server has written into its folder.
    pub(crate) fn bytes_on_disk(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.folder.path()).unwrap();
        files
            .flat_map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }
}

impl Answer {
    /// The body, where the status is the expected one.
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The problem's code and the fields that it names.
    pub(crate) fn refusal(&self, status: u16) -> (String, Vec<String>) {
        let problem = self.expect(status);
        let field = |error: &Value| error["field"].as_str().unwrap().to_owned();
        let fields = problem["errors"].as_array().into_iter().flatten().map(field);
        (problem["code"].as_str().unwrap().to_owned(), fields.collect())
    }
}
