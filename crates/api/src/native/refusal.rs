use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use utoipa::IntoResponses;
use warren_model::{
    RequestId,
    native::{PROBLEM_TYPE, Problem},
};

/// What kind of refusal it is: type, title and status of the problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unauthenticated,
    NotFound,
    MethodNotAllowed,
    Invalid,
    Conflict,
    TooLarge,
    SlowBody,
    Throttled,
    Internal,
    Unavailable,
}

impl Kind {
    fn parts(self) -> (&'static str, &'static str, StatusCode) {
        match self {
            Self::Unauthenticated => (
                "unauthenticated",
                "The request has no valid key",
                StatusCode::UNAUTHORIZED,
            ),
            Self::NotFound => ("not-found", "There is no such thing", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => (
                "method-not-allowed",
                "The path is not served with this method",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            Self::Invalid => (
                "invalid",
                "The request is not in order",
                StatusCode::BAD_REQUEST,
            ),
            Self::Conflict => (
                "conflict",
                "The request does not fit what there is",
                StatusCode::CONFLICT,
            ),
            Self::TooLarge => (
                "too-large",
                "The request is too large",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            Self::SlowBody => (
                "slow-body",
                "The request body did not arrive in time",
                StatusCode::REQUEST_TIMEOUT,
            ),
            Self::Throttled => (
                "throttled",
                "There is no room for another call now",
                StatusCode::TOO_MANY_REQUESTS,
            ),
            Self::Internal => (
                "internal",
                "Warren failed",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            Self::Unavailable => (
                "unavailable",
                "Warren can't do this now",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        }
    }
}

/// Why a request is not served: a problem that does not know its request's id yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) kind: Kind,
    pub(super) detail: String,
    pub(super) field: Option<String>,
    pub(super) next_step: Option<String>,
    pub(super) retry_after_s: Option<u32>,
}

/// Why the request was refused.
#[derive(IntoResponses)]
#[response(status = "default", content_type = "application/problem+json")]
#[expect(dead_code, reason = "describes the answer of every refusal")]
pub(super) struct Refused(Problem);

impl Refusal {
    pub(super) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            detail: detail.into(),
            field: None,
            next_step: None,
            retry_after_s: None,
        }
    }

    /// A member of the request is at fault.
    pub(super) fn field(field: &str, detail: impl Into<String>) -> Self {
        Self {
            field: Some(field.to_owned()),
            ..Self::new(Kind::Invalid, detail)
        }
    }

    /// Says what to do about it.
    pub(super) fn next(self, step: impl Into<String>) -> Self {
        Self {
            next_step: Some(step.into()),
            ..self
        }
    }

    /// The answer to the request with this id.
    pub(super) fn respond(&self, request_id: &RequestId) -> Response {
        let (kind, title, status) = self.kind.parts();
        let problem = Problem {
            kind: format!("urn:warren:{kind}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            field: self.field.clone(),
            next_step: self.next_step.clone(),
            request_id: request_id.to_string(),
        };
        // Texts and a number can always be written.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_TYPE));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::Unauthenticated {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"warren\""),
            );
        }
        response
    }
}

impl IntoResponse for Refusal {
    /// Carries the refusal to `guard::identified`, which knows the request's id and writes the answer.
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.kind.parts().2;
        response.extensions_mut().insert(self);
        response
    }
}
