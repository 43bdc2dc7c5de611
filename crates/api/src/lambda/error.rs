use std::fmt;

use http::StatusCode;
use thiserror::Error;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $status:ident $message:literal;)+) => {
        /// Lambda's error codes, with their status and the spelling of the message member in botocore's model.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)+];

            /// As in the header `x-amzn-ErrorType`.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// `message` or `Message`.
            pub fn message_member(self) -> &'static str {
                match self { $(Self::$name => $message,)+ }
            }
        }
    };
}

codes! {
    /// A download link that does not open.
    AccessDeniedException FORBIDDEN "message";
    /// A signature that lacks something.
    IncompleteSignatureException FORBIDDEN "message";
    /// A value that only the service can judge.
    InvalidParameterValueException BAD_REQUEST "message";
    /// A body that is not JSON.
    InvalidRequestContentException BAD_REQUEST "message";
    /// A signature that does not match or is not fresh.
    InvalidSignatureException FORBIDDEN "message";
    /// No signature.
    MissingAuthenticationTokenException FORBIDDEN "message";
    /// A kind of call that the function can't have.
    ModeNotSupportedException BAD_REQUEST "message";
    /// A RevisionId that is not the latest.
    PreconditionFailedException PRECONDITION_FAILED "message";
    /// A control request that is too large.
    RequestEntityTooLargeException PAYLOAD_TOO_LARGE "message";
    /// A body that did not arrive in time.
    RequestTimeoutException REQUEST_TIMEOUT "message";
    /// An event that is too large.
    RequestTooLargeException PAYLOAD_TOO_LARGE "message";
    /// It exists, or is being changed.
    ResourceConflictException CONFLICT "message";
    /// It does not exist.
    ResourceNotFoundException NOT_FOUND "Message";
    /// A function without provisioned concurrency.
    ProvisionedConcurrencyConfigNotFoundException NOT_FOUND "message";
    /// A member of the wrong type.
    SerializationException BAD_REQUEST "Message";
    /// Warren's own fault.
    ServiceException INTERNAL_SERVER_ERROR "Message";
    /// Warren is stopping.
    ServiceUnavailableException SERVICE_UNAVAILABLE "Message";
    /// Throttled.
    TooManyRequestsException TOO_MANY_REQUESTS "message";
    /// No such operation.
    UnknownOperationException NOT_FOUND "message";
    /// A key that is not ours.
    UnrecognizedClientException FORBIDDEN "message";
    /// A value outside the constraints of the model.
    ValidationException BAD_REQUEST "message";
}

/// Why an operation of the Lambda API is refused, in Lambda's terms.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct LambdaError {
    /// The code.
    pub code: Code,
    /// For people: what, and what next.
    pub message: String,
    /// Which limit throttled (`Reason`).
    pub reason: Option<&'static str>,
    /// When to try again, in seconds (`Retry-After`).
    pub retry_after_s: Option<u32>,
}

impl fmt::Display for LambdaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl LambdaError {
    /// An error without more than code and message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: None,
            retry_after_s: None,
        }
    }

    /// `InvalidParameterValueException`.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameterValueException, message)
    }

    /// `ValidationException` about a member that must be there.
    pub fn missing(field: &str) -> Self {
        Self::new(
            Code::ValidationException,
            format!(
                "1 validation error detected: Value null at '{field}' failed to satisfy constraint: Member must not be null"
            ),
        )
    }

    /// `ResourceNotFoundException` about a function.
    pub fn no_function(arn: &str) -> Self {
        Self::new(
            Code::ResourceNotFoundException,
            format!("Function not found: {arn}"),
        )
    }

    /// `TooManyRequestsException`.
    pub fn throttled(reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(Code::TooManyRequestsException, "Rate Exceeded.")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Model {
        errors: BTreeMap<String, Described>,
    }

    #[derive(serde::Deserialize)]
    struct Described {
        status: u16,
        message: String,
    }

    #[test]
    fn codes_agree_with_botocore_s_model() {
        let model: Model =
            serde_json::from_str(include_str!("../../fixtures/lambda.json")).unwrap();
        let mut known = 0;
        for code in Code::ALL {
            if let Some(described) = model.errors.get(code.as_str()) {
                known += 1;
                assert_eq!(code.status().as_u16(), described.status, "{code:?}");
                assert_eq!(code.message_member(), described.message, "{code:?}");
            }
        }
        assert!(known >= 10, "{known}");
    }
}
