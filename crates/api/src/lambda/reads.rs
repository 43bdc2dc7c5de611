//! Truthful answers about what is not built yet: empty lists, defaults, Lambda's own 404, and refusals that name the operation.

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;

use super::{
    answer,
    call::Call,
    error::{Code, LambdaError},
    operation::{Operation, Setting},
    target::Target,
};
use crate::state::Api;

type Answered = Result<Response<Body>, LambdaError>;

/// What is asked about a function that is not there is refused as Lambda does.
fn function(api: &Api, call: &Call, operation: &Operation) -> Result<Option<Target>, LambdaError> {
    match operation.names_a_function() {
        false => Ok(None),
        true => {
            let target = Target::find(api, call.parameter(0), call.query.get("Qualifier"))?;
            target.described()?;
            Ok(Some(target))
        }
    }
}

pub(super) fn empty_list(api: &Api, call: &Call, operation: &Operation, member: &str) -> Answered {
    function(api, call, operation)?;
    Ok(answer::json(
        StatusCode::OK,
        &json!({ member: serde_json::Value::Array(Vec::new()) }),
    ))
}

pub(super) fn default(api: &Api, call: &Call, operation: &Operation, setting: Setting) -> Answered {
    let arn = function(api, call, operation)?
        .map(|target| target.arn())
        .unwrap_or_default();
    let answer = match setting {
        Setting::CodeSigning => json!({}),
        Setting::RuntimeManagement => {
            json!({ "UpdateRuntimeOn": "Auto", "FunctionArn": arn })
        }
        Setting::Recursion => json!({ "RecursiveLoop": "Terminate" }),
        Setting::Scaling => json!({ "FunctionArn": arn }),
    };
    Ok(answer::json(StatusCode::OK, &answer))
}

pub(super) fn absent(api: &Api, call: &Call, operation: &Operation) -> Answered {
    let target = function(api, call, operation)?;
    let arn = target.map(|target| target.arn()).unwrap_or_default();
    Err(match operation.name {
        "GetProvisionedConcurrencyConfig" => LambdaError::new(
            Code::ProvisionedConcurrencyConfigNotFoundException,
            "No Provisioned Concurrency Config found for this function",
        ),
        "GetFunctionEventInvokeConfig" => LambdaError::new(
            Code::ResourceNotFoundException,
            format!("The function {arn} doesn't have an EventInvokeConfig"),
        ),
        "GetAlias" => LambdaError::new(
            Code::ResourceNotFoundException,
            format!("Cannot find alias arn: {arn}:{}", call.parameter(1)),
        ),
        _ => LambdaError::new(
            Code::ResourceNotFoundException,
            "The resource you requested does not exist.",
        ),
    })
}

pub(super) fn unsupported(operation: &Operation) -> LambdaError {
    // The one operation whose errors in the model have no InvalidParameterValueException.
    let code = match operation.name {
        "InvokeAsync" => Code::ModeNotSupportedException,
        _ => Code::InvalidParameterValueException,
    };
    LambdaError::new(
        code,
        format!(
            "The operation {} is not supported by this Warren yet.",
            operation.name
        ),
    )
}
