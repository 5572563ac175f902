//! One running node: everything wired together, started and stopped in order.
//!
//! The wiring says who knows whom: the store is opened first, its `Fresh` goes to the dispatcher, the engine and the
//! dispatcher both hold the store, HTTP holds the engine. Stopping goes the other way: readiness off, no new requests, what
//! is in flight is finished or broken off, the store closes last, so that everything can still be recorded.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use stentor_delivery::attempt::Attempting;
use stentor_delivery::dispatch::{DispatchLimits, Dispatcher};
use stentor_delivery::guard::Guard;
use stentor_delivery::resolve::SystemResolver;
use stentor_delivery::transport::{HttpSettings, HttpTransport};
use stentor_domain::address::AllowList;
use stentor_domain::key::KeyText;
use stentor_domain::{Chance, Clock};
use stentor_engine::{Engine, Settings, jobs};
use stentor_http::listen::{self, ListenLimits};
use stentor_http::{App, AppSettings, Front};
use stentor_store::{Options, Purpose, Store};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::ServeConfig;
use crate::data_folder;
use crate::failure::Failure;
use crate::key_source::{self, KeySource};
use crate::open_files;
use crate::system::{SystemChance, SystemClock};

/// How often connections that nobody uses are looked for.
const CLOSE_IDLE_EVERY: Duration = Duration::from_secs(5);

/// A running node.
pub(crate) struct Node {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// The root key, where this start made one: to be shown once.
    pub(crate) new_root_key: Option<KeyText>,
    app: App,
    store: Store,
    dispatcher: Arc<Dispatcher>,
    stop_listening: watch::Sender<bool>,
    stop_working: watch::Sender<bool>,
    listening: JoinHandle<usize>,
    working: Vec<JoinHandle<()>>,
    grace: Duration,
}

impl Node {
    /// Starts everything. When it returns, requests are answered and readiness is on.
    pub(crate) async fn start(config: ServeConfig, open_files: u64) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let chance: Arc<dyn Chance> = Arc::new(SystemChance);
        data_folder::make(&config.store)?;
        let master = key_source::master_keys(&config.store, &*chance).await?;
        let known_keys = master.ids();
        let listener = listen::bind(config.listen).map_err(|error| cannot_listen(config.listen, &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| cannot_listen(config.listen, &error))?;

        let options = Options {
            database: config.store.database.clone(),
            purpose: Purpose::Run,
            master,
            clock: Arc::clone(&clock),
            chance: Arc::clone(&chance),
        };
        let (store, fresh) = Store::open(options)
            .await
            .map_err(|error| Failure::Failed(error.to_string()))?;
        let sockets = open_files::share(open_files, config.connections_max, config.in_flight_max);
        let allow = AllowList::new(config.allow_destinations.clone());
        let transport = Arc::new(transport(&config, &allow, address, &clock)?);
        let attempting = Attempting::new(
            Arc::clone(&transport) as _,
            Arc::clone(&clock),
            chance,
            allow.clone(),
            config.patience,
        );
        let limits = DispatchLimits {
            in_flight_max: sockets.in_flight_max,
            in_flight_per_endpoint_max: config.in_flight_per_endpoint_max,
        };
        let dispatcher = Dispatcher::new(store.clone(), clock, attempting, limits);
        let (engine, new_root_key) = engine(&config, store.clone(), allow).await?;

        let (stop_listening, listening_stopped) = watch::channel(false);
        let (stop_working, working_stopped) = watch::channel(false);
        let working = vec![
            tokio::spawn(Arc::clone(&dispatcher).run(fresh, working_stopped.clone())),
            tokio::spawn(jobs::run(engine.clone(), working_stopped.clone())),
            tokio::spawn(key_source::follow(
                KeySource::of(&config.store),
                store.clone(),
                known_keys,
                working_stopped.clone(),
            )),
            tokio::spawn(close_idle(transport, working_stopped)),
        ];
        let app = App::new(engine, app_settings(&config));
        let limits = ListenLimits {
            connections_max: sockets.connections_max,
            ..ListenLimits::default()
        };
        let grace = config.shutdown_grace;
        let serving = listen::serve(
            listener,
            Front::new(app.clone()),
            limits,
            stopped(listening_stopped),
            async move { wait(grace).await },
        );
        let listening = tokio::spawn(serving);
        app.set_ready(true);
        Ok(Self {
            address,
            new_root_key,
            app,
            store,
            dispatcher,
            stop_listening,
            stop_working,
            listening,
            working,
            grace,
        })
    }

    /// Waits until this process must not go on, since another one works on the same database, and tells why.
    pub(crate) async fn evicted(&self) -> String {
        self.store.evicted().await
    }

    /// Stops in order. Requests and attempts in flight have the grace each; what takes longer is broken off, recorded, and
    /// repeated by the next start.
    pub(crate) async fn stop(self) {
        self.app.set_ready(false);
        self.stop_listening.send_replace(true);
        match self.listening.await {
            Ok(0) => {}
            Ok(dropped) => tracing::warn!(dropped, "connections did not end in time and were dropped"),
            Err(error) => tracing::error!(%error, "the listener failed"),
        }
        self.stop_working.send_replace(true);
        for work in self.working {
            if let Err(error) = work.await {
                tracing::error!(%error, "background work failed");
            }
        }
        self.dispatcher.finish(wait(self.grace)).await;
        self.store.close().await;
    }
}

fn app_settings(config: &ServeConfig) -> AppSettings {
    AppSettings {
        trusted_proxies: config.trusted_proxies.clone(),
        public_hosts: config.public_hosts.clone(),
        failed_authentications_per_minute: config.failed_authentication_per_minute,
        request_quotas: config.request_quotas,
    }
}

/// The engine, with what a server cannot do without; and the root key, where it was made now.
async fn engine(
    config: &ServeConfig,
    store: Store,
    allow: AllowList,
) -> Result<(Engine, Option<KeyText>), Failure> {
    let settings = Settings {
        allow,
        payload_bytes_max: config.payload_bytes_max,
        endpoints_per_tenant_max: config.endpoints_per_tenant_max,
        organization_endpoints_max: config.organization_endpoints_max,
        retention: config.retention,
        forwards_traces: config.forwards_traces,
    };
    let engine = Engine::new(store, settings);
    let root_key = config.root_key.as_ref();
    let root_key = root_key.map(|key| KeyText::given(key.expose())).transpose();
    let root_key = root_key.map_err(|rule| Failure::Failed(rule.to_owned()))?;
    let prepared = engine.prepare(root_key).await;
    let made = prepared.map_err(|error| Failure::Failed(error.to_string()))?;
    Ok((engine, made))
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::Failed(format!(
        "cannot listen on {address}: {error}; choose another address with --listen"
    ))
}

fn transport(
    config: &ServeConfig,
    allow: &AllowList,
    own: SocketAddr,
    clock: &Arc<dyn Clock>,
) -> Result<HttpTransport, Failure> {
    let extra_roots = config
        .ca_file
        .as_deref()
        .map(read_roots)
        .transpose()?
        .unwrap_or_default();
    let settings = HttpSettings {
        guard: Guard::new(allow.clone(), vec![own]),
        extra_roots,
        egress_proxy: config.egress_proxy.clone(),
        ..HttpSettings::default()
    };
    let resolver = Arc::new(SystemResolver::new(Arc::clone(clock)));
    HttpTransport::new(settings, resolver, Arc::clone(clock))
        .map_err(|error| Failure::Failed(format!("a root certificate of --ca-file cannot be used: {error}")))
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let broken = |error: &dyn std::fmt::Display| {
        Failure::Failed(format!(
            "--ca-file {} cannot be read as PEM certificates: {error}",
            path.display()
        ))
    };
    let roots: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|error| broken(&error))?
        .collect();
    let roots = roots.map_err(|error| broken(&error))?;
    if roots.is_empty() {
        Err(broken(&"it holds none"))
    } else {
        Ok(roots)
    }
}

async fn close_idle(transport: Arc<HttpTransport>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = wait(CLOSE_IDLE_EVERY) => transport.close_idle(),
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the node.
    let _ = stop.wait_for(|stop| *stop).await;
}

#[expect(
    clippy::disallowed_methods,
    reason = "the node's own waits, between rounds and at its end"
)]
async fn wait(wait: Duration) {
    tokio::time::sleep(wait).await;
}
