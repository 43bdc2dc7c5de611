use std::sync::Arc;

use warren_model::{
    Code, Function, FunctionName, RevisionId, State, Version, VersionId, engine_from_tags,
    routes_from_tags, validate_tags,
};
use warren_store::Record;

use super::{Inner, preparation};
use crate::{Created, Entry, NewFunction, RegistryError, Snapshot, reservations, routes, states};

impl Inner {
    pub(super) async fn create(
        self: Arc<Self>,
        new: NewFunction,
    ) -> Result<Created, RegistryError> {
        let NewFunction {
            name,
            mut config,
            zip,
            tags,
            routes,
            reserved_concurrency,
            publish,
            force,
        } = new;
        validate_tags(&tags)?;
        if let Some(engine) = engine_from_tags(&tags)? {
            config.engine = engine;
        }
        let routes = routes::distinct(routes.into_iter().chain(routes_from_tags(&tags)?));
        // Before the work of keeping a zip; for certain below.
        free(&self.snapshot.load(), &name)?;
        self.admit(&config, force).await?;
        let size = zip.len() as u64;
        let target = self.target(&config.runtime)?;
        let hold = self.keep(zip, target).await?;
        let now = self.now();
        let mut latest = Version {
            function: name.clone(),
            id: VersionId::Latest,
            revision: RevisionId::random(),
            config,
            code: Code {
                digest: hold.digest(),
                size,
            },
            state: State::Pending,
            state_reason: None,
            last_update: None,
            last_update_reason: None,
            modified: now,
        };
        states::create(&mut latest);
        let versions: Vec<Version> = publish
            .then(|| states::publish(&latest, 1, None))
            .into_iter()
            .collect();
        let record = Record {
            function: Function {
                latest,
                next_version: 1 + versions.len() as u64,
                tags,
                routes,
                reserved_concurrency,
                created: now,
            },
            ready: None,
            versions,
        };

        let turn = self.turn().await?;
        free(&turn.snapshot, &name)?;
        reservations::check(&turn.snapshot, None, reserved_concurrency)?;
        routes::check(&turn.snapshot, &name, &record.function.routes)?;
        let stored = self
            .parts
            .store
            .insert(turn.snapshot.revision, &record)
            .await;
        let entry = Entry::of(record);
        let created = Created {
            function: Arc::clone(&entry.function),
            published: entry.versions.get(&1).cloned(),
        };
        turn.commit(&name, stored, Some(entry))?;
        preparation::begin(&self, &created.function.latest, hold);
        Ok(created)
    }
}

/// Whether a name is free.
fn free(snapshot: &Snapshot, name: &FunctionName) -> Result<(), RegistryError> {
    if snapshot.damaged.contains_key(name.as_str()) {
        return Err(snapshot.not_found(name, None).into());
    }
    match snapshot.function(name) {
        None => Ok(()),
        Some(_) => Err(RegistryError::AlreadyExists { name: name.clone() }),
    }
}
