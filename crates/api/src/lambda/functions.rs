//! CreateFunction, GetFunction, GetFunctionConfiguration, DeleteFunction, ListFunctions.

use std::collections::BTreeMap;

use axum::body::Body;
use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use warren_model::{
    Config, FunctionRef, Qualifier, engine_from_tags, routes_from_tags, validate_tags,
};
use warren_registry::NewFunction;

use super::{
    answer,
    call::Call,
    code,
    configuration::{ArnForm, FunctionConfiguration},
    error::{Code, LambdaError},
    page::Page,
    settings::{self, Settings},
    target::Target,
};
use crate::state::Api;

type Answered = Result<Response<Body>, LambdaError>;

pub(super) async fn create(api: &Api, call: Call) -> Answered {
    let code::WithCode { mut members, zip } = code::read(call.body, true).await?;
    let named = FunctionRef::parse(&members.required_string("FunctionName")?, api.account())?;
    if named.foreign_region.is_some() || named.foreign_account.is_some() {
        return Err(LambdaError::parameter(format!(
            "FunctionName is an ARN of another account or region. This Warren is account {} in {}.",
            api.account().id,
            api.account().region
        )));
    }
    if named.qualifier.is_some() {
        return Err(LambdaError::parameter(
            "FunctionName has a qualifier; a new function can't have one. Leave it out.",
        ));
    }
    match members.string("PackageType")?.as_deref() {
        None | Some("Zip") => {}
        Some("Image") => {
            return Err(LambdaError::parameter(
                "PackageType Image is not supported yet. Send a zip, with PackageType Zip.",
            ));
        }
        Some(other) => {
            return Err(LambdaError::new(
                Code::ValidationException,
                format!(
                    "1 validation error detected: Value '{other}' at 'packageType' failed to satisfy constraint: Member must satisfy enum value set: [Image, Zip]"
                ),
            ));
        }
    }
    settings::check_architecture(&mut members)?;
    let tags = members.strings("Tags")?.unwrap_or_default();
    validate_tags(&tags)?;
    let publish = members.boolean("Publish")?.unwrap_or_default();
    let given = Settings::take(&mut members)?;
    let inert = settings::inert(members)?;
    let role = given.role.ok_or_else(|| LambdaError::missing("role"))?;
    let (Some(runtime), Some(handler)) = (given.runtime, given.handler) else {
        return Err(LambdaError::parameter(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    };
    let default = api.registry().default_engine();
    let engine = engine_from_tags(&tags)?.unwrap_or(default);
    let config = Config {
        runtime,
        handler,
        role,
        description: given.description.unwrap_or_default(),
        timeout: given.timeout.unwrap_or_default(),
        memory: given.memory.unwrap_or_default(),
        ephemeral_storage: given.ephemeral_storage.unwrap_or_default(),
        environment: given.environment.unwrap_or_default(),
        network: api.invoker().launcher().default_network(engine),
        engine,
        snap_start: given.snap_start.unwrap_or_default(),
        inert,
    };
    let created = api
        .registry()
        .create(NewFunction {
            name: named.name,
            config,
            zip: code::required(zip)?,
            routes: routes_from_tags(&tags)?,
            tags,
            reserved_concurrency: None,
            publish,
            force: false,
        })
        .await?;
    // With Publish the answer is the published version's, under the function's own ARN.
    let described = match &created.published {
        Some(version) => version,
        None => &created.function.latest,
    };
    let answer = FunctionConfiguration::of(described, api.account(), ArnForm::Unqualified);
    Ok(answer::json(StatusCode::CREATED, &answer))
}

/// How a description's ARN follows the caller's naming.
fn form(target: &Target) -> ArnForm {
    match target.qualifier {
        None => ArnForm::Unqualified,
        Some(_) => ArnForm::Qualified,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description<'v> {
    configuration: FunctionConfiguration<'v>,
    code: Value,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'v BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<Value>,
}

pub(super) fn get(api: &Api, call: &Call) -> Answered {
    let target = Target::find(api, call.parameter(0), call.query.get("Qualifier"))?;
    let version = target.described()?;
    let function = &target.entry.function;
    let description = Description {
        configuration: FunctionConfiguration::of(version, api.account(), form(&target))
            .without(target.without_code(version)),
        code: code::location(api, call, version),
        tags: &function.tags,
        // Asked for by a qualifier, Lambda does not tell it.
        concurrency: function
            .reserved_concurrency
            .filter(|_| target.qualifier.is_none())
            .map(|limit| json!({ "ReservedConcurrentExecutions": limit })),
    };
    Ok(answer::json(StatusCode::OK, &description))
}

pub(super) fn get_configuration(api: &Api, call: &Call) -> Answered {
    let target = Target::find(api, call.parameter(0), call.query.get("Qualifier"))?;
    let version = target.described()?;
    let answer = FunctionConfiguration::of(version, api.account(), form(&target))
        .without(target.without_code(version));
    Ok(answer::json(StatusCode::OK, &answer))
}

pub(super) async fn delete(api: &Api, call: &Call) -> Answered {
    let target = Target::find(api, call.parameter(0), call.query.get("Qualifier"))?;
    let version = match &target.qualifier {
        None => None,
        Some(Qualifier::Version(version)) => Some(*version),
        Some(Qualifier::Alias(_)) => return Err(LambdaError::no_function(&target.arn())),
    };
    api.registry().delete(target.name(), version).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub(super) fn list(api: &Api, call: &Call) -> Answered {
    let page = Page::of(&call.query)?;
    let all_versions = match call.query.get("FunctionVersion") {
        None | Some("") => false,
        Some("ALL") => true,
        Some(other) => {
            return Err(LambdaError::new(
                Code::ValidationException,
                format!(
                    "1 validation error detected: Value '{other}' at 'functionVersion' failed to satisfy constraint: Member must satisfy enum value set: [ALL]"
                ),
            ));
        }
    };
    let snapshot = api.registry().snapshot();
    let (account, snapshot) = (api.account(), &*snapshot);
    let (functions, next) = if all_versions {
        page.cut(snapshot.functions.iter().flat_map(|(name, entry)| {
            std::iter::once((0, &entry.latest))
                .chain(
                    entry
                        .versions
                        .iter()
                        .map(|(number, version)| (*number, version)),
                )
                .map(move |(number, version)| {
                    let answer = FunctionConfiguration::of(version, account, ArnForm::Qualified)
                        .without(snapshot.without_code(version));
                    // NUL sorts before every character of a name, and padded numbers sort by value.
                    (format!("{name}\0{number:020}"), answer)
                })
        }))
    } else {
        page.cut(snapshot.functions.iter().map(|(name, entry)| {
            let answer = FunctionConfiguration::of(&entry.latest, account, ArnForm::Unqualified)
                .without(snapshot.without_code(&entry.latest));
            (name.to_string(), answer)
        }))
    };
    Ok(answer::json(
        StatusCode::OK,
        &list_of("Functions", &functions, next),
    ))
}

/// A list's page; `NextMarker` is absent at the end.
pub(super) fn list_of(member: &str, items: &impl Serialize, next: Option<String>) -> Value {
    let mut answer = json!({ member: items });
    if let Some(marker) = next {
        answer["NextMarker"] = Value::from(marker);
    }
    answer
}
