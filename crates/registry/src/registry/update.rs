use std::sync::Arc;

use bytes::Bytes;
use warren_model::{Code, Digest, Function, FunctionName, Version};
use warren_package::{Limits, Target, check};

use super::{Inner, Turn, preparation};
use crate::{ConfigPatch, Entry, Guard, Hold, RegistryError, Updated, routes, states};

impl Inner {
    pub(super) async fn update_code(
        self: Arc<Self>,
        name: &FunctionName,
        zip: Bytes,
        guard: &Guard,
        publish: bool,
        dry_run: bool,
    ) -> Result<Updated, RegistryError> {
        // Before the work of keeping a zip; for certain below.
        let entry = self.turn().await?.settled(name, guard)?;
        let mut target = self.target(&entry.latest.config.runtime)?;
        let size = zip.len() as u64;
        if dry_run {
            return self.try_code(name, zip, target, guard).await;
        }
        let mut hold = self.keep(zip.clone(), target.clone()).await?;
        let (turn, entry) = loop {
            let turn = self.turn().await?;
            let entry = turn.settled(name, guard)?;
            let now = self.target(&entry.latest.config.runtime)?;
            if now == target {
                break (turn, entry);
            }
            // The runtime was changed meanwhile.
            drop(turn);
            target = now;
            hold = self.keep(zip.clone(), target.clone()).await?;
        };
        let mut function = Function::clone(&entry.function);
        function.latest.code = Code {
            digest: hold.digest(),
            size,
        };
        states::update(&mut function.latest, self.now());
        let (_, updated) = self.update(turn, &entry, function, publish, hold).await?;
        Ok(updated)
    }

    /// The checks of an update of code, and what it would make.
    async fn try_code(
        self: &Arc<Self>,
        name: &FunctionName,
        zip: Bytes,
        target: Target,
        guard: &Guard,
    ) -> Result<Updated, RegistryError> {
        let code = Code {
            digest: Digest::of(&zip),
            size: zip.len() as u64,
        };
        check(zip, Limits::default(), target).await?;
        let entry = self.turn().await?.settled(name, guard)?;
        let mut version = Version::clone(&entry.latest);
        version.code = code;
        Ok(Updated {
            version: Arc::new(version),
            published: None,
        })
    }

    pub(super) async fn update_config(
        self: Arc<Self>,
        name: &FunctionName,
        patch: ConfigPatch,
        guard: &Guard,
    ) -> Result<Arc<Version>, RegistryError> {
        let function = self
            .reconfigure(name, guard, |function| {
                patch.clone().apply(&mut function.latest.config);
                routes::follow_engine(&mut function.tags, function.latest.config.engine);
                Ok(())
            })
            .await?;
        Ok(Arc::new(function.latest.clone()))
    }

    /// An update of the configuration, and of tags and routes that go with it. Whether it may run here, and whether another runtime can load the code, is
    /// asked without holding up other changes, so `change` is made again if it meets another configuration or other code afterwards.
    pub(super) async fn reconfigure(
        self: &Arc<Self>,
        name: &FunctionName,
        guard: &Guard,
        change: impl Fn(&mut Function) -> Result<(), RegistryError> + Send + Sync,
    ) -> Result<Arc<Function>, RegistryError> {
        let mut admitted = None;
        loop {
            let turn = self.turn().await?;
            let entry = turn.settled(name, guard)?;
            let mut function = Function::clone(&entry.function);
            change(&mut function)?;
            routes::check(&turn.snapshot, name, &function.routes)?;
            let digest = function.latest.code.digest;
            let asked = (function.latest.config.clone(), digest);
            if admitted.as_ref() == Some(&asked) {
                states::update(&mut function.latest, self.now());
                let hold = self.holds.hold(digest);
                let (function, _) = self.update(turn, &entry, function, false, hold).await?;
                return Ok(function);
            }
            let _hold = self.holds.hold(digest);
            drop(turn);
            self.admit(&asked.0, guard.force).await?;
            let (before, after) = (&entry.latest.config.runtime, &asked.0.runtime);
            if before != after {
                let zip = self.zip(&digest).await?;
                check(zip, Limits::default(), self.target(after)?).await?;
            }
            admitted = Some(asked);
        }
    }

    /// Stores and shows an update, and begins its preparation.
    async fn update(
        self: &Arc<Self>,
        turn: Turn<'_>,
        entry: &Entry,
        mut function: Function,
        publish: bool,
        hold: Hold,
    ) -> Result<(Arc<Function>, Updated), RegistryError> {
        let name = function.name().clone();
        let ready = entry.ready.as_deref();
        let based_on = turn.snapshot.revision;
        let known = publish
            .then(|| entry.last_published())
            .flatten()
            .filter(|version| states::same_content(&function.latest, version))
            .cloned();
        let after = entry.with(function.clone(), None);
        turn.announce(&name, Some(&after)).await;
        let (stored, published) = match publish && known.is_none() {
            false => (
                self.parts.store.replace(based_on, &function, ready).await,
                known,
            ),
            true => {
                let number = function.next_version;
                function.next_version += 1;
                let version = states::publish(&function.latest, number, None);
                let stored = self
                    .parts
                    .store
                    .publish(based_on, &function, ready, &version)
                    .await;
                (stored, Some(Arc::new(version)))
            }
        };
        let changed = entry.with(function, published.as_ref());
        let updated = Updated {
            version: Arc::clone(&changed.latest),
            published,
        };
        let function = Arc::clone(&changed.function);
        turn.commit(&name, stored, Some(changed))?;
        preparation::begin(self, &updated.version, hold);
        Ok((function, updated))
    }
}
