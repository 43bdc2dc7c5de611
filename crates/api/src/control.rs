use std::future::Future;

use axum::{
    Router,
    body::Body,
    extract::State,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use http::{HeaderValue, Request, StatusCode, header::CONNECTION};
use hyper::body::Body as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use warren_model::native::PREFIX;

use crate::{
    edge, lambda,
    native::{self, Surroundings},
    state::Api,
};

/// The first address: `/healthz`, the native API, and the Lambda API (with STS) under every path that nothing else has.
pub fn control_router(api: Api, surroundings: Surroundings) -> Router {
    Router::new()
        .route("/healthz", get(native::healthz))
        .nest_service(PREFIX, native::router(api.clone(), surroundings))
        .fallback(async |State(api), request: Request<_>| lambda::handle(api, request).await)
        .with_state(api)
        .layer(from_fn(close_after_refusal))
}

/// Strangers are refused before their body is read, so their connection can't serve another request; they are told.
async fn close_after_refusal(request: Request<Body>, next: Next) -> Response {
    let has_body = !request.body().is_end_stream();
    let mut response = next.run(request).await;
    if has_body
        && matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        )
    {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
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
