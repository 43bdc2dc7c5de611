use std::time::Instant;

use axum::{Extension, body::Body, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderName, HeaderValue, Response, header};
use serde::Deserialize;
use utoipa::IntoParams;
use warren_invoker::{Completed, Invocation};
use warren_model::{
    EngineName, Outcome, RequestId,
    native::{DURATION_HEADER, InvokeOutcome, LOG_TAIL_HEADER, OUTCOME_HEADER},
};

use super::{
    extract::{Event, Named, Params},
    find::Found,
    refusal::{Refusal, Refused},
};
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct InvokeParams {
    /// A published version; `$LATEST` without it.
    qualifier: Option<String>,
    /// The engine that runs this call, in place of the function's own, about which nothing changes.
    engine: Option<String>,
    /// Whether the answer waits for the log and brings its last 4 KiB.
    #[serde(default)]
    tail: bool,
}

/// Invoke a function and wait for its end
///
/// The status is 200 however the function ended; `warren-outcome` says how.
#[utoipa::path(post, path = "/api/v1/functions/{name}/invoke", tag = "functions", operation_id = "invokeFunction",
    params(("name" = String, Path, description = "Its name."), InvokeParams),
    request_body(content = serde_json::Value, content_type = "application/json", description = "The event: any JSON of at most 6,291,456 bytes; nothing stands for `{}`."),
    responses(
        (status = 200, description = "What the handler answered, or its error, byte for byte.", body = serde_json::Value, headers(
            ("warren-outcome" = InvokeOutcome, description = "How the invocation ended."),
            ("warren-request-id" = String, description = "The invocation's id, as the handler and the log have it."),
            ("warren-duration-ms" = f64, description = "Milliseconds from the request to its answer, waiting and cold start included."),
            ("warren-log-tail" = String, description = "The last 4 KiB of the log in base64, if they were asked for."))),
        Refused))]
pub(super) async fn invoke(
    State(api): State<Api>,
    Extension(request_id): Extension<RequestId>,
    Named(name): Named,
    Params(params): Params<InvokeParams>,
    Event(payload): Event,
) -> Result<Response<Body>, Refusal> {
    let begun = Instant::now();
    let asked = params.engine.as_deref().map(str::parse::<EngineName>);
    let asked = asked.transpose()?;
    let version = Found::of(&api, &name, params.qualifier.as_deref())?.callable()?;
    let engine = asked.filter(|engine| *engine != version.config.engine);
    if let Some(engine) = engine {
        api.invoker().elsewhere(&version, engine).await?;
    }
    let find = || {
        let found = Found::of(&api, &name, params.qualifier.as_deref())?;
        let invocation = Invocation {
            version: found.callable()?,
            engine,
            request_id: request_id.clone(),
            payload: payload.clone(),
            arn: found.arn(&api),
            client_context: None,
            trace: None,
            tail: params.tail,
        };
        Ok::<_, Refusal>((invocation, ()))
    };
    let (completed, ()) = api.invoke(begun, find).await?;
    let millis = begun.elapsed().as_secs_f64() * 1_000.0;
    Ok(answer(completed, millis, params.tail))
}

fn answer(completed: Completed, millis: f64, tail: bool) -> Response<Body> {
    let (body, outcome) = match completed.outcome {
        Outcome::Answer(bytes) => (bytes, InvokeOutcome::Answer),
        Outcome::Error(bytes) => (bytes, InvokeOutcome::Error),
        Outcome::Failed(failure) => (
            serde_json::to_vec(&failure).unwrap_or_default().into(),
            InvokeOutcome::Failed,
        ),
    };
    let mut response = Response::new(Body::from(body));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(
        HeaderName::from_static(OUTCOME_HEADER),
        HeaderValue::from_static(outcome.as_str()),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("{millis:.3}")) {
        headers.insert(HeaderName::from_static(DURATION_HEADER), value);
    }
    let log = completed.log_tail.filter(|_| tail);
    if let Some(value) = log.and_then(|log| HeaderValue::from_str(&STANDARD.encode(log)).ok()) {
        headers.insert(HeaderName::from_static(LOG_TAIL_HEADER), value);
    }
    response
}

#[cfg(test)]
mod tests {
    use warren_model::{Failure, FailureKind};

    use super::*;

    #[tokio::test]
    async fn the_headers_say_how_it_ended() {
        let failure = Failure {
            kind: FailureKind::TimedOut,
            error_type: "Sandbox.Timedout".to_owned(),
            message: "late".to_owned(),
        };
        let completed = Completed {
            outcome: Outcome::Failed(failure),
            log_tail: Some(b"START\n".to_vec()),
        };
        let response = answer(completed, 12.34567, true);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["warren-outcome"], "failed");
        assert_eq!(response.headers()["warren-duration-ms"], "12.346");
        assert_eq!(response.headers()["warren-log-tail"], "U1RBUlQK");
        let body = axum::body::to_bytes(response.into_body(), 1000)
            .await
            .unwrap();
        assert_eq!(
            body,
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"late"}"#
        );
    }
}
