use axum::{Json as Answer, extract::State};
use warren_model::native::{RouteEntry, RouteList};

use super::{Surroundings, refusal::Refused};
use crate::state::Api;

/// List HTTP routes
#[utoipa::path(get, path = "/api/v1/routes", tag = "server", operation_id = "listRoutes",
    responses((status = 200, description = "All routes.", body = RouteList), Refused))]
pub(super) async fn list(
    State(api): State<Api>,
    State(surroundings): State<Surroundings>,
) -> Answer<RouteList> {
    let snapshot = api.registry().snapshot();
    let mut routes: Vec<RouteEntry> = snapshot
        .routes
        .iter()
        .map(|(route, function)| RouteEntry {
            method: route.method().as_str().to_owned(),
            path: route.path(),
            function: function.to_string(),
        })
        .collect();
    routes.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
    Answer(RouteList {
        routes,
        port: surroundings.routes_listen.map(|address| address.port()),
    })
}
