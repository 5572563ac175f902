//! Who calls, about which object, and under which idempotency key: what is read from a request's head, the same for all
//! contracts.

use crate::app::App;
use crate::listen::PeerAddr;
use crate::problem::Problem;
use axum::extract::{FromRequestParts, Path};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::sync::Arc;
use stentor_domain::id::TenantId;
use stentor_domain::key::Key;
use stentor_domain::limits::{IDEMPOTENCY_KEY_CHARACTERS_MAX, IDEMPOTENCY_KEY_LIFE};
use stentor_engine::{Caller, fingerprint};
use stentor_store::hot::KeptAnswer;
use stentor_store::once::{Done, Once};

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_TENANT: HeaderName = HeaderName::from_static("x-tenant");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Who sends a request: a valid key, and where from.
#[derive(Clone, Debug)]
pub(crate) struct Authenticated {
    pub(crate) key: Arc<Key>,
    pub(crate) address: Option<IpAddr>,
}

/// Finds out who sends a request and notes it there, so that whoever asks again, after a layer has, neither hashes the key
/// nor counts a failure twice.
pub(crate) fn authenticate(parts: &mut Parts, app: &App) -> Result<Authenticated, Problem> {
    let authenticated = authenticated(parts, app)?;
    parts.extensions.insert(authenticated.clone());
    Ok(authenticated)
}

/// Who sends a request, as it was noted or as its head says now.
fn authenticated(parts: &Parts, app: &App) -> Result<Authenticated, Problem> {
    if let Some(known) = parts.extensions.get::<Authenticated>() {
        return Ok(known.clone());
    }
    let address = client_address(parts, app);
    let key = match presented_key(&parts.headers)? {
        Some(text) => app.engine().authenticate(text),
        None => None,
    };
    match key {
        Some(key) => Ok(Authenticated { key, address }),
        None => Err(unauthenticated(app, address)),
    }
}

/// An authenticated request: who calls, and its idempotency key, if it has one.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) caller: Caller,
    idempotency: Option<Idempotency>,
}

#[derive(Debug)]
struct Idempotency {
    key: String,
    /// Method and path, which the key is scoped to.
    operation: String,
}

impl FromRequestParts<App> for Call {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        // Not noted: a handler is the last to ask.
        let Authenticated { key, address } = authenticated(parts, app)?;
        let (mut project_named, mut tenant_named) = (None, header_text(&parts.headers, &X_TENANT)?);
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match &*name {
                "project" => project_named = Some(value.into_owned()),
                "tenant" if tenant_named.is_none() => tenant_named = Some(value.into_owned()),
                _ => {}
            }
        }
        let caller = Caller {
            key,
            address,
            project_named,
            tenant_named,
        };
        Ok(Self {
            caller,
            idempotency: idempotency(parts)?,
        })
    }
}

/// The id or name in a request's path, or several as a tuple. What is no text is nobody's id.
#[derive(Debug)]
pub(crate) struct Named<T = String>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(named)| Self(named))
            .map_err(|_| Problem::not_found())
    }
}

impl Call {
    /// What makes a repetition of this request find its first answer, which `render` renders without what is shown only
    /// once. The scope is project (which the body may name), tenant acted for, method and path (contract v1).
    pub(crate) fn once<T>(
        &self,
        app: &App,
        project: Option<&str>,
        tenant: Option<TenantId>,
        body: &[u8],
        render: impl FnOnce(&T) -> (StatusCode, Bytes) + Send + Sync + 'static,
    ) -> Result<Option<Once<T>>, Problem> {
        let Some((hash, body_hash)) = self.hashes(app, project, tenant, body)? else {
            return Ok(None);
        };
        let render = Box::new(move |made: &T| {
            let (status, body) = render(made);
            (status.as_u16(), body)
        });
        Ok(Some(Once {
            hash,
            body_hash,
            expires_at: app.engine().now().plus(IDEMPOTENCY_KEY_LIFE),
            render,
        }))
    }

    /// The same for an answer that is known before the change is made, as that of a publish is.
    pub(crate) fn kept_answer(
        &self,
        app: &App,
        tenant: Option<TenantId>,
        body: &[u8],
        answer: impl FnOnce() -> (StatusCode, Bytes),
    ) -> stentor_engine::Result<Option<KeptAnswer>> {
        let Some((hash, body_hash)) = self.hashes(app, None, tenant, body)? else {
            return Ok(None);
        };
        let (status, answer) = answer();
        let expires_at = app.engine().now().plus(IDEMPOTENCY_KEY_LIFE);
        Ok(Some(KeptAnswer {
            hash,
            body_hash,
            status: status.as_u16(),
            answer,
            expires_at,
        }))
    }

    fn hashes(
        &self,
        app: &App,
        project: Option<&str>,
        tenant: Option<TenantId>,
        body: &[u8],
    ) -> stentor_engine::Result<Option<([u8; 16], [u8; 16])>> {
        let Some(Idempotency { key, operation }) = &self.idempotency else {
            return Ok(None);
        };
        let project = app.engine().project(&self.caller, project)?.id;
        let scope = format!(
            "{project} {} {operation} {key}",
            tenant.map(|id| id.to_string()).unwrap_or_default()
        );
        Ok(Some((
            fingerprint::of(&[scope.as_bytes()]),
            fingerprint::of(&[body]),
        )))
    }
}

/// Answers a change: as `render` says where it was made now, as the first time where it is repeated.
pub(crate) fn answer<T>(done: Done<T>, render: impl FnOnce(T) -> Response) -> Result<Response, Problem> {
    match done {
        Done::Now(made) => Ok(render(made)),
        Done::Before { status, answer } => Ok(repeated(status, answer)),
        Done::Conflict => Err(key_reused()),
    }
}

/// The answer of the first time.
pub(crate) fn repeated(status: u16, answer: Bytes) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true")),
    ];
    (status, headers, answer).into_response()
}

/// The idempotency key was used before for another request.
pub(crate) fn key_reused() -> Problem {
    let detail = "This Idempotency-Key was used for another request. Draw a new one for each new request.";
    Problem::new(StatusCode::CONFLICT, "idempotency_key_reused", detail)
}

fn idempotency(parts: &Parts) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = header_text(&parts.headers, &IDEMPOTENCY_KEY)? else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_CHARACTERS_MAX {
        let rule = format!("must be 1 to {IDEMPOTENCY_KEY_CHARACTERS_MAX} characters");
        return Err(Problem::invalid().with_error("Idempotency-Key", rule));
    }
    let operation = format!("{} {}", parts.method, parts.uri.path().trim_end_matches('/'));
    Ok(Some(Idempotency { key, operation }))
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| Problem::invalid().with_error(name.as_str(), "must be visible ASCII"))?;
    Ok(Some(text.to_owned()))
}

/// The key in `Authorization: Bearer` or `X-API-Key`. Two different ones are a mistake that must not be resolved by
/// guessing.
fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let text = value.to_str().unwrap_or_default();
        text.split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map_or("", |(_, key)| key.trim())
    });
    let plain = headers
        .get_all(X_API_KEY)
        .iter()
        .map(|value| value.to_str().unwrap_or_default().trim());
    let mut keys = bearer.chain(plain);
    let first = keys.next();
    if keys.any(|other| Some(other) != first) {
        return Err(refused("The request carries two different keys; send one."));
    }
    Ok(first)
}

fn unauthenticated(app: &App, address: Option<IpAddr>) -> Problem {
    let counted = address.map_or(Ok(()), |address| {
        app.attempts_at_keys().count(address, app.engine().now())
    });
    match counted {
        Ok(()) => refused("Send a valid key: `Authorization: Bearer KEY` or `X-API-Key: KEY`."),
        Err(wait) => {
            let detail = "Too many failed authentications from this address; wait, then send a valid key.";
            Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_failed_authentications",
                detail,
            )
            .retry_after(wait)
        }
    }
}

fn refused(detail: &'static str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail)
        .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

/// Where the request comes from: the peer, or what a trusted proxy says. The last untrusted address of the chain counts:
/// whatever stands before it was written by the client.
fn client_address(parts: &Parts, app: &App) -> Option<IpAddr> {
    let peer = parts.extensions.get::<PeerAddr>()?.0.ip().to_canonical();
    let trusted = |address: &IpAddr| {
        app.settings()
            .trusted_proxies
            .iter()
            .any(|proxy| proxy.contains(address))
    };
    if !trusted(&peer) {
        return Some(peer);
    }
    let forwarded = parts
        .headers
        .get_all(X_FORWARDED_FOR)
        .iter()
        .rev()
        .filter_map(|value| value.to_str().ok());
    let chain = forwarded
        .flat_map(|line| line.rsplit(','))
        .map(|part| part.trim().parse::<IpAddr>());
    for hop in chain {
        match hop {
            Ok(address) if trusted(&address.to_canonical()) => {}
            Ok(address) => return Some(address.to_canonical()),
            Err(_) => break,
        }
    }
    Some(peer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::AppSettings;
    use http::Request;
    use stentor_engine::{Engine, Settings};
    use stentor_store::{MasterKey, MasterKeys, Options, Purpose, Store};
    use stentor_testkit::{SeededChance, StepClock, TestDatabase};

    #[tokio::test]
    async fn whoever_was_authenticated_is_not_asked_for_the_key_again() {
        let database = TestDatabase::new();
        let (store, _fresh) = Store::open(Options {
            database: database.location(),
            purpose: Purpose::Run,
            master: MasterKeys::new(MasterKey::new([7; 32]), vec![]),
            clock: Arc::<StepClock>::default(),
            chance: Arc::new(SeededChance::default()),
        })
        .await
        .unwrap();
        let engine = Engine::new(store, Settings::default());
        let root = engine.prepare(None).await.unwrap().unwrap();
        let app = App::new(engine, AppSettings::default());

        let request = Request::builder().header(X_API_KEY, root.expose()).body(());
        let (mut parts, ()) = request.unwrap().into_parts();
        let first = authenticate(&mut parts, &app).unwrap();
        parts.headers.clear();
        let again = Call::from_request_parts(&mut parts, &app).await.unwrap();
        assert!(Arc::ptr_eq(&first.key, &again.caller.key));
        parts.extensions.clear();
        let refused = authenticate(&mut parts, &app).unwrap_err();
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    }
}
