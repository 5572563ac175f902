//! Why a configuration is refused: which option, from where, by which rule.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag of the command line, without its dashes.
    Flag(&'static str),
    /// A variable of the environment, by its whole name.
    Variable(String),
    /// A line of the file, counted from 1.
    File { path: PathBuf, line: usize },
    /// The table of options.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File { path, line } => write!(f, "{}, line {line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A configuration that Stentor does not start with. Its text never shows a secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The value of a known option breaks its rule.
    #[error("option `{name}` ({origin}): {rule}")]
    Value {
        name: &'static str,
        origin: Origin,
        rule: String,
    },
    /// What stands there is no option, or cannot be read.
    #[error("{origin}: {rule}")]
    Place { origin: Origin, rule: String },
}
