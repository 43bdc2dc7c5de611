use std::future::Future;

use axum::{Router, extract::State, routing::get};
use http::Request;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;

use crate::{edge, lambda, native, state::Api};

/// The first address: `/healthz`, and the Lambda API (with STS) under every path that nothing else has.
pub fn control_router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(native::health))
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
