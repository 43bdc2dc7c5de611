//! UpdateFunctionCode, UpdateFunctionConfiguration.

use axum::body::Body;
use http::{Response, StatusCode};
use warren_model::RevisionId;
use warren_registry::{ConfigPatch, Guard};

use super::{
    answer,
    call::Call,
    code,
    configuration::{ArnForm, FunctionConfiguration},
    error::LambdaError,
    members::Members,
    settings::{self, Settings},
    target::Target,
};
use crate::state::Api;

type Answered = Result<Response<Body>, LambdaError>;

/// The condition that a request sets, if it does.
fn guard(members: &mut Members) -> Result<Guard, LambdaError> {
    Ok(Guard {
        revision: members
            .string("RevisionId")?
            .filter(|id| !id.is_empty())
            .map(RevisionId::new),
        ..Guard::default()
    })
}

pub(super) async fn code(api: &Api, call: Call) -> Answered {
    let target = Target::changeable(api, call.parameter(0))?;
    let code::WithCode { mut members, zip } = code::read(call.body, false).await?;
    settings::check_architecture(&mut members)?;
    let publish = members.boolean("Publish")?.unwrap_or_default();
    let dry_run = members.boolean("DryRun")?.unwrap_or_default();
    let guard = guard(&mut members)?;
    members.finish_plain()?;
    let updated = api
        .registry()
        .update_code(
            target.name(),
            code::required(zip)?,
            &guard,
            publish,
            dry_run,
        )
        .await?;
    let answer = match &updated.published {
        Some(version) => FunctionConfiguration::of(version, api.account(), ArnForm::Qualified),
        None => FunctionConfiguration::of(&updated.version, api.account(), ArnForm::Unqualified),
    };
    Ok(answer::json(StatusCode::OK, &answer))
}

pub(super) async fn configuration(api: &Api, call: Call) -> Answered {
    let target = Target::changeable(api, call.parameter(0))?;
    let mut members = Members::read(&call.body)?;
    let guard = guard(&mut members)?;
    let given = Settings::take(&mut members)?;
    let patch = ConfigPatch {
        runtime: given.runtime,
        handler: given.handler,
        role: given.role,
        description: given.description,
        timeout: given.timeout,
        memory: given.memory,
        ephemeral_storage: given.ephemeral_storage,
        environment: given.environment,
        snap_start: given.snap_start,
        inert: Some(settings::inert(members)?),
        ..ConfigPatch::default()
    };
    let version = api
        .registry()
        .update_config(target.name(), patch, &guard)
        .await?;
    let answer = FunctionConfiguration::of(&version, api.account(), ArnForm::Unqualified);
    Ok(answer::json(StatusCode::OK, &answer))
}
