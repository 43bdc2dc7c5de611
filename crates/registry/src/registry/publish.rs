use std::sync::Arc;

use warren_model::{Config, Function, FunctionName, State, Version};

use super::Inner;
use crate::{Guard, Publish, RegistryError, states};

impl Inner {
    pub(super) async fn publish(
        self: Arc<Self>,
        name: &FunctionName,
        request: Publish,
    ) -> Result<Arc<Version>, RegistryError> {
        let turn = self.turn().await?;
        let guard = Guard {
            revision: request.revision,
            ..Guard::default()
        };
        let entry = turn.settled(name, &guard)?;
        let latest = &entry.latest;
        if let Some(asked) = request.code_digest
            && asked != latest.code.digest
        {
            return Err(RegistryError::OtherCode {
                asked,
                found: latest.code.digest,
            });
        }
        if !states::prepared(latest) {
            return Err(RegistryError::NotActive {
                state: State::Failed,
            });
        }
        if let Some(description) = &request.description {
            let described = Config {
                description: description.clone(),
                ..latest.config.clone()
            };
            described.validate()?;
        }
        if let Some(version) = entry.last_published()
            && states::same_content(latest, version)
        {
            return Ok(Arc::clone(version));
        }
        let mut function = Function::clone(&entry.function);
        let number = function.next_version;
        function.next_version += 1;
        let version = states::publish(latest, number, request.description);
        let ready = entry.ready_apart();
        let stored = self
            .parts
            .store
            .publish(turn.snapshot.revision, &function, ready, &version)
            .await;
        let version = Arc::new(version);
        let changed = entry.with(function, Some(&version));
        turn.commit(name, stored, Some(changed))?;
        Ok(version)
    }
}
