use axum::{Json as Answer, extract::State};
use warren_model::native::Health;

use crate::state::Api;

/// Tell that calls are taken
///
/// Needs no key.
#[utoipa::path(get, path = "/api/v1/health", tag = "server", operation_id = "getHealth", security(()),
    responses((status = 200, description = "The server takes calls.", body = Health)))]
pub(super) async fn health(State(api): State<Api>) -> Answer<Health> {
    let snapshot = api.registry().snapshot();
    Answer(Health {
        status: "ok".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: snapshot.revision,
        functions: snapshot.functions.len(),
    })
}

/// `GET /healthz`: the same, where load balancers and supervisors look for it.
pub(crate) async fn healthz(api: State<Api>) -> Answer<Health> {
    health(api).await
}
