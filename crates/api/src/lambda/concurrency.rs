//! PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency, GetAccountSettings.

use std::collections::HashMap;

use axum::body::Body;
use http::{Response, StatusCode};
use serde_json::json;
use warren_model::limits::{MAX_UNPACKED, MAX_ZIP};
use warren_registry::ACCOUNT_CONCURRENCY;

use super::{
    answer,
    call::Call,
    error::{Code, LambdaError},
    members::Members,
    target::Target,
};
use crate::state::Api;

type Answered = Result<Response<Body>, LambdaError>;

/// Lambda's default limit of code kept (75 GB), which Warren reports and does not enforce.
const TOTAL_CODE_SIZE: u64 = 80_530_636_800;

pub(super) async fn put(api: &Api, call: &Call) -> Answered {
    let target = Target::changeable(api, call.parameter(0))?;
    let mut members = Members::read(&call.body)?;
    let limit = members
        .integer("ReservedConcurrentExecutions")?
        .ok_or_else(|| LambdaError::missing("reservedConcurrentExecutions"))?;
    members.finish_plain()?;
    let limit = u32::try_from(limit).map_err(|_| {
        let bound = match limit {
            ..0 => "greater than or equal to 0".to_owned(),
            _ => format!("less than or equal to {ACCOUNT_CONCURRENCY}"),
        };
        LambdaError::new(
            Code::ValidationException,
            format!(
                "1 validation error detected: Value '{limit}' at 'reservedConcurrentExecutions' failed to satisfy constraint: Member must have value {bound}"
            ),
        )
    })?;
    api.registry()
        .set_reserved_concurrency(target.name(), Some(limit))
        .await?;
    Ok(answer::json(
        StatusCode::OK,
        &json!({ "ReservedConcurrentExecutions": limit }),
    ))
}

pub(super) fn get(api: &Api, call: &Call) -> Answered {
    let target = Target::find(api, call.parameter(0), None)?;
    let answer = match target.entry.function.reserved_concurrency {
        Some(limit) => json!({ "ReservedConcurrentExecutions": limit }),
        None => json!({}),
    };
    Ok(answer::json(StatusCode::OK, &answer))
}

pub(super) async fn delete(api: &Api, call: &Call) -> Answered {
    let target = Target::changeable(api, call.parameter(0))?;
    api.registry()
        .set_reserved_concurrency(target.name(), None)
        .await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub(super) fn account_settings(api: &Api) -> Answered {
    let snapshot = api.registry().snapshot();
    let reserved = snapshot.reserved_concurrency();
    // The same zip under several versions is kept, and counted, once.
    let code: HashMap<_, _> = snapshot
        .functions
        .values()
        .flat_map(|entry| std::iter::once(&entry.latest).chain(entry.versions.values()))
        .map(|version| (version.code.digest, version.code.size))
        .collect();
    Ok(answer::json(
        StatusCode::OK,
        &json!({
            "AccountLimit": {
                "TotalCodeSize": TOTAL_CODE_SIZE,
                "CodeSizeUnzipped": MAX_UNPACKED,
                "CodeSizeZipped": MAX_ZIP,
                "ConcurrentExecutions": ACCOUNT_CONCURRENCY,
                "UnreservedConcurrentExecutions": ACCOUNT_CONCURRENCY.saturating_sub(reserved),
            },
            "AccountUsage": {
                "TotalCodeSize": code.values().sum::<u64>(),
                "FunctionCount": snapshot.functions.len(),
            },
        }),
    ))
}
