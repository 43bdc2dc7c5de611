use std::future::Future;

use axum::{
    Router,
    body::Body,
    extract::State,
    middleware::{Next, from_fn},
    response::Response,
    routing::get,
};
use http::{
    HeaderValue, Request, StatusCode,
    header::{CONNECTION, CONTENT_TYPE},
};
use hyper::body::Body as _;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use warren_model::native::PREFIX;
use warren_telemetry::{FunctionLogs, metrics};

use crate::{
    edge, lambda,
    native::{self, Surroundings},
    state::Api,
};

/// The first address: `/healthz`, `/metrics`, the native API, and the Lambda API (with STS) under every path that nothing else has.
fn router(api: Api, surroundings: Surroundings) -> Router {
    let logs = surroundings.logs.clone();
    // Needs no key, as scrapers have none: it tells counts, and no name of a function.
    let metrics = async move |State(api): State<Api>| {
        let dropped = logs.as_ref().map(FunctionLogs::dropped);
        (
            [(CONTENT_TYPE, metrics::CONTENT_TYPE)],
            api.metrics(dropped.unwrap_or_default()),
        )
    };
    Router::new()
        .route("/healthz", get(native::healthz))
        .route("/metrics", get(metrics))
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

/// Serves the first address until `shutdown`, with the limits of the edge.
pub async fn serve_control(
    listener: TcpListener,
    api: Api,
    surroundings: Surroundings,
    shutdown: impl Future<Output = ()>,
) {
    let busy_poll = api.invoker().busy_poll().clone();
    let router = router(api, surroundings);
    let make = |_peer| TowerToHyperService::new(router.clone());
    edge::serve(listener, edge::CONNECTIONS, busy_poll, make, shutdown).await;
}
