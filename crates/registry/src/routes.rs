//! Routes and the engine as tags say them, and what they may not collide with.

use warren_model::{EngineName, FunctionName, Invalid, Route, Tags};

use crate::{RegistryError, Snapshot};

/// The tag that chooses the engine.
const ENGINE: &str = "warren:engine";
/// The tag of the first route; further ones add `.2`, `.3`, ...
const ROUTE: &str = "warren:route";

/// Whether a tag states a route.
pub(crate) fn is_route_tag(key: &str) -> bool {
    key == ROUTE
        || key
            .strip_prefix(ROUTE)
            .is_some_and(|rest| rest.starts_with('.'))
}

/// Whether a tag states the engine.
pub(crate) fn is_engine_tag(key: &str) -> bool {
    key == ENGINE
}

/// Where tags state the engine, they follow a change of it.
pub(crate) fn follow_engine(tags: &mut Tags, engine: EngineName) {
    if let Some(tag) = tags.get_mut(ENGINE) {
        *tag = engine.to_string();
    }
}

/// Where tags state routes, they follow a change of them, written as tags can be.
pub(crate) fn follow_routes(tags: &mut Tags, routes: &[Route]) {
    if !tags.keys().any(|key| is_route_tag(key)) {
        return;
    }
    tags.retain(|key, _| !is_route_tag(key));
    for (number, route) in (1..).zip(routes) {
        let key = match number {
            1 => ROUTE.to_owned(),
            _ => format!("{ROUTE}.{number}"),
        };
        tags.insert(key, in_tag(route));
    }
}

/// The spelling without braces, which a tag's value may not have: `GET /items/:id`.
fn in_tag(route: &Route) -> String {
    route.to_string().replace('{', ":").replace('}', "")
}

/// Each once, in the order given.
pub(crate) fn distinct(routes: impl IntoIterator<Item = Route>) -> Vec<Route> {
    let mut distinct: Vec<Route> = Vec::new();
    for route in routes {
        if !distinct.contains(&route) {
            distinct.push(route);
        }
    }
    distinct
}

/// Most routes of one function: as many as tags could state.
const MAX_ROUTES: usize = 50;

/// Refuses routes that would answer the same requests as another function's, or as each other.
pub(crate) fn check(
    snapshot: &Snapshot,
    name: &FunctionName,
    routes: &[Route],
) -> Result<(), RegistryError> {
    if routes.len() > MAX_ROUTES {
        let message = format!(
            "A function may have {MAX_ROUTES} routes at most; {} were given.",
            routes.len()
        );
        return Err(Invalid::parameter("routes", message).into());
    }
    let own = |index: usize| routes[..index].iter().map(|route| (route, name));
    let others = || {
        snapshot
            .routes
            .iter()
            .map(|(route, function)| (route, function))
            .filter(|(_, function)| *function != name)
    };
    for (index, route) in routes.iter().enumerate() {
        if let Some((taken, function)) = own(index)
            .chain(others())
            .find(|(taken, _)| route.conflicts_with(taken))
        {
            return Err(RegistryError::RouteTaken {
                route: route.clone(),
                taken: taken.clone(),
                function: function.clone(),
            });
        }
    }
    Ok(())
}
