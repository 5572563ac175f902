//! The log: lines to standard error, and a panic becomes one of them.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, fmt, registry};

use crate::config::{LogConfig, LogFormat};

/// Starts the log of this process and sends panics to it. Fails when a log was started before.
pub(crate) fn start(config: LogConfig) -> Result<(), TryInitError> {
    // A log that cannot be written must not end the process: without this the library would panic about it.
    let lines = fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(colours())
        .log_internal_errors(false);
    let lines = match config.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let level: Targets = config.level;
    registry().with(lines).with(level).try_init()?;
    log_panics();
    Ok(())
}

/// Colours are for people, who may also decline them (no-color.org).
fn colours() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Logs a panic instead of printing it. Whatever panicked is unwound; the process goes on.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let backtrace = Backtrace::capture();
        tracing::error!(
            location,
            thread = thread.name().unwrap_or_default(),
            reason = reason(panic.payload()),
            backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string()),
            "a panic: this is a defect of Stentor, please report it"
        );
    }));
}

/// The text of a panic when it stands in the source. A text put together at run time may quote a payload or a secret
/// (slicing a `str` amiss quotes it), and the location already tells the line.
fn reason(payload: &(dyn Any + Send)) -> &'static str {
    payload
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(not shown: it may quote a payload)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_shows_its_reason_only_when_that_stands_in_the_source() {
        let literal = panic::catch_unwind(|| panic!("out of coffee")).unwrap_err();
        assert_eq!(reason(&*literal), "out of coffee");
        let secret = "hunter2".to_owned();
        let composed = panic::catch_unwind(|| panic!("cannot open {secret}")).unwrap_err();
        assert_eq!(reason(&*composed), "(not shown: it may quote a payload)");
    }
}
