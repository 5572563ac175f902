//! API keys and those who act with them.

use crate::Chance;
use crate::Timestamp;
use crate::id::{KeyId, ProjectId, TenantId};
use std::fmt;
use std::net::IpAddr;

/// What a key may do and where (contract v1). A scope holds what its role needs, so that no tenant key is without a
/// tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything.
    Root,
    /// Everything in one project.
    Project(ProjectId),
    /// One tenant: its endpoints and deliveries, and reading its events and the event types.
    Tenant(ProjectId, TenantId),
}

impl Scope {
    /// The role's word: `root`, `project` or `tenant`.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Project(_) => "project",
            Self::Tenant(..) => "tenant",
        }
    }
}

/// Whose things are in it: the id of the project or the tenant, or `root`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str(self.role()),
            Self::Project(id) => id.fmt(f),
            Self::Tenant(_, id) => id.fmt(f),
        }
    }
}

/// An API key as it is known after its creation: never its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its id.
    pub id: KeyId,
    /// What it may do.
    pub scope: Scope,
    /// May it change anything?
    pub read_only: bool,
    /// What its owner calls it.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends by itself, if ever.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl Key {
    /// Is it past its end?
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const KEY_RANDOM_CHARACTERS: usize = 43;

/// The text of a key: `stn_` + role + `_` + 43 base62 characters, 256 random bits (contract v1). Shown once, at its
/// creation; its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// Draws a new key for `scope`.
    pub fn draw(scope: Scope, chance: &dyn Chance) -> Self {
        let mut text = format!("stn_{}_", scope.role());
        for _ in 0..KEY_RANDOM_CHARACTERS {
            let at = usize::try_from(chance.up_to(61)).unwrap_or(0);
            text.extend(BASE62.get(at).map(|&byte| char::from(byte)));
        }
        Self(text)
    }

    /// Takes a text that an operator set as the root key: at least 32 visible characters without spaces.
    pub fn given(text: &str) -> Result<Self, &'static str> {
        if text.len() < 32 || text.len() > 255 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a root key must be 32 to 255 visible ASCII characters without spaces");
        }
        Ok(Self(text.to_owned()))
    }

    /// The text, to be shown once or hashed.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(***)")
    }
}

/// Who changes something, for the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The key used; `None` is Stentor itself or its command line.
    pub key: Option<KeyId>,
    /// Where the request came from.
    pub address: Option<IpAddr>,
}

impl Actor {
    /// Stentor itself: its command line, its own policy.
    pub const SERVER: Self = Self {
        key: None,
        address: None,
    };
}
