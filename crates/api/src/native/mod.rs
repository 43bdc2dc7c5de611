//! Warren's own interface, `/api/v1`: JSON of `warren_model::native` in and out, refusals as `application/problem+json`, described by
//! `/api/v1/openapi.json`.
//!
//! ```text
//! request ─► id ─► key ─► handler ─► registry, invoker, telemetry
//! ```
//!
//! A handler returns a `Refusal`, the one error type of this module; `mapping` is the only place that makes it of other crates' errors.

mod calls;
mod changes;
mod code;
mod deploy;
mod extract;
mod find;
mod functions;
mod guard;
mod health;
mod host;
mod invoke;
mod logs;
mod mapping;
mod openapi;
mod refusal;
mod routes;
mod run;
mod spec;
#[cfg(test)]
mod tests;
mod view;

use std::net::SocketAddr;

use axum::{
    Router,
    extract::FromRef,
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post, put},
};
use tokio::sync::watch;
use warren_telemetry::FunctionLogs;

pub(crate) use health::healthz;

use crate::state::Api;

/// What this interface shows besides what all interfaces call.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Functions' logs.
    pub logs: Option<FunctionLogs>,
    /// Where functions' HTTP routes are served.
    pub routes_listen: Option<SocketAddr>,
    /// Becomes true when the server stops: answers without an end of their own then end.
    pub stopping: Option<watch::Receiver<bool>>,
}

/// What handlers get.
#[derive(Clone)]
struct Native {
    api: Api,
    surroundings: Surroundings,
}

impl FromRef<Native> for Api {
    fn from_ref(native: &Native) -> Self {
        native.api.clone()
    }
}

impl FromRef<Native> for Surroundings {
    fn from_ref(native: &Native) -> Self {
        native.surroundings.clone()
    }
}

/// The routes below `/api/v1`.
pub(crate) fn router(api: Api, surroundings: Surroundings) -> Router {
    let guarded = Router::new()
        .route("/functions", get(functions::list).post(functions::create))
        .route(
            "/functions/{name}",
            get(functions::get)
                .put(functions::deploy)
                .patch(functions::update)
                .delete(functions::delete),
        )
        .route("/functions/{name}/code", put(functions::upload))
        .route("/functions/{name}/invoke", post(invoke::invoke))
        .route("/functions/{name}/logs", get(logs::logs))
        .route("/run", post(run::run))
        .route("/functions/{name}/calls", get(calls::of_function))
        .route("/calls", get(calls::list))
        .route("/runtimes", get(host::runtimes))
        .route("/engines", get(host::engines))
        .route("/routes", get(routes::list))
        .route_layer(from_fn_with_state(api.clone(), guard::authenticated));
    let open = Router::new()
        .route("/health", get(health::health))
        .route("/openapi.json", get(openapi::document));
    guarded
        .merge(open)
        .fallback(guard::no_such_path)
        .method_not_allowed_fallback(guard::no_such_method)
        .layer(from_fn(guard::identified))
        .with_state(Native { api, surroundings })
}
