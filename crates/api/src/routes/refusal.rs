use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;
use warren_invoker::InvokeError;
use warren_model::{Failure, FailureKind, Method, RequestId, limits::MAX_SYNC_PAYLOAD};
use warren_registry::NotReady;

use super::answer::Malformed;
use crate::edge::{BUSY_RETRY_AFTER_S, BodyError};

/// Why a request to a route gets no answer of a function, as status and sentence.
///
/// Whoever calls a route may be anyone: the sentence says what went wrong, and never what is in the function's log.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    allow: Option<String>,
    retry_after_s: Option<u32>,
}

/// Longest piece of a request that a message repeats, in characters.
const SHOWN: usize = 200;
/// When a caller may try again where no better number is known.
const RETRY_AFTER_S: u32 = 1;

impl From<InvokeError> for Refusal {
    /// A call that did not run.
    fn from(error: InvokeError) -> Self {
        let busy = |seconds, why: &str| {
            Self::later(
                StatusCode::TOO_MANY_REQUESTS,
                seconds,
                format!("Too Many Requests: {why}"),
            )
        };
        match error {
            InvokeError::FunctionConcurrency { .. } => busy(
                RETRY_AFTER_S,
                "the function's concurrency limit is reached.",
            ),
            InvokeError::AccountConcurrency { .. } => {
                busy(RETRY_AFTER_S, "the account's concurrency limit is reached.")
            }
            InvokeError::HostBusy { retry_after_s } => busy(
                retry_after_s,
                "this machine has no room for another call now.",
            ),
            // Whoever calls a route is not the server's owner, and is told no more.
            error @ InvokeError::EngineUnavailable { .. } => {
                tracing::warn!(%error, "a call of a route could not be run");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Service Unavailable: the function's engine can't be used at present.",
                )
            }
            InvokeError::Stopping => Self::later(
                StatusCode::SERVICE_UNAVAILABLE,
                RETRY_AFTER_S,
                "Service Unavailable: the server is stopping.",
            ),
            InvokeError::Changed => Self::later(
                StatusCode::SERVICE_UNAVAILABLE,
                RETRY_AFTER_S,
                "Service Unavailable: the function was changed while it was being called.",
            ),
            other => {
                tracing::error!(error = %other, "a call of a route could not be run");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "Service Unavailable: the function's engine can't run it now.",
                )
            }
        }
    }
}

impl Refusal {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            allow: None,
            retry_after_s: None,
        }
    }

    fn later(status: StatusCode, seconds: u32, message: impl Into<String>) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..Self::new(status, message)
        }
    }

    pub(super) fn not_found(method: &str, path: &str) -> Self {
        let shown: String = path.chars().take(SHOWN).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            format!(
                "Not Found: no route leads '{method} {shown}' to a function. 'warren routes' lists the routes."
            ),
        )
    }

    pub(super) fn method_not_allowed(method: &str, allowed: &[Method]) -> Self {
        let mut names: Vec<&str> = allowed.iter().map(|method| method.as_str()).collect();
        if allowed.contains(&Method::Get) && !allowed.contains(&Method::Head) {
            names.push("HEAD");
        }
        let allow = names.join(", ");
        Self {
            allow: Some(allow.clone()),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!(
                    "Method Not Allowed: this path is not served for {method}, but for {allow}."
                ),
            )
        }
    }

    pub(super) fn head_too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!("Request Header Fields Too Large: the headers have more than {limit} bytes."),
        )
    }

    pub(super) fn event_too_large(size: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "Content Too Large: the function's event, which holds the body and the headers, would have {size} bytes; {MAX_SYNC_PAYLOAD} are the limit."
            ),
        )
    }

    pub(super) fn body(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("Content Too Large: the body has more than {limit} bytes."),
            ),
            BodyError::Slow => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "Request Timeout: the body did not arrive in time.",
            ),
            BodyError::Busy => Self::no_memory(),
            BodyError::Broken => Self::new(
                StatusCode::BAD_REQUEST,
                "Bad Request: the body ended early.",
            ),
        }
    }

    pub(super) fn no_memory() -> Self {
        Self::later(
            StatusCode::SERVICE_UNAVAILABLE,
            BUSY_RETRY_AFTER_S,
            "Service Unavailable: there is no memory for another request body now.",
        )
    }

    pub(super) fn not_ready(error: &NotReady) -> Self {
        match error {
            NotReady::NotFound(missing) if missing.damaged => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal Server Error: the function can't be read from the database.",
            ),
            // The route's snapshot had the function, so it was deleted this moment.
            NotReady::NotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "Not Found: the function was deleted.",
            ),
            NotReady::NoCode(_) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "Internal Server Error: the function's code is not on this server.",
            ),
            NotReady::NotActive { state, .. } => Self::later(
                StatusCode::SERVICE_UNAVAILABLE,
                RETRY_AFTER_S,
                format!(
                    "Service Unavailable: the function can't be called, its state is {state:?}."
                ),
            ),
        }
    }

    pub(super) fn raised() -> Self {
        Self::new(
            StatusCode::BAD_GATEWAY,
            "Bad Gateway: the function raised an error. Its log has the error under this request's id.",
        )
    }

    pub(super) fn failed(failure: &Failure, timeout_s: u32) -> Self {
        let bad_gateway = |why: &str| {
            Self::new(
                StatusCode::BAD_GATEWAY,
                format!("Bad Gateway: {why} Its log has more under this request's id."),
            )
        };
        match failure.kind {
            FailureKind::TimedOut => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                format!(
                    "Gateway Timeout: the function did not answer within its timeout of {timeout_s} s."
                ),
            ),
            FailureKind::Exited => bad_gateway("the function's process ended before it answered."),
            FailureKind::Raised => Self::raised(),
            FailureKind::Broken if failure.error_type == "Function.ResponseSizeTooLarge" => {
                bad_gateway("the function's answer is too large.")
            }
            FailureKind::Broken => bad_gateway("the function's runtime broke off."),
            FailureKind::Platform => bad_gateway("the function could not be run."),
        }
    }

    pub(super) fn malformed(error: &Malformed) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, format!("Bad Gateway: {error}"))
    }

    pub(super) fn respond(self, request_id: &RequestId) -> Response<Full<Bytes>> {
        let body = json!({ "message": self.message, "requestId": request_id.as_str() });
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(allow) = self.allow.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
