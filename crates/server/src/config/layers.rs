//! The four places where a value may stand, asked in turn: flag, variable, file, default. The first that has one wins, for
//! a list as a whole.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file::{File, read_text};
use super::refusal::{Origin, Refusal};
use super::setting::{About, Parse, Setting};
use super::variables::{CONFIG_FILE, Variables};

/// What the command line says, by the names of the options.
pub(crate) type Flags = BTreeMap<&'static str, Vec<String>>;

/// Everything that was said of the options.
#[derive(Default)]
pub(crate) struct Layers {
    flags: Flags,
    variables: Variables,
    file: File,
}

impl Layers {
    /// Reads the file, which is the one of `--config` or of `STENTOR_CONFIG`, or none.
    pub(crate) fn gather(
        flags: Flags,
        variables: Variables,
        config: Option<PathBuf>,
    ) -> Result<Self, Refusal> {
        let named = match config {
            Some(path) => Some((path, Origin::Flag("config"))),
            None => variables
                .get(CONFIG_FILE)?
                .filter(|path| !path.is_empty())
                .map(|path| (PathBuf::from(path), Origin::Variable(CONFIG_FILE.to_owned()))),
        };
        let file = named
            .map(|(path, origin)| File::read(&path, origin))
            .transpose()?
            .unwrap_or_default();
        Ok(Self {
            flags,
            variables,
            file,
        })
    }

    /// The variables, for those that are none of ours.
    pub(crate) fn variables(&self) -> &Variables {
        &self.variables
    }

    /// The value of an option that has a default.
    pub(crate) fn one<T>(&self, setting: &Setting<T>) -> Result<T, Refusal> {
        let default = setting.about.default.unwrap_or_default();
        match self.optional(setting)? {
            Some(value) => Ok(value),
            None => parsed(setting, &Origin::Default, default),
        }
    }

    /// The value of an option that may be left out.
    pub(crate) fn optional<T>(&self, setting: &Setting<T>) -> Result<Option<T>, Refusal> {
        Ok(self.optional_from(setting)?.map(|(_, value)| value))
    }

    /// The same with where it stands.
    pub(crate) fn optional_from<T>(&self, setting: &Setting<T>) -> Result<Option<(Origin, T)>, Refusal> {
        let Some((origin, values)) = self.find(&setting.about)? else {
            return Ok(None);
        };
        let Some(text) = values.first() else {
            return Ok(None);
        };
        let value = parsed(setting, &origin, text)?;
        Ok(Some((origin, value)))
    }

    /// The values of a list, which may be empty.
    pub(crate) fn list<T>(&self, setting: &Setting<T>) -> Result<Vec<T>, Refusal> {
        let Some((origin, values)) = self.find(&setting.about)? else {
            return Ok(Vec::new());
        };
        values.iter().map(|text| parsed(setting, &origin, text)).collect()
    }

    /// A secret: from its variable, or else from the file that `file` names. The error of `parse` must not quote it.
    pub(crate) fn secret<T>(
        &self,
        variable: &str,
        file: &Setting<PathBuf>,
        parse: Parse<T>,
    ) -> Result<Option<T>, Refusal> {
        let refuse = |rule| Refusal::Place {
            origin: Origin::Variable(variable.to_owned()),
            rule,
        };
        let found = self.find(&file.about)?;
        if let Some(text) = self.variables.get(variable)? {
            if let Some((Origin::Variable(other), _)) = found {
                return Err(refuse(format!(
                    "it is set together with {other}; keep one of them"
                )));
            }
            // An empty secret is refused rather than ignored: a deployment that lost it must not start with another one.
            return parse(text.trim()).map(Some).map_err(refuse);
        }
        let Some((origin, _)) = found else { return Ok(None) };
        let name = file.about.name;
        let refuse = |rule| Refusal::Value { name, origin, rule };
        let Some(path) = self.optional(file)? else {
            return Ok(None);
        };
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => return Err(refuse(format!("{} cannot be read: {error}", path.display()))),
        };
        parse(text.trim())
            .map(Some)
            .map_err(|rule| refuse(format!("{}: {rule}", path.display())))
    }

    fn find(&self, option: &About) -> Result<Option<(Origin, Vec<String>)>, Refusal> {
        if let (Some(flag), Some(values)) = (option.flag, self.flags.get(option.name)) {
            return Ok(Some((Origin::Flag(flag), values.clone())));
        }
        let variable = option.variable();
        // Deployments write `STENTOR_LISTEN=` for what they leave out.
        if let Some(text) = self.variables.get(&variable)?.filter(|text| !text.is_empty()) {
            let values = if option.is_list {
                text.split(',').map(|item| item.trim().to_owned()).collect()
            } else {
                vec![text.to_owned()]
            };
            return Ok(Some((Origin::Variable(variable), values)));
        }
        Ok(self
            .file
            .get(option)
            .map(|(origin, values)| (origin, values.to_vec())))
    }
}

fn parsed<T>(setting: &Setting<T>, origin: &Origin, text: &str) -> Result<T, Refusal> {
    let refuse = |rule| Refusal::Value {
        name: setting.about.name,
        origin: origin.clone(),
        rule,
    };
    (setting.parse)(text).map_err(refuse)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use super::*;
    use crate::config::settings::{ALLOW_DESTINATIONS, LISTEN, MASTER_KEY_FILE, ROOT_KEY_FILE};
    use crate::config::variables::{MASTER_KEY, ROOT_KEY};
    use crate::config::{MasterKey, RootKey};

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::of(
            pairs
                .iter()
                .map(|(name, value)| (OsString::from(name), OsString::from(value))),
        )
    }

    fn layers(flags: &[(&'static str, &str)], pairs: &[(&str, &str)], file: &str) -> Layers {
        Layers {
            flags: flags
                .iter()
                .map(|(name, value)| (*name, vec![(*value).to_owned()]))
                .collect(),
            variables: variables(pairs),
            file: File::parse(Path::new("stentor.toml"), file).unwrap(),
        }
    }

    #[test]
    fn a_flag_wins_over_a_variable_over_the_file_over_the_default() {
        let flag = [("listen", "127.0.0.1:1")];
        let variable = [("STENTOR_LISTEN", "127.0.0.1:2")];
        let file = "listen = '127.0.0.1:3'";
        let port = |layers: Layers| layers.one(&LISTEN).unwrap().port();
        assert_eq!(port(layers(&flag, &variable, file)), 1);
        assert_eq!(port(layers(&[], &variable, file)), 2);
        assert_eq!(port(layers(&[], &[], file)), 3);
        assert_eq!(port(layers(&[], &[], "")), 8080);
    }

    #[test]
    fn an_empty_variable_is_one_that_is_not_set() {
        let layers = layers(
            &[],
            &[("STENTOR_LISTEN", ""), ("STENTOR_ALLOW_DESTINATIONS", "")],
            "listen = '127.0.0.1:3'",
        );
        assert_eq!(layers.one(&LISTEN).unwrap().port(), 3);
        assert!(layers.list(&ALLOW_DESTINATIONS).unwrap().is_empty());
    }

    #[test]
    fn a_list_of_a_higher_place_replaces_the_lower_one() {
        let variable = [("STENTOR_ALLOW_DESTINATIONS", "127.0.0.1/32:9000, 10.0.0.0/8")];
        let file = "allow_destinations = ['192.168.0.0/16']";
        let listed = |layers: Layers| {
            let destinations = layers.list(&ALLOW_DESTINATIONS).unwrap();
            destinations.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            listed(layers(&[], &variable, file)),
            ["127.0.0.1:9000", "10.0.0.0/8"]
        );
        assert_eq!(listed(layers(&[], &[], file)), ["192.168.0.0/16"]);
        let flag = [("allow_destinations", "fd00::/8")];
        assert_eq!(listed(layers(&flag, &variable, file)), ["fd00::/8"]);
    }

    #[test]
    fn a_refusal_names_the_option_the_place_and_the_rule() {
        let rule = "`x` is not an IP address with a port, such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080";
        let refusal = |layers: Layers| layers.one(&LISTEN).unwrap_err().to_string();
        assert_eq!(
            refusal(layers(&[("listen", "x")], &[], "")),
            format!("option `listen` (flag --listen): {rule}")
        );
        assert_eq!(
            refusal(layers(&[], &[("STENTOR_LISTEN", "x")], "")),
            format!("option `listen` (variable STENTOR_LISTEN): {rule}")
        );
        assert_eq!(
            refusal(layers(&[], &[], "\nlisten = 'x'")),
            format!("option `listen` (stentor.toml, line 2): {rule}")
        );
    }

    #[test]
    fn an_unknown_variable_is_answered_with_the_nearest_name() {
        let all = variables(&[
            ("STENTOR_LISTN", "x"),
            ("STENTOR_MASTER_KEYS", "hunter2"),
            ("STENTOR_XYZ", "x"),
            ("STENTOR_LISTEN", "x"),
            ("STENTOR_ROOT_KEY", "x"),
            ("STENTOR_ROOT_KEY_FILE", "x"),
            ("STENTOR_CONFIG", "x"),
            ("HOME", "x"),
        ]);
        assert_eq!(
            all.complaints(),
            [
                "the variable STENTOR_LISTN is not an option and is ignored; did you mean STENTOR_LISTEN?",
                "the variable STENTOR_MASTER_KEYS is not an option and is ignored; did you mean STENTOR_MASTER_KEY?",
                "the variable STENTOR_XYZ is not an option and is ignored",
            ]
        );
    }

    #[test]
    fn a_secret_comes_from_its_variable_or_else_from_a_file_of_its_own() {
        let key = format!("stn_root_{}", "a".repeat(43));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("root.key");
        std::fs::write(&path, format!("{key}\n")).unwrap();
        let path = path.to_str().unwrap();
        let root_key = |layers: &Layers| layers.secret(ROOT_KEY, &ROOT_KEY_FILE, RootKey::parse);
        let exposed = |layers: Layers| root_key(&layers).unwrap().map(|key| key.expose().to_owned());

        assert_eq!(exposed(layers(&[], &[], "")), None);
        assert_eq!(
            exposed(layers(
                &[],
                &[("STENTOR_ROOT_KEY", &key)],
                "root_key_file = 'absent'"
            )),
            Some(key.clone())
        );
        assert_eq!(
            exposed(layers(&[], &[("STENTOR_ROOT_KEY_FILE", path)], "")),
            Some(key.clone())
        );
        assert_eq!(
            exposed(layers(&[], &[], &format!("root_key_file = '{path}'"))),
            Some(key.clone())
        );

        let both = layers(
            &[],
            &[("STENTOR_ROOT_KEY", &key), ("STENTOR_ROOT_KEY_FILE", path)],
            "",
        );
        assert_eq!(
            root_key(&both).unwrap_err().to_string(),
            "variable STENTOR_ROOT_KEY: it is set together with STENTOR_ROOT_KEY_FILE; keep one of them"
        );
    }

    #[test]
    fn an_empty_or_wrong_secret_is_refused_without_showing_it() {
        for wrong in ["", "hunter2"] {
            let layers = layers(&[], &[("STENTOR_MASTER_KEY", wrong)], "");
            let refusal = layers
                .secret(MASTER_KEY, &MASTER_KEY_FILE, MasterKey::parse_list)
                .unwrap_err()
                .to_string();
            assert!(refusal.starts_with("variable STENTOR_MASTER_KEY: "), "{refusal}");
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn the_file_of_the_flag_wins_over_that_of_the_variable() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let by_flag = path("flag.toml", "listen = '127.0.0.1:1'");
        let by_variable = path("variable.toml", "listen = '127.0.0.1:2'");
        let port = |config| {
            let variables = variables(&[(CONFIG_FILE, by_variable.to_str().unwrap())]);
            Layers::gather(Flags::new(), variables, config)
                .unwrap()
                .one(&LISTEN)
                .unwrap()
                .port()
        };
        assert_eq!((port(Some(by_flag)), port(None)), (1, 2));
    }
}
