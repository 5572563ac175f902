//! What a start finds or makes: project `default` and a root key.

use crate::caller::hash;
use crate::error::{Error, Result};
use crate::{DEFAULT_PROJECT, Engine};
use stentor_domain::id::KeyId;
use stentor_domain::key::{Key, KeyText, Scope};
use stentor_store::keys::RootKey;
use stentor_store::projects::{NewProject, ProjectError};

impl Engine {
    /// Makes what a server cannot do without: project `default` and a root key. Every start calls it; what is there
    /// already stays as it is.
    ///
    /// `given` is the root key that the operator set. It is made where it is unknown; those that were set before stay
    /// valid until they are revoked, so that changing the setting locks nobody out. One that was revoked stays revoked,
    /// or a restart would let in again whoever it leaked to: the start goes on with a warning (another root key is valid
    /// then, since the last one cannot be revoked). Without `given`, the first start, and no other, draws a root key.
    ///
    /// Answers the key that was drawn, to be printed once.
    ///
    /// # Errors
    /// `given` is the text of a key that is read-only or no root key.
    pub async fn prepare(&self, given: Option<KeyText>) -> Result<Option<KeyText>> {
        self.make_default_project().await?;
        let by = self.by_server();
        let is_given = given.is_some();
        let text = given.unwrap_or_else(|| KeyText::draw(Scope::Root, self.store.chance()));
        let name = if is_given {
            "set by the operator"
        } else {
            "made by the first start"
        };
        let key = Key {
            id: KeyId(self.store.next_id()),
            scope: Scope::Root,
            read_only: false,
            name: Some(name.into()),
            created_at: by.at,
            expires_at: None,
            last_used_at: None,
        };
        let hash = hash(text.expose());
        match self.store.ensure_root_key(by, key, hash, is_given).await? {
            RootKey::Made if !is_given => Ok(Some(text)),
            RootKey::Made | RootKey::There => Ok(None),
            RootKey::Ended => {
                tracing::warn!("the root key that is set was revoked or has expired; set another, or none");
                Ok(None)
            }
            RootKey::Lesser => Err(Error::conflict(
                "not_a_root_key",
                "The root key that is set is the text of a key that may do less. Set another.",
            )),
        }
    }

    /// Makes project `default` where it is missing.
    pub(crate) async fn make_default_project(&self) -> Result<()> {
        if self.store.config().project_named(DEFAULT_PROJECT).is_some() {
            return Ok(());
        }
        let new = NewProject {
            name: DEFAULT_PROJECT.into(),
            sandbox: false,
        };
        match self.store.create_project(self.by_server(), new, None).await {
            // Another node has made it at the same moment.
            Ok(_) | Err(ProjectError::NameTaken) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
