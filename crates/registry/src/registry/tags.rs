//! Tags, routes and reserved concurrency: what changes beside `$LATEST`, or through a tag in it.

use std::sync::Arc;

use warren_model::{
    Function, FunctionName, Route, Tags, engine_from_tags, routes_from_tags, validate_tags,
};

use super::{Inner, Turn};
use crate::{Entry, Guard, RegistryError, routes};

impl Inner {
    pub(super) async fn set_reserved_concurrency(
        self: Arc<Self>,
        name: &FunctionName,
        reserved: Option<u32>,
    ) -> Result<Arc<Function>, RegistryError> {
        let turn = self.turn().await?;
        let entry = turn.entry(name)?;
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
        let touched: Vec<String> = tags.keys().cloned().collect();
        self.change_tags(name, &touched, |all| all.extend(tags))
            .await
    }

    pub(super) async fn remove_tags(
        self: Arc<Self>,
        name: &FunctionName,
        keys: &[String],
    ) -> Result<Arc<Function>, RegistryError> {
        self.change_tags(name, keys, |all| all.retain(|key, _| !keys.contains(key)))
            .await
    }

    /// Changes tags, and what those of the `touched` keys state.
    async fn change_tags(
        self: Arc<Self>,
        name: &FunctionName,
        touched: &[String],
        change: impl FnOnce(&mut Tags),
    ) -> Result<Arc<Function>, RegistryError> {
        let turn = self.turn().await?;
        let entry = turn.entry(name)?;
        let mut function = Function::clone(&entry.function);
        change(&mut function.tags);
        validate_tags(&function.tags)?;
        if touched.iter().any(|key| routes::is_route_tag(key)) {
            function.routes = routes::distinct(routes_from_tags(&function.tags)?);
        }
        if touched.iter().any(|key| routes::is_engine_tag(key)) {
            let engine = engine_from_tags(&function.tags)?.unwrap_or_default();
            if engine != function.latest.config.engine {
                function.latest.config.engine = engine;
                turn.settled(name, &Guard::default())?;
                routes::check(&turn.snapshot, name, &function.routes)?;
                self.reconfigure(turn, &entry, function).await?;
                let snapshot = self.snapshot.load();
                let function = snapshot.function(name).map(|e| Arc::clone(&e.function));
                return Ok(function.ok_or_else(|| snapshot.not_found(name, None))?);
            }
        }
        self.replace(turn, &entry, function).await
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
            .replace(&function, entry.ready_apart())
            .await;
        let changed = entry.with(function, None);
        let function = Arc::clone(&changed.function);
        turn.commit(&name, stored, Some(changed))?;
        Ok(function)
    }
}
