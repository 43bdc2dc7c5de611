use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use warren_model::RequestId;

use super::error::{Code, LambdaError};

/// Header with the error's code, read by every SDK.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// Header with the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer of JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(bytes) => with_body(status, bytes),
        Err(error) => {
            tracing::error!(%error, "an answer can't be written as JSON");
            refusal(&LambdaError::new(
                Code::ServiceException,
                "Warren could not write its answer. Its log has the cause.",
            ))
        }
    }
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Bytes that are JSON already.
pub(super) fn with_body(status: StatusCode, bytes: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(bytes.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

/// Lambda's form of an error.
pub(super) fn refusal(error: &LambdaError) -> Response<Body> {
    let status = error.code.status();
    let kind = match status.is_server_error() {
        true => "Service",
        false => "User",
    };
    let mut body = json!({ "Type": kind });
    body[error.code.message_member()] = Value::from(error.message.as_str());
    if let Some(reason) = error.reason {
        body["Reason"] = Value::from(reason);
    }
    let mut response = with_body(status, body.to_string());
    let headers = response.headers_mut();
    headers.insert(ERROR_TYPE, HeaderValue::from_static(error.code.as_str()));
    if let Some(seconds) = error.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Names the request in its answer.
pub(crate) fn stamp(response: &mut Response<Body>, request_id: &RequestId) {
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
}
