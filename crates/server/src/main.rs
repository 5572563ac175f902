//! Stentor: a self-hosted server that sends webhooks.
//!
//! In reading order:
//! - `cli` says what may be typed, and turns it into a command and its flags;
//! - `config` puts flags, variables, file and defaults together into what a command runs with;
//! - `telemetry` starts the log, `open_files` makes room for sockets;
//! - `node` is one running node: store, engine, dispatcher and listener wired together, on the machine's clock (`system`)
//!   in its `data_folder`, with the master keys of its `key_source`;
//! - `commands` are the commands, one file each; `failure` is how they end when they do not succeed;
//! - `client` and `loopback` are the HTTP of the commands that call a server and bring a receiver of their own.

mod cli;
mod client;
mod commands;
mod config;
mod data_folder;
mod failure;
mod key_source;
mod loopback;
mod node;
mod open_files;
mod system;
mod telemetry;

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{Command, Invocation, KeyCommand, MasterKeyCommand};
use crate::config::{BenchServer, Layers, LogConfig, ServeConfig, StoreConfig, Variables, settings};
use crate::failure::Failure;

/// Made for memory that is freed on another thread than it was allocated on, as a request's is here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        // Help and version are "errors" here, too: printed to standard output, with code 0.
        Err(error) => error.exit(),
    };
    match run(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody is left to tell when standard error is gone.
            let _ = writeln!(std::io::stderr(), "error: {failure}");
            failure.exit_code()
        }
    }
}

fn run(invocation: Invocation) -> Result<(), Failure> {
    let layers = Layers::gather(
        invocation.flags,
        Variables::of(std::env::vars_os()),
        invocation.config,
    )?;
    let log = match invocation.command {
        Command::Demo(_) => LogConfig::resolve_quiet(&layers)?,
        _ => LogConfig::resolve(&layers)?,
    };
    telemetry::start(log).map_err(|error| Failure::Failed(error.to_string()))?;
    for complaint in layers.variables().complaints() {
        tracing::warn!("{complaint}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Failed(format!("the threads cannot be started: {error}")))?;
    runtime.block_on(dispatch(invocation.command, &layers, open_files::raise_limit()))
}

async fn dispatch(command: Command, layers: &Layers, open_files: u64) -> Result<(), Failure> {
    match command {
        Command::Serve(options) => {
            commands::serve::run(options, ServeConfig::resolve(layers)?, open_files).await
        }
        Command::Demo(options) => {
            commands::demo::run(options, layers.one(&settings::LISTEN)?, open_files).await
        }
        Command::Key(KeyCommand::Create(options)) => {
            commands::key::run(options, StoreConfig::resolve(layers)?).await
        }
        Command::MasterKey(MasterKeyCommand::Rotate) => {
            commands::master_key::rotate(StoreConfig::resolve(layers)?).await
        }
        Command::MasterKey(MasterKeyCommand::List) => {
            commands::master_key::list(StoreConfig::resolve(layers)?).await
        }
        Command::MasterKey(MasterKeyCommand::Forget) => {
            commands::master_key::forget(StoreConfig::resolve(layers)?).await
        }
        Command::Backup(options) => commands::backup::run(options, StoreConfig::resolve(layers)?).await,
        Command::Migrate => commands::migrate::run(StoreConfig::resolve(layers)?).await,
        Command::Bench(options) => {
            let server = BenchServer::resolve(options.database_url.as_deref(), layers)?;
            commands::bench::run(options, server, open_files).await
        }
        Command::BenchRelay(options) => commands::bench::run_relay(options).await,
    }
}
