use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::state::Api;

/// `GET /healthz`: answers as soon as calls are taken; needs no key.
pub(crate) async fn health(State(api): State<Api>) -> Json<Value> {
    let snapshot = api.registry().snapshot();
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "revision": snapshot.revision,
        "functions": snapshot.functions.len(),
    }))
}
