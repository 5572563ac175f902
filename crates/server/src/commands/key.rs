//! `stentor key create`: makes an API key without a running server.

use std::io::Write as _;
use std::sync::Arc;

use stentor_domain::Timestamp;
use stentor_domain::{Chance, Clock};
use stentor_engine::error::Error;
use stentor_engine::keys::{MadeKey, NewKey};
use stentor_engine::{Engine, Settings};
use stentor_store::{Options, Purpose, Store};

use crate::cli::{KeyOptions, Role};
use crate::config::StoreConfig;
use crate::data_folder;
use crate::failure::Failure;
use crate::key_source;
use crate::system::{SystemChance, SystemClock};

/// Makes the key and prints it once to standard output, alone, so that a script can take it; what it is goes to standard
/// error.
pub(crate) async fn run(options: KeyOptions, config: StoreConfig) -> Result<(), Failure> {
    let chance: Arc<dyn Chance> = Arc::new(SystemChance);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    data_folder::make(&config)?;
    let master = key_source::master_keys(&config, &*chance).await?;
    let options_of_store = Options {
        database: config.database,
        purpose: Purpose::Administer,
        master,
        clock,
        chance,
    };
    // What waits for delivery is left to the next start of a server: nobody reads what the store hands over here.
    let (store, _fresh) = Store::open(options_of_store).await.map_err(|error| {
        Failure::Failed(format!(
            "{error} (if that is a running server, POST /v1/keys of it makes keys)"
        ))
    })?;
    let engine = Engine::new(store.clone(), Settings::default());
    let made = engine.create_key_offline(new_key(&options)).await;
    store.close().await;
    print(&made.map_err(|error| Failure::Failed(reason(&error, &options)))?);
    Ok(())
}

fn new_key(options: &KeyOptions) -> NewKey {
    NewKey {
        role: match options.role {
            Role::Root => stentor_engine::keys::Role::Root,
            Role::Project => stentor_engine::keys::Role::Project,
            Role::Tenant => stentor_engine::keys::Role::Tenant,
        },
        project: options.project.clone(),
        tenant: options.tenant.clone(),
        read_only: options.read_only,
        name: options.name.clone(),
        expires_at: options
            .expires_at
            .as_ref()
            .map(|end| Timestamp::from_micros(end.as_microsecond())),
    }
}

fn print(made: &MadeKey) {
    let MadeKey { key, text } = made;
    let read_only = if key.read_only { ", read-only" } else { "" };
    let _ = writeln!(
        std::io::stderr(),
        "Made {} with role {}{read_only}. The key is shown this once:",
        key.id,
        key.scope.role()
    );
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{}", text.expose());
    let _ = out.flush();
}

/// Every broken rule, and the name that nobody has, where the error itself says only that there are such.
fn reason(error: &Error, options: &KeyOptions) -> String {
    let named = |name: &Option<String>| name.clone().unwrap_or_default();
    match error {
        Error::Invalid(rules) => {
            let rules: Vec<String> = rules
                .iter()
                .map(|invalid| format!("--{} {}", invalid.field.replace('_', "-"), invalid.rule))
                .collect();
            rules.join("; ")
        }
        Error::NotFound("tenant") => format!("--tenant {}: {error}", named(&options.tenant)),
        Error::NotFound("project") => format!("--project {}: {error}", named(&options.project)),
        _ => error.to_string(),
    }
}
