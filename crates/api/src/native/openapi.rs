use axum::Json as Answer;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        RefOr, Required, Schema,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use warren_model::native::Problem;

use super::{calls, functions, health, host, invoke, logs, routes, run};

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
        run::run,
        logs::logs,
        calls::of_function,
        calls::list,
        host::runtimes,
        host::engines,
        routes::list,
        health::health,
        document,
    ),
    components(schemas(Problem, warren_model::native::RunEnd)),
    tags(
        (name = "functions", description = "Functions, their invocations and logs."),
        (name = "server", description = "What the server has and serves."),
    ),
    security(("key" = [])),
    modifiers(&Key, &Requirements),
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

/// What must be there, where the types say it otherwise.
struct Requirements;

impl Modify for Requirements {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        // No body stands for `{}`.
        let invoke = description
            .paths
            .paths
            .get_mut("/api/v1/functions/{name}/invoke")
            .and_then(|path| path.post.as_mut())
            .and_then(|operation| operation.request_body.as_mut());
        if let Some(RefOr::T(body)) = invoke {
            body.required = Some(Required::False);
        }
        // Clients read problems without it; this server always names the request.
        let problem = description
            .components
            .as_mut()
            .and_then(|components| components.schemas.get_mut("Problem"));
        if let Some(RefOr::T(Schema::Object(problem))) = problem
            && !problem.required.iter().any(|name| name == "request_id")
        {
            problem.required.push("request_id".to_owned());
        }
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
