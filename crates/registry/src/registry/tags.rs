//! Tags, routes and reserved concurrency: what changes beside `$LATEST`, or through a tag in it.

use std::sync::Arc;

use warren_model::{
    EngineName, Function, FunctionName, Route, Tags, engine_from_tags, routes_from_tags,
    validate_tags,
};

use super::{Inner, Turn};
use crate::{Entry, Guard, RegistryError, reservations, routes};

impl Inner {
    pub(super) async fn set_reserved_concurrency(
        self: Arc<Self>,
        name: &FunctionName,
        reserved: Option<u32>,
    ) -> Result<Arc<Function>, RegistryError> {
        let turn = self.turn().await?;
        let entry = turn.entry(name)?;
        reservations::check(&turn.snapshot, Some(&entry), reserved)?;
        let mut function = Function::clone(&entry.function);
        function.reserved_concurrency = reserved;
        self.replace(turn, &entry, function).await
    }

    pub(super) async fn set_routes(
        self: Arc<Self>,
        name: &FunctionName,
        routes: Vec<Route>,
    ) -> Result<Arc<Function>, RegistryError> {
        let turn = self.turn().await?;
        let entry = turn.entry(name)?;
        let mut function = Function::clone(&entry.function);
        function.routes = routes::distinct(routes);
        routes::follow_routes(&mut function.tags, &function.routes);
        validate_tags(&function.tags)?;
        self.replace(turn, &entry, function).await
    }

    pub(super) async fn set_tags(
        self: Arc<Self>,
        name: &FunctionName,
        tags: Tags,
    ) -> Result<Arc<Function>, RegistryError> {
        let default = self.parts.default_engine;
        self.change_tags(name, |function| {
            let set = tags.clone();
            function.tags.extend(set);
            follow_tags(function, tags.keys(), default)
        })
        .await
    }

    pub(super) async fn remove_tags(
        self: Arc<Self>,
        name: &FunctionName,
        keys: &[String],
    ) -> Result<Arc<Function>, RegistryError> {
        let default = self.parts.default_engine;
        self.change_tags(name, |function| {
            function.tags.retain(|key, _| !keys.contains(key));
            follow_tags(function, keys, default)
        })
        .await
    }

    async fn change_tags(
        self: Arc<Self>,
        name: &FunctionName,
        change: impl Fn(&mut Function) -> Result<(), RegistryError> + Send + Sync,
    ) -> Result<Arc<Function>, RegistryError> {
        let turn = self.turn().await?;
        let entry = turn.entry(name)?;
        let mut function = Function::clone(&entry.function);
        change(&mut function)?;
        if function.latest.config == entry.latest.config {
            return self.replace(turn, &entry, function).await;
        }
        drop(turn);
        self.reconfigure(name, &Guard::default(), change).await
    }

    /// Stores and shows a function whose `$LATEST` is as it was.
    async fn replace(
        &self,
        turn: Turn<'_>,
        entry: &Entry,
        function: Function,
    ) -> Result<Arc<Function>, RegistryError> {
        let name = function.name().clone();
        routes::check(&turn.snapshot, &name, &function.routes)?;
        let stored = self
            .parts
            .store
            .replace(turn.snapshot.revision, &function, entry.ready_apart())
            .await;
        let changed = entry.with(function, None);
        let function = Arc::clone(&changed.function);
        turn.commit(&name, stored, Some(changed))?;
        Ok(function)
    }
}

/// Makes what the tags of the `touched` keys state so.
fn follow_tags<'k>(
    function: &mut Function,
    touched: impl IntoIterator<Item = &'k String> + Clone,
    default: EngineName,
) -> Result<(), RegistryError> {
    validate_tags(&function.tags)?;
    let touches = |is: fn(&str) -> bool| touched.clone().into_iter().any(|key| is(key));
    if touches(routes::is_route_tag) {
        function.routes = routes::distinct(routes_from_tags(&function.tags)?);
    }
    if touches(routes::is_engine_tag) {
        function.latest.config.engine = engine_from_tags(&function.tags)?.unwrap_or(default);
    }
    Ok(())
}
