use axum::Json as Answer;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{functions, health, host, invoke, logs, routes};

/// The description of the interface, from the code.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Warren",
        description = "Your own Lambda: functions, their invocations and logs, and what the server has to run them. Refusals are `application/problem+json`.",
    ),
    paths(
        functions::list,
        functions::create,
        functions::get,
        functions::deploy,
        functions::update,
        functions::delete,
        functions::upload,
        invoke::invoke,
        logs::logs,
        host::runtimes,
        host::engines,
        routes::list,
        health::health,
        document,
    ),
    tags(
        (name = "functions", description = "Functions, their invocations and logs."),
        (name = "server", description = "What the server has and serves."),
    ),
    security(("key" = [])),
    modifiers(&Key),
)]
pub(super) struct Description;

/// How the interface is opened.
struct Key;

impl Modify for Key {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("ID:SECRET")
            .description(Some(
                "The key pair of the file `credentials` in Warren's data folder.",
            ))
            .build();
        description
            .components
            .get_or_insert_default()
            .add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}

/// Describe the interface
///
/// Needs no key.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "server", operation_id = "getOpenApi", security(()),
    responses((status = 200, description = "This document.", body = serde_json::Value)))]
pub(super) async fn document() -> Answer<utoipa::openapi::OpenApi> {
    Answer(Description::openapi())
}
