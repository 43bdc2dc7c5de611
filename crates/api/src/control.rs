use std::future::Future;

use axum::{Router, extract::State, routing::get};
use http::Request;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use warren_model::native::PREFIX;

use crate::{
    edge, lambda,
    native::{self, Surroundings},
    state::Api,
};

/// The first address: `/healthz`, the native API, and the Lambda API (with STS) under every path that nothing else has.
pub fn control_router(api: Api) -> Router {
    control_router_in(api, Surroundings::default())
}

/// The same, with what the native API shows besides.
pub fn control_router_in(api: Api, surroundings: Surroundings) -> Router {
    Router::new()
        .route("/healthz", get(native::healthz))
        .nest_service(PREFIX, native::router(api.clone(), surroundings))
        .fallback(async |State(api), request: Request<_>| lambda::handle(api, request).await)
        .with_state(api)
}

/// Serves a router until `shutdown`, with the limits of the edge.
pub async fn serve_control(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) {
    let make = |_peer| TowerToHyperService::new(router.clone());
    edge::serve(listener, make, shutdown).await;
}
