//! The file of options, in TOML: one key per option, no tables.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::refusal::{Origin, Refusal};
use super::setting::About;
use super::{nearest, settings};

/// No file that an operator names is read beyond this.
const FILE_BYTES_MAX: u64 = 1_024 * 1_024;

/// What a file of options says.
#[derive(Default)]
pub(crate) struct File {
    path: PathBuf,
    entries: BTreeMap<&'static str, Entry>,
}

struct Entry {
    line: usize,
    values: Vec<String>,
}

impl File {
    /// Reads the file. `named_by` is where its path comes from, for the error when it cannot be read.
    pub(crate) fn read(path: &Path, named_by: Origin) -> Result<Self, Refusal> {
        let unreadable = |error| Refusal::Place {
            origin: named_by,
            rule: format!("{} cannot be read: {error}", path.display()),
        };
        Self::parse(path, &read_text(path).map_err(unreadable)?)
    }

    /// Parses the text of the file at `path`. An unknown key is an error, and so is a value of another shape.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, Refusal> {
        let refuse = |offset: usize, rule: String| {
            let origin = Origin::File {
                path: path.to_owned(),
                line: line_at(text, offset),
            };
            Refusal::Place { origin, rule }
        };
        // The library's own display quotes the line, and a mistaken line may hold a secret.
        let table = DeTable::parse(text).map_err(|error| {
            refuse(
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        let mut entries = BTreeMap::new();
        for (key, value) in table.get_ref() {
            let offset = key.span().start;
            let option = known(key.get_ref()).map_err(|rule| refuse(offset, rule))?;
            let values = values(option, value.get_ref()).map_err(|rule| refuse(offset, rule))?;
            entries.insert(
                option.name,
                Entry {
                    line: line_at(text, offset),
                    values,
                },
            );
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// What the file says of an option.
    pub(crate) fn get(&self, option: &About) -> Option<(Origin, &[String])> {
        let entry = self.entries.get(option.name)?;
        Some((
            Origin::File {
                path: self.path.clone(),
                line: entry.line,
            },
            &entry.values,
        ))
    }
}

/// Reads a file of text to its end, at most [`FILE_BYTES_MAX`].
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?
        .take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes <= FILE_BYTES_MAX) {
        Ok(text)
    } else {
        Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is larger than {FILE_BYTES_MAX} bytes"),
        ))
    }
}

fn known(key: &str) -> Result<&'static About, String> {
    if matches!(
        key,
        "root_key" | "master_key" | "database_password" | "egress_proxy_credentials"
    ) {
        return Err(format!(
            "`{key}` does not belong in this file; put it in a file of its own and name that as \
                            {key}_file, or set STENTOR_{}",
            key.to_uppercase()
        ));
    }
    settings::all().find(|option| option.name == key).ok_or_else(|| {
        let hint = nearest(key, settings::all().map(|option| option.name))
            .map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!("unknown option `{key}`{hint}")
    })
}

fn values(option: &About, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let name = option.name;
    match (option.is_list, value) {
        (true, DeValue::Array(items)) => items
            .iter()
            .map(|item| {
                scalar(item.get_ref()).ok_or_else(|| format!("every item of `{name}` must be in quotes"))
            })
            .collect(),
        (true, _) => Err(format!(
            "`{name}` is a list: {name} = [\"{}\"]",
            option.value_name
        )),
        (false, value) => {
            let text = scalar(value)
                .ok_or_else(|| format!("`{name}` must be a text in quotes or a whole number"))?;
            Ok(vec![text])
        }
    }
}

/// The text that a flag would have for this value.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        _ => None,
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{ALLOW_DESTINATIONS, LISTEN, PAYLOAD_BYTES};

    fn parse(text: &str) -> Result<File, Refusal> {
        File::parse(Path::new("stentor.toml"), text)
    }

    fn refusal(text: &str) -> String {
        parse(text).err().expect("the file is refused").to_string()
    }

    #[test]
    fn texts_numbers_and_lists_are_read_with_their_lines() {
        let file = parse(
            "# Ours.\nlisten = '127.0.0.1:1'\npayload_bytes_max = 1_000\nallow_destinations = [\n'a',\n'b']\n",
        )
        .unwrap();
        let origin = |line| Origin::File {
            path: PathBuf::from("stentor.toml"),
            line,
        };
        assert_eq!(
            file.get(&LISTEN.about),
            Some((origin(2), &["127.0.0.1:1".to_owned()][..]))
        );
        assert_eq!(
            file.get(&PAYLOAD_BYTES.about),
            Some((origin(3), &["1000".to_owned()][..]))
        );
        assert_eq!(
            file.get(&ALLOW_DESTINATIONS.about),
            Some((origin(4), &["a".to_owned(), "b".to_owned()][..]))
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_the_nearest_name() {
        assert_eq!(
            refusal("data = 'd'\nlisen = '127.0.0.1:1'\n"),
            "stentor.toml, line 2: unknown option `lisen`; did you mean `listen`?"
        );
        assert_eq!(
            refusal("[serve]\nlisten = 'x'\n"),
            "stentor.toml, line 1: unknown option `serve`"
        );
    }

    #[test]
    fn a_secret_in_the_file_is_refused_without_showing_it() {
        for text in [
            "root_key = 'hunter2'",
            "master_key = 'hunter2'",
            "database_password = 'hunter2'",
            "egress_proxy_credentials = 'me:hunter2'",
            "master_key = 'hunter2",
        ] {
            let refusal = refusal(text);
            assert!(!refusal.contains("hunter2"), "{refusal}");
        }
        assert!(refusal("root_key = 'hunter2'").contains("root_key_file, or set STENTOR_ROOT_KEY"));
    }

    #[test]
    fn a_value_of_another_shape_is_refused() {
        assert!(
            refusal("listen = ['127.0.0.1:1']")
                .contains("`listen` must be a text in quotes or a whole number")
        );
        assert!(refusal("listen = true").contains("`listen` must be a text"));
        assert!(
            refusal("public_hosts = 'a'").contains("`public_hosts` is a list: public_hosts = [\"HOST\"]")
        );
        assert!(refusal("public_hosts = [['a']]").contains("every item of `public_hosts` must be in quotes"));
        assert!(
            refusal("listen = '127.0.0.1:1'\nlisten = '127.0.0.1:2'").starts_with("stentor.toml, line 2: ")
        );
    }
}
