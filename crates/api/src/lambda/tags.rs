//! TagResource, UntagResource, ListTags.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;
use warren_model::validate_tags;

use super::{
    answer,
    call::Call,
    error::{Code, LambdaError},
    members::Members,
    target::Target,
};
use crate::state::Api;

type Answered = Result<Response<Body>, LambdaError>;

/// The function of an ARN; other kinds of resource do not exist here.
fn tagged(api: &Api, call: &Call) -> Result<Target, LambdaError> {
    let arn = call.parameter(0);
    if !arn.starts_with("arn:") {
        let shown: String = arn.chars().take(128).collect();
        return Err(LambdaError::new(
            Code::ValidationException,
            format!(
                "1 validation error detected: Value '{shown}' at 'resource' failed to satisfy constraint: Member must be the ARN of a function"
            ),
        ));
    }
    if !arn.contains(":function:") {
        return Err(LambdaError::new(
            Code::ResourceNotFoundException,
            format!("The resource you requested does not exist: {arn}"),
        ));
    }
    let target = Target::find(api, arn, None)?;
    match target.qualifier {
        None => Ok(target),
        Some(_) => Err(LambdaError::parameter(
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )),
    }
}

pub(super) async fn tag(api: &Api, call: &Call) -> Answered {
    let target = tagged(api, call)?;
    let mut members = Members::read(&call.body)?;
    let tags = members
        .strings("Tags")?
        .ok_or_else(|| LambdaError::missing("tags"))?;
    members.finish_plain()?;
    validate_tags(&tags)?;
    api.registry().set_tags(target.name(), tags).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn untag(api: &Api, call: &Call) -> Answered {
    let target = tagged(api, call)?;
    let keys: Vec<String> = call.query.all("tagKeys").map(str::to_owned).collect();
    if keys.is_empty() {
        return Err(LambdaError::missing("tagKeys"));
    }
    api.registry().remove_tags(target.name(), &keys).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub(super) fn list(api: &Api, call: &Call) -> Answered {
    let target = tagged(api, call)?;
    Ok(answer::json(
        StatusCode::OK,
        &json!({ "Tags": target.entry.function.tags }),
    ))
}
