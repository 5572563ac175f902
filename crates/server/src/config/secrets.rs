//! The secrets that an operator gives: never in a flag, never in the file of options, never in a log.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

const ROOT_KEY_PREFIX: &str = "stn_root_";
/// Characters of base62 after the prefix: 256 bits (contract v1, "Roles").
const ROOT_KEY_CHARACTERS: usize = 43;
const MASTER_KEY_BYTES: usize = 32;
/// The current key and those that a rotation has not yet replaced everywhere.
pub(crate) const MASTER_KEYS_MAX: usize = 16;

/// The key that may do everything, as its holder sends it.
#[derive(Clone)]
pub(crate) struct RootKey(Zeroizing<String>);

impl RootKey {
    /// Takes `stn_root_` and 43 characters of base62. The error never quotes the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let random = text.strip_prefix(ROOT_KEY_PREFIX).unwrap_or_default();
        if random.len() == ROOT_KEY_CHARACTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(Self(Zeroizing::new(text.to_owned())));
        }
        Err(format!(
            "it is not {ROOT_KEY_PREFIX} and {ROOT_KEY_CHARACTERS} letters and digits; without a root key the first \
             start makes one and prints it once"
        ))
    }

    /// The key in clear, to be hashed.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(***)")
    }
}

/// A key that seals signing secrets and header values on disk.
#[derive(Clone)]
pub(crate) struct MasterKey(Zeroizing<[u8; MASTER_KEY_BYTES]>);

impl MasterKey {
    /// Takes base64 of 32 bytes; several keys have commas between, the current one first. The error never quotes the text.
    pub(crate) fn parse_list(text: &str) -> Result<Vec<Self>, String> {
        let keys = text
            .split(',')
            .map(|key| Self::parse(key.trim()))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.len() > MASTER_KEYS_MAX {
            return Err(format!("it holds more than {MASTER_KEYS_MAX} keys"));
        }
        Ok(keys)
    }

    fn parse(text: &str) -> Result<Self, String> {
        STANDARD
            .decode(text)
            .map(Zeroizing::new)
            .ok()
            .and_then(|bytes| <[u8; MASTER_KEY_BYTES]>::try_from(bytes.as_slice()).ok())
            .map(|bytes| Self(Zeroizing::new(bytes)))
            .ok_or_else(|| {
                format!("a key in it is not base64 of {MASTER_KEY_BYTES} bytes; `openssl rand -base64 32` makes one")
            })
    }

    /// Takes the bytes of a key that was drawn.
    pub(crate) fn new(bytes: [u8; MASTER_KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key in clear, as `parse_list` takes it.
    pub(crate) fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_slice()))
    }

    /// The key in clear, to seal and open with.
    pub(crate) fn expose(&self) -> &[u8; MASTER_KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(***)")
    }
}

/// What the database asks of its user.
#[derive(Clone)]
pub(crate) struct DatabasePassword(Zeroizing<String>);

impl DatabasePassword {
    /// Takes any text of one line. The error never quotes it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.contains(char::is_control) {
            return Err(
                "it is not a password alone: it holds a control character, or several lines".to_owned(),
            );
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The password in clear, to be sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for DatabasePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabasePassword(***)")
    }
}

/// What the egress proxy asks for.
#[derive(Clone)]
pub(crate) struct ProxyCredentials(Zeroizing<String>);

impl ProxyCredentials {
    /// Takes a user and a password with a colon between, on one line. The error never quotes the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let is_pair = text.split_once(':').is_some_and(|(user, _)| !user.is_empty());
        if !is_pair || text.contains(char::is_control) {
            return Err("it is not USER:PASSWORD on one line".to_owned());
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// User and password in clear, to be sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyCredentials(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_any_text_of_one_line() {
        assert_eq!(
            DatabasePassword::parse("a b:c@d/e%").unwrap().expose(),
            "a b:c@d/e%"
        );
        for wrong in ["", "hunter2\nhunter3", "hunter2\0"] {
            let refusal = DatabasePassword::parse(wrong).unwrap_err();
            assert!(!refusal.contains("hunter"), "{refusal}");
        }
    }

    #[test]
    fn a_root_key_has_its_prefix_and_256_bits_in_base62() {
        let key = format!("stn_root_{}", "a1".repeat(21) + "Z");
        assert_eq!(RootKey::parse(&key).unwrap().expose(), key);
        for wrong in [
            "",
            "hunter2",
            &key[1..],
            &key[..51],
            &format!("{key}a"),
            &key.replace("root", "tenant"),
        ] {
            assert!(RootKey::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_of_several_master_keys_is_the_current_one() {
        let (new, old) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let keys = MasterKey::parse_list(&format!("{new}, {old}")).unwrap();
        let bytes: Vec<_> = keys.iter().map(MasterKey::expose).collect();
        assert_eq!(bytes, [&[1; 32], &[2; 32]]);
    }

    #[test]
    fn a_master_key_of_another_length_is_refused() {
        let right = STANDARD.encode([1; 32]);
        for wrong in [
            "",
            "hunter2",
            &STANDARD.encode([1; 31]),
            &STANDARD.encode([1; 33]),
            &format!("{right},"),
        ] {
            assert!(MasterKey::parse_list(wrong).is_err(), "{wrong}");
        }
        assert!(MasterKey::parse_list(&vec![right; MASTER_KEYS_MAX + 1].join(",")).is_err());
    }

    #[test]
    fn neither_debug_output_nor_an_error_shows_a_secret() {
        let root = format!("stn_root_{}", "a".repeat(43));
        let master = STANDARD.encode([7; 32]);
        let shown = format!(
            "{:?} {:?} {:?} {:?}",
            RootKey::parse(&root),
            MasterKey::parse_list(&master),
            DatabasePassword::parse("hunter2"),
            ProxyCredentials::parse("me:hunter2")
        );
        assert_eq!(
            shown,
            "Ok(RootKey(***)) Ok([MasterKey(***)]) Ok(DatabasePassword(***)) Ok(ProxyCredentials(***))"
        );
        let refused = format!(
            "{:?} {:?} {:?}",
            RootKey::parse("hunter2"),
            MasterKey::parse_list("hunter2"),
            ProxyCredentials::parse("hunter2")
        );
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
