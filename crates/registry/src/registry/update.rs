use std::sync::Arc;

use bytes::Bytes;
use warren_model::{Code, Digest, Function, FunctionName, Version};
use warren_package::{Limits, check};

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
        self.turn().await?.settled(name, guard)?;
        let size = zip.len() as u64;
        if dry_run {
            return self.try_code(name, zip, guard).await;
        }
        let hold = self.keep(zip).await?;
        let turn = self.turn().await?;
        let entry = turn.settled(name, guard)?;
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
        guard: &Guard,
    ) -> Result<Updated, RegistryError> {
        let code = Code {
            digest: Digest::of(&zip),
            size: zip.len() as u64,
        };
        check(zip, Limits::default()).await?;
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

    /// An update of the configuration, and of tags and routes that go with it. Whether it may run here is asked without holding up other changes, so
    /// `change` is made again if it meets another configuration afterwards.
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
            if admitted.as_ref() == Some(&function.latest.config) {
                states::update(&mut function.latest, self.now());
                let hold = self.holds.hold(function.latest.code.digest);
                let (function, _) = self.update(turn, &entry, function, false, hold).await?;
                return Ok(function);
            }
            drop(turn);
            self.admit(&function.latest.config).await?;
            admitted = Some(function.latest.config);
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
        let known = publish
            .then(|| entry.last_published())
            .flatten()
            .filter(|version| states::same_content(&function.latest, version))
            .cloned();
        let (stored, published) = match publish && known.is_none() {
            false => (self.parts.store.replace(&function, ready).await, known),
            true => {
                let number = function.next_version;
                function.next_version += 1;
                let version = states::publish(&function.latest, number, None);
                let stored = self.parts.store.publish(&function, ready, &version).await;
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
