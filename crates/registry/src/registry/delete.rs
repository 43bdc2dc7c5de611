use std::sync::Arc;

use warren_model::{FunctionName, Invalid, Qualifier, VersionId};

use super::Inner;
use crate::{Entry, RegistryError};

impl Inner {
    pub(super) async fn delete(
        self: Arc<Self>,
        name: &FunctionName,
        version: Option<VersionId>,
    ) -> Result<(), RegistryError> {
        let turn = self.turn().await?;
        let based_on = turn.snapshot.revision;
        // One that can't be read can be deleted: that is a way to mend it.
        if version.is_none() && turn.snapshot.damaged.contains_key(name.as_str()) {
            turn.announce(name, None).await;
            let stored = self.parts.store.delete(based_on, name).await;
            return turn.commit(name, stored, None);
        }
        let entry = turn.entry(name)?;
        match version {
            None => {
                turn.announce(name, None).await;
                let stored = self.parts.store.delete(based_on, name).await;
                turn.commit(name, stored, None)
            }
            Some(VersionId::Latest) => Err(Invalid::parameter(
                "qualifier",
                "$LATEST version cannot be deleted without deleting the function.",
            )
            .into()),
            Some(VersionId::Number(number)) => {
                turn.snapshot
                    .version(name, Some(&Qualifier::Version(VersionId::Number(number))))?;
                let mut rest = Entry::clone(&entry);
                rest.versions.remove(&number);
                turn.announce(name, Some(&rest)).await;
                let stored = self
                    .parts
                    .store
                    .delete_version(based_on, name, number)
                    .await;
                turn.commit(name, stored, Some(rest))
            }
        }
    }
}
