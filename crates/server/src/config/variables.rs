//! The variables of the environment whose names start with `STENTOR_`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::refusal::{Origin, Refusal};
use super::{nearest, settings};

/// The file of options; also `--config`.
pub(crate) const CONFIG_FILE: &str = "STENTOR_CONFIG";
/// The root key itself.
pub(crate) const ROOT_KEY: &str = "STENTOR_ROOT_KEY";
/// The master keys themselves, the current one first, with commas between.
pub(crate) const MASTER_KEY: &str = "STENTOR_MASTER_KEY";
/// The password of the user that `database_url` names.
pub(crate) const DATABASE_PASSWORD: &str = "STENTOR_DATABASE_PASSWORD";

/// The user and the password that the egress proxy asks for.
pub(crate) const EGRESS_PROXY_CREDENTIALS: &str = "STENTOR_EGRESS_PROXY_CREDENTIALS";

const PREFIX: &str = "STENTOR_";
/// Variables that are not those of an option.
const BY_THEMSELVES: [&str; 5] = [
    CONFIG_FILE,
    ROOT_KEY,
    MASTER_KEY,
    DATABASE_PASSWORD,
    EGRESS_PROXY_CREDENTIALS,
];

/// Stentor's part of the environment.
#[derive(Default)]
pub(crate) struct Variables(BTreeMap<String, OsString>);

impl Variables {
    /// Keeps what starts with `STENTOR_`.
    pub(crate) fn of(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let ours = environment
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        Self(ours.filter(|(name, _)| name.starts_with(PREFIX)).collect())
    }

    /// The value of a variable, which may be empty.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let Some(value) = self.0.get(name) else {
            return Ok(None);
        };
        let refusal = || Refusal::Place {
            origin: Origin::Variable(name.to_owned()),
            rule: "it is not UTF-8".to_owned(),
        };
        value.to_str().ok_or_else(refusal).map(Some)
    }

    /// A sentence for each variable that is none of ours, with the nearest name that is.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let known: Vec<String> = settings::all()
            .map(|option| option.variable())
            .chain(BY_THEMSELVES.map(str::to_owned))
            .collect();
        let unknown = self.0.keys().filter(|name| !known.contains(name));
        unknown
            .map(|name| {
                let hint = nearest(name, known.iter().map(String::as_str))
                    .map_or_else(String::new, |near| format!("; did you mean {near}?"));
                format!("the variable {name} is not an option and is ignored{hint}")
            })
            .collect()
    }
}
