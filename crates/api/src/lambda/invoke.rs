//! Invoke.

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde::de::IgnoredAny;
use warren_invoker::Invocation;
use warren_model::{Outcome, TraceHeader, VersionId};

use super::{
    answer,
    call::Call,
    error::{Code, LambdaError},
    target::Target,
};
use crate::state::Api;

/// Length of the log's end in an answer, in bytes (API reference, `LogResult`).
const LOG_TAIL: usize = 4096;
/// Largest client context, in bytes, base64 included (API reference, `ClientContext`).
const MAX_CLIENT_CONTEXT: usize = 3583;

pub(super) async fn invoke(api: &Api, call: Call) -> Result<Response<Body>, LambdaError> {
    let target = Target::find(api, call.parameter(0), call.query.get("Qualifier"))?;
    let dry_run = dry_run(call.header("x-amz-invocation-type"))?;
    let tail = log_tail(call.header("x-amz-log-type"))?;
    refuse_unserved(&call)?;
    let client_context = call
        .header("x-amz-client-context")
        .filter(|text| !text.is_empty())
        .map(client_context)
        .transpose()?;
    check_event(&call.body)?;
    if dry_run {
        target.callable()?;
        return Ok(answer::empty(StatusCode::NO_CONTENT));
    }
    let mut first = Some(target);
    let find = || {
        let target = match first.take() {
            Some(target) => target,
            None => Target::find(api, call.parameter(0), call.query.get("Qualifier"))?,
        };
        let version = target.callable()?;
        let executed = version.id;
        let invocation = Invocation {
            version,
            engine: None,
            trace: call
                .header("x-amzn-trace-id")
                .and_then(TraceHeader::of_caller),
            arn: target.arn(),
            payload: call.body.clone(),
            request_id: call.request_id.clone(),
            client_context: client_context.clone(),
            tail,
        };
        Ok::<_, LambdaError>((invocation, executed))
    };
    let (completed, executed) = api.invoke(call.arrived, find).await?;
    let log = completed.log_tail.filter(|_| tail);
    Ok(completed_answer(completed.outcome, executed, log))
}

fn completed_answer(
    outcome: Outcome<Bytes>,
    executed: VersionId,
    log_tail: Option<Vec<u8>>,
) -> Response<Body> {
    let (body, unhandled) = match outcome {
        Outcome::Answer(bytes) => (bytes, false),
        Outcome::Error(bytes) => (bytes, true),
        Outcome::Failed(failure) => (
            serde_json::to_vec(&failure).unwrap_or_default().into(),
            true,
        ),
    };
    let mut response = answer::with_body(StatusCode::OK, body);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&executed.to_string()) {
        headers.insert("x-amz-executed-version", value);
    }
    if unhandled {
        headers.insert(
            "x-amz-function-error",
            HeaderValue::from_static("Unhandled"),
        );
    }
    if let Some(log) = log_tail {
        let start = log.len().saturating_sub(LOG_TAIL);
        if let Ok(value) = HeaderValue::from_str(&STANDARD.encode(&log[start..])) {
            headers.insert("x-amz-log-result", value);
        }
    }
    response
}

fn choice<T>(field: &str, found: &str, allowed: &str) -> Result<T, LambdaError> {
    let shown: String = found.chars().take(128).collect();
    Err(LambdaError::new(
        Code::ValidationException,
        format!(
            "1 validation error detected: Value '{shown}' at '{field}' failed to satisfy constraint: Member must satisfy enum value set: {allowed}"
        ),
    ))
}

fn dry_run(kind: Option<&str>) -> Result<bool, LambdaError> {
    match kind {
        None | Some("" | "RequestResponse") => Ok(false),
        Some("DryRun") => Ok(true),
        Some("Event") => Err(LambdaError::parameter(
            "InvocationType Event is not supported yet. Call with RequestResponse, which waits for the answer.",
        )),
        Some(other) => choice("invocationType", other, "[Event, RequestResponse, DryRun]"),
    }
}

fn log_tail(kind: Option<&str>) -> Result<bool, LambdaError> {
    match kind {
        None | Some("" | "None") => Ok(false),
        Some("Tail") => Ok(true),
        Some(other) => choice("logType", other, "[None, Tail]"),
    }
}

/// Members in headers that have no effect here are refused, like those in bodies.
fn refuse_unserved(call: &Call) -> Result<(), LambdaError> {
    for (header, member, next) in [
        (
            "x-amz-durable-execution-name",
            "DurableExecutionName",
            "Durable executions are not supported yet.",
        ),
        (
            "x-amz-tenant-id",
            "TenantId",
            "The function has no isolation by tenant.",
        ),
    ] {
        if call.header(header).is_some_and(|value| !value.is_empty()) {
            return Err(LambdaError::parameter(format!(
                "{member} is not supported. {next} Leave it out."
            )));
        }
    }
    Ok(())
}

/// The JSON text of a client context, which travels as base64.
fn client_context(encoded: &str) -> Result<String, LambdaError> {
    let refused = |why: &str| {
        LambdaError::new(
            Code::InvalidRequestContentException,
            format!("Client context must be a valid Base64-encoded JSON object: {why}."),
        )
    };
    if encoded.len() > MAX_CLIENT_CONTEXT {
        return Err(refused("it has more than 3583 bytes"));
    }
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| refused("it is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))?;
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(refused("it is not a JSON object")),
    }
}

/// An event is JSON, or nothing.
fn check_event(body: &[u8]) -> Result<(), LambdaError> {
    if body.is_empty() {
        return Ok(());
    }
    let refused = |why: String| {
        LambdaError::new(
            Code::InvalidRequestContentException,
            format!("Could not parse request body into json: {why}"),
        )
    };
    let text = std::str::from_utf8(body).map_err(|error| refused(error.to_string()))?;
    serde_json::from_str::<IgnoredAny>(text)
        .map(|_| ())
        .map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use warren_model::{Failure, FailureKind};

    use super::*;

    #[test]
    fn events_are_json_or_nothing() {
        for body in ["", "{}", "null", "1", "\"ä\"", " [1, {\"a\": []}] "] {
            assert_eq!(check_event(body.as_bytes()), Ok(()), "{body}");
        }
        for body in [&b"{"[..], b"abc", b"{} {}", b"\"\xff\"", b"{'a': 1}", b" "] {
            let error = check_event(body).unwrap_err();
            assert_eq!(error.code, Code::InvalidRequestContentException);
        }
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert_eq!(check_event(deep.as_bytes()), Ok(()));
    }

    #[test]
    fn client_contexts_are_objects_in_base64() {
        assert_eq!(client_context("eyJhIjoxfQ==").unwrap(), "{\"a\":1}");
        for (text, words) in [("{}", "base64"), ("MQ==", "JSON object"), ("/w==", "UTF-8")] {
            let error = client_context(text).unwrap_err();
            assert!(error.message.contains(words), "{error}");
        }
        assert!(client_context(&"e".repeat(4000)).is_err());
    }

    #[tokio::test]
    async fn answers_have_lambda_s_headers() {
        let failure = Failure {
            kind: FailureKind::TimedOut,
            error_type: "Sandbox.Timedout".to_owned(),
            message: "RequestId: 1 Error: Task timed out after 1.00 seconds".to_owned(),
        };
        let log = vec![b'x'; 5000];
        let failed = completed_answer(Outcome::Failed(failure), VersionId::Latest, Some(log));
        assert_eq!(failed.status(), 200);
        assert_eq!(failed.headers()["x-amz-function-error"], "Unhandled");
        assert_eq!(failed.headers()["x-amz-executed-version"], "$LATEST");
        let log = STANDARD
            .decode(failed.headers()["x-amz-log-result"].as_bytes())
            .unwrap();
        assert_eq!(log.len(), 4096);
        let body = axum::body::to_bytes(failed.into_body(), 1000)
            .await
            .unwrap();
        assert_eq!(
            body,
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 1 Error: Task timed out after 1.00 seconds"}"#
        );
        let answered = completed_answer(
            Outcome::Answer(Bytes::from_static(b"1")),
            VersionId::Number(7),
            None,
        );
        assert_eq!(answered.headers()["x-amz-executed-version"], "7");
        assert!(!answered.headers().contains_key("x-amz-function-error"));
        assert!(!answered.headers().contains_key("x-amz-log-result"));
    }
}
