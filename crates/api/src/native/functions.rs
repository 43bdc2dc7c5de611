//! Functions: list, create, read, change, delete.

use std::ops::Bound;

use axum::{
    Json as Answer,
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;
use warren_model::{
    FunctionName,
    native::{Deployed, Function, FunctionPage, FunctionSpec},
};

use super::{
    deploy,
    extract::{Json, Named, Params, Zip},
    find,
    refusal::{Refusal, Refused},
    spec::Spec,
    view,
};
use crate::state::Api;

/// Functions of one page.
const DEFAULT_PAGE: usize = 50;
/// Most functions of one page.
const MAX_PAGE: usize = 500;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PageParams {
    /// Most functions of the page: 1 to 500; 50 by default.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List functions
///
/// In the order of their names, page by page.
#[utoipa::path(get, path = "/api/v1/functions", tag = "functions", operation_id = "listFunctions",
    params(PageParams),
    responses((status = 200, description = "A page of functions.", body = FunctionPage), Refused))]
pub(super) async fn list(
    State(api): State<Api>,
    Params(page): Params<PageParams>,
) -> Result<Answer<FunctionPage>, Refusal> {
    let limit = page.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Refusal::field(
            "limit",
            format!("limit can't be {limit}: it must be between 1 and {MAX_PAGE}."),
        ));
    }
    let after: Option<FunctionName> = page
        .cursor
        .map(|cursor| {
            cursor.parse().map_err(|_| {
                Refusal::field("cursor", "The cursor is not one that this server gave.")
            })
        })
        .transpose()?;
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let snapshot = api.registry().snapshot();
    let mut rest = snapshot.functions.range((start, Bound::Unbounded));
    let functions: Vec<Function> = rest
        .by_ref()
        .take(limit)
        .map(|(_, entry)| view::function(&api, entry))
        .collect();
    let last = functions.last().map(|function| function.name.clone());
    Ok(Answer(FunctionPage {
        next_cursor: rest.next().and(last),
        functions,
    }))
}

/// Create a function
///
/// Answers while it is still being prepared; read it until its state is `active`.
#[utoipa::path(post, path = "/api/v1/functions", tag = "functions", operation_id = "createFunction",
    request_body = FunctionSpec,
    responses((status = 201, description = "Created.", body = Deployed), Refused))]
pub(super) async fn create(
    State(api): State<Api>,
    Json(spec): Json<FunctionSpec>,
) -> Result<(StatusCode, Answer<Deployed>), Refusal> {
    let name = spec
        .name
        .as_deref()
        .ok_or_else(|| Refusal::field("name", "A new function needs the member 'name'."))?
        .parse()?;
    let spec = Spec::read(&api, spec, None).await?;
    let deployed = deploy::create(&api, name, spec).await?;
    Ok((StatusCode::CREATED, Answer(deployed)))
}

/// Read a function
#[utoipa::path(get, path = "/api/v1/functions/{name}", tag = "functions", operation_id = "getFunction",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The function.", body = Function), Refused))]
pub(super) async fn get(
    State(api): State<Api>,
    Named(name): Named,
) -> Result<Answer<Function>, Refusal> {
    let entry = find::entry(&api, &name)?;
    Ok(Answer(view::function(&api, &entry)))
}

/// Create a function, or change it where it is not as asked
///
/// The same request twice is the same as once, and the second answer says that nothing changed. Where the last preparation failed, it is tried again.
#[utoipa::path(put, path = "/api/v1/functions/{name}", tag = "functions", operation_id = "deployFunction",
    params(("name" = String, Path, description = "Its name.")),
    request_body = FunctionSpec,
    responses(
        (status = 200, description = "It exists; what was changed.", body = Deployed),
        (status = 201, description = "Created.", body = Deployed),
        Refused))]
pub(super) async fn deploy(
    State(api): State<Api>,
    Named(name): Named,
    Json(spec): Json<FunctionSpec>,
) -> Result<Response, Refusal> {
    same_name(&name, &spec)?;
    let name: FunctionName = name.parse()?;
    match api.registry().snapshot().function(&name).cloned() {
        Some(entry) => {
            let spec = Spec::read(&api, spec, Some(&entry.latest.config)).await?;
            Ok(Answer(deploy::change(&api, entry, spec).await?).into_response())
        }
        None => {
            let spec = Spec::read(&api, spec, None).await?;
            let created = deploy::create(&api, name, spec).await?;
            Ok((StatusCode::CREATED, Answer(created)).into_response())
        }
    }
}

/// Change a function
#[utoipa::path(patch, path = "/api/v1/functions/{name}", tag = "functions", operation_id = "updateFunction",
    params(("name" = String, Path, description = "Its name.")),
    request_body = FunctionSpec,
    responses((status = 200, description = "What was changed.", body = Deployed), Refused))]
pub(super) async fn update(
    State(api): State<Api>,
    Named(name): Named,
    Json(spec): Json<FunctionSpec>,
) -> Result<Answer<Deployed>, Refusal> {
    same_name(&name, &spec)?;
    let entry = find::entry(&api, &name)?;
    let spec = Spec::read(&api, spec, Some(&entry.latest.config)).await?;
    Ok(Answer(deploy::change(&api, entry, spec).await?))
}

/// Replace a function's code by a zip
#[utoipa::path(put, path = "/api/v1/functions/{name}/code", tag = "functions", operation_id = "uploadCode",
    params(("name" = String, Path, description = "Its name.")),
    request_body(content = Vec<u8>, content_type = "application/zip", description = "At most 52,428,800 bytes."),
    responses((status = 200, description = "What was changed.", body = Deployed), Refused))]
pub(super) async fn upload(
    State(api): State<Api>,
    Named(name): Named,
    Zip(zip): Zip,
) -> Result<Answer<Deployed>, Refusal> {
    let entry = find::entry(&api, &name)?;
    let spec = Spec {
        zip: Some(zip),
        ..Spec::default()
    };
    Ok(Answer(deploy::change(&api, entry, spec).await?))
}

/// Delete a function
///
/// With its versions, routes and tags. Calls under way end as they would.
#[utoipa::path(delete, path = "/api/v1/functions/{name}", tag = "functions", operation_id = "deleteFunction",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 204, description = "Deleted."), Refused))]
pub(super) async fn delete(
    State(api): State<Api>,
    Named(name): Named,
) -> Result<StatusCode, Refusal> {
    let name: FunctionName = name.parse()?;
    api.registry().delete(&name, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A name in the body may only repeat the path's.
fn same_name(name: &str, spec: &FunctionSpec) -> Result<(), Refusal> {
    match &spec.name {
        Some(other) if other != name => Err(Refusal::field(
            "name",
            format!("The path names '{name}' and the body '{other}'."),
        )
        .next("A function can't be renamed; leave the member 'name' out.")),
        _ => Ok(()),
    }
}
