//! Where the errors of the crates below become Lambda's: nowhere else.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use warren_invoker::InvokeError;
use warren_model::{Invalid, chain};
use warren_package::PackageError;
use warren_registry::{NoCode, NotFound, NotReady, RegistryError};

use super::error::{Code, LambdaError};
use crate::{
    auth::AuthError,
    edge::{BUSY_RETRY_AFTER_S, BodyError},
    state::OUTAGE_RETRY_AFTER_S,
};

impl From<Invalid> for LambdaError {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::Constraint { .. } => Self::new(
                Code::ValidationException,
                format!("1 validation error detected: {invalid}"),
            ),
            Invalid::Parameter { message, .. } => Self::parameter(message),
        }
    }
}

impl From<AuthError> for LambdaError {
    fn from(error: AuthError) -> Self {
        let code = match error {
            AuthError::Missing => Code::MissingAuthenticationTokenException,
            AuthError::Incomplete(_) => Code::IncompleteSignatureException,
            AuthError::UnknownKey(_) => Code::UnrecognizedClientException,
            AuthError::Mismatch | AuthError::NotAcceptable(_) => Code::InvalidSignatureException,
            AuthError::Link(_) => Code::AccessDeniedException,
        };
        Self::new(code, error.to_string())
    }
}

impl From<RegistryError> for LambdaError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid(invalid) => invalid.into(),
            RegistryError::NotFound(missing) => missing.into(),
            RegistryError::AlreadyExists { .. }
            | RegistryError::UpdateInProgress { .. }
            | RegistryError::NotActive { .. }
            | RegistryError::RouteTaken { .. } => {
                Self::new(Code::ResourceConflictException, error.to_string())
            }
            RegistryError::StaleRevision => {
                Self::new(Code::PreconditionFailedException, error.to_string())
            }
            // Lambda shows digests in base64.
            RegistryError::OtherCode { asked, found } => Self::parameter(format!(
                "CodeSHA256 ({}) is different from current CodeSHA256 in $LATEST ({}). Please try again with the CodeSHA256 in $LATEST.",
                STANDARD.encode(asked.as_bytes()),
                STANDARD.encode(found.as_bytes())
            )),
            RegistryError::Package(PackageError::ZipTooLarge { .. }) => {
                Self::new(Code::RequestEntityTooLargeException, error.to_string())
            }
            RegistryError::Runtime(_) | RegistryError::Refused(_) | RegistryError::Package(_) => {
                Self::parameter(error.to_string())
            }
            RegistryError::TooMuchReserved { min_unreserved } => Self::parameter(format!(
                "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [{min_unreserved}]."
            )),
            RegistryError::NoCode(missing) => missing.into(),
            RegistryError::Store(_) | RegistryError::Blobs(_) | RegistryError::Ledger(_) => {
                let logged = internal(&error);
                match error.outage() {
                    Some(message) => Self {
                        retry_after_s: Some(OUTAGE_RETRY_AFTER_S),
                        ..Self::new(Code::ServiceUnavailableException, message)
                    },
                    None => match error.refusal() {
                        Some(message) => Self::new(Code::ServiceException, message),
                        None => logged,
                    },
                }
            }
        }
    }
}

impl From<NotFound> for LambdaError {
    fn from(missing: NotFound) -> Self {
        match missing.damage() {
            Some(damage) => Self::new(Code::ServiceException, damage),
            None => Self::new(Code::ResourceNotFoundException, missing.to_string()),
        }
    }
}

impl From<NoCode> for LambdaError {
    fn from(missing: NoCode) -> Self {
        Self::new(Code::ServiceException, missing.to_string())
    }
}

impl From<NotReady> for LambdaError {
    fn from(error: NotReady) -> Self {
        match error {
            NotReady::NotFound(missing) => missing.into(),
            NotReady::NoCode(missing) => missing.into(),
            NotReady::NotActive { ref reason, .. } => {
                let why = reason
                    .as_ref()
                    .map(|reason| format!(" ({})", reason.message))
                    .unwrap_or_default();
                Self::new(Code::ResourceConflictException, format!("{error}{why}"))
            }
        }
    }
}

impl From<InvokeError> for LambdaError {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::FunctionConcurrency { .. } => {
                Self::throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
            }
            InvokeError::AccountConcurrency { .. } => {
                Self::throttled("ConcurrentInvocationLimitExceeded")
            }
            InvokeError::HostBusy { retry_after_s } => Self {
                message: format!(
                    "Rate Exceeded. This machine has no room for another call now; try again in {retry_after_s} s."
                ),
                retry_after_s: Some(retry_after_s),
                ..Self::throttled("ConcurrentInvocationLimitExceeded")
            },
            InvokeError::Changed => Self::new(
                Code::ResourceConflictException,
                "The function was changed or deleted while it was being invoked. Try again.",
            ),
            InvokeError::EngineUnavailable { engine, reason } => Self::new(
                Code::ServiceException,
                format!("The function's engine '{engine}' can't be used at present. {reason}"),
            ),
            InvokeError::Stopping => Self::new(
                Code::ServiceUnavailableException,
                "Warren is stopping. Try again when it runs.",
            ),
            other => {
                tracing::error!(error = %other, "a call could not be run");
                Self::new(
                    Code::ServiceException,
                    "The function's engine can't run it now. 'warren doctor' checks the engine; Warren's log has the cause.",
                )
            }
        }
    }
}

/// A body that was not read; which limit and words depends on the operation.
pub(super) fn unread_body(error: &BodyError, operation: &str) -> LambdaError {
    match error {
        BodyError::TooLarge(limit) => {
            let (code, operation) = match operation {
                "Invoke" => (Code::RequestTooLargeException, "InvokeFunction"),
                other => (Code::RequestEntityTooLargeException, other),
            };
            LambdaError::new(
                code,
                format!("Request must be smaller than {limit} bytes for the {operation} operation"),
            )
        }
        BodyError::Slow => LambdaError::new(
            Code::RequestTimeoutException,
            "The request body did not arrive in time. Send it again.",
        ),
        BodyError::Busy => LambdaError {
            retry_after_s: Some(BUSY_RETRY_AFTER_S),
            ..LambdaError::new(
                Code::ServiceUnavailableException,
                "Warren has no memory for another request body now. Try again.",
            )
        },
        BodyError::Broken => LambdaError::new(
            Code::InvalidRequestContentException,
            "The request body ended early. Send it again.",
        ),
    }
}

/// A fault of Warren's own: logged in full, told without internals.
fn internal(error: &(dyn std::error::Error + 'static)) -> LambdaError {
    tracing::error!(error = chain(error), "a request failed");
    LambdaError::new(
        Code::ServiceException,
        "Warren could not do this. Its log has the cause, under this request's id.",
    )
}

#[cfg(test)]
mod tests {
    use warren_model::{Digest, State, StateReason, Timeout};
    use warren_store::StoreError;

    use super::*;

    /// Every error that a caller can bring about, with its code and a piece of its words.
    #[test]
    fn every_error_has_lambda_s_code() {
        let missing = || NotFound {
            arn: "arn:f".to_owned(),
            damaged: false,
        };
        let damaged = NotFound {
            damaged: true,
            ..missing()
        };
        let read_only = StoreError::Refused {
            problem: "the database takes no changes".to_owned(),
            value: false,
            source: "inner words".into(),
        };
        let full = StoreError::NoRoom("inner words".into());
        let pending = NotReady::NotActive {
            state: State::Failed,
            reason: Some(StateReason {
                code: "InvalidRuntime".to_owned(),
                message: "why".to_owned(),
            }),
        };
        let invalid = |value| Timeout::new(value).map(|_| ()).map_err(RegistryError::from);
        let route = || "GET /a".parse().unwrap();
        let no_code = || NoCode {
            digest: Digest::of(b"zip"),
            folder: "/data".into(),
        };
        let cases: [(LambdaError, Code, &str); 25] = [
            (
                NotReady::NoCode(no_code()).into(),
                Code::ServiceException,
                "is not in Warren's data folder /data. Start Warren with the data folder that has it (--data-dir)",
            ),
            (
                RegistryError::NoCode(no_code()).into(),
                Code::ServiceException,
                "(sha256 ",
            ),
            (
                NotReady::NotFound(damaged).into(),
                Code::ServiceException,
                "can't be read",
            ),
            (
                RegistryError::Store(read_only).into(),
                Code::ServiceException,
                "takes no changes",
            ),
            (
                RegistryError::Store(full).into(),
                Code::ServiceUnavailableException,
                "Make room there",
            ),
            (
                invalid(0).unwrap_err().into(),
                Code::ValidationException,
                "1 validation error detected: Value '0' at 'timeout' failed",
            ),
            (
                Invalid::parameter("x", "No.").into(),
                Code::InvalidParameterValueException,
                "No.",
            ),
            (
                RegistryError::NotFound(missing()).into(),
                Code::ResourceNotFoundException,
                "Function not found: arn:f",
            ),
            (
                RegistryError::AlreadyExists {
                    name: "f".parse().unwrap(),
                }
                .into(),
                Code::ResourceConflictException,
                "Function already exist: f",
            ),
            (
                RegistryError::UpdateInProgress {
                    arn: "arn:f".to_owned(),
                }
                .into(),
                Code::ResourceConflictException,
                "An update is in progress for resource: arn:f",
            ),
            (
                RegistryError::NotActive {
                    state: State::Pending,
                }
                .into(),
                Code::ResourceConflictException,
                "currently in the following state: Pending",
            ),
            (
                RegistryError::RouteTaken {
                    route: route(),
                    taken: route(),
                    function: "g".parse().unwrap(),
                }
                .into(),
                Code::ResourceConflictException,
                "GET /a",
            ),
            (
                RegistryError::StaleRevision.into(),
                Code::PreconditionFailedException,
                "Revision Id",
            ),
            (
                RegistryError::OtherCode {
                    asked: Digest::of(b"a"),
                    found: Digest::of(b"zip"),
                }
                .into(),
                Code::InvalidParameterValueException,
                "$LATEST (SnD+mqZDbgLC3qNA+9HjUuTvLYzmylKtJdS5VHH8i/I=)",
            ),
            (
                RegistryError::TooMuchReserved {
                    min_unreserved: 100,
                }
                .into(),
                Code::InvalidParameterValueException,
                "below its minimum value of [100].",
            ),
            (
                unread_body(&BodyError::Busy, "Invoke"),
                Code::ServiceUnavailableException,
                "Try again",
            ),
            (
                pending.into(),
                Code::ResourceConflictException,
                "state: Failed (why)",
            ),
            (
                NotReady::NotFound(missing()).into(),
                Code::ResourceNotFoundException,
                "arn:f",
            ),
            (
                InvokeError::FunctionConcurrency { limit: 0 }.into(),
                Code::TooManyRequestsException,
                "Rate Exceeded.",
            ),
            (
                InvokeError::HostBusy { retry_after_s: 7 }.into(),
                Code::TooManyRequestsException,
                "7 s",
            ),
            (
                InvokeError::Changed.into(),
                Code::ResourceConflictException,
                "Try again",
            ),
            (
                InvokeError::Stopping.into(),
                Code::ServiceUnavailableException,
                "stopping",
            ),
            (
                unread_body(&BodyError::TooLarge(6), "Invoke"),
                Code::RequestTooLargeException,
                "smaller than 6 bytes for the InvokeFunction operation",
            ),
            (
                unread_body(&BodyError::TooLarge(7), "CreateFunction"),
                Code::RequestEntityTooLargeException,
                "smaller than 7 bytes for the CreateFunction operation",
            ),
            (
                unread_body(&BodyError::Slow, "Invoke"),
                Code::RequestTimeoutException,
                "in time",
            ),
        ];
        for (error, code, words) in cases {
            assert_eq!(error.code, code, "{error}");
            assert!(error.message.contains(words), "{error} / {words}");
        }
    }

    #[test]
    fn throttling_says_which_limit_and_when_to_come_back() {
        let busy = LambdaError::from(InvokeError::HostBusy { retry_after_s: 7 });
        assert_eq!(busy.retry_after_s, Some(7));
        let reserved = LambdaError::from(InvokeError::FunctionConcurrency { limit: 1 });
        assert_eq!(
            reserved.reason,
            Some("ReservedFunctionConcurrentInvocationLimitExceeded")
        );
        let account = LambdaError::from(InvokeError::AccountConcurrency { limit: 1000 });
        assert_eq!(account.reason, Some("ConcurrentInvocationLimitExceeded"));
    }

    #[test]
    fn an_outage_of_the_store_passes() {
        let outage = StoreError::Unavailable("secret".into());
        let error = LambdaError::from(RegistryError::Store(outage));
        assert_eq!(error.code, Code::ServiceUnavailableException);
        assert_eq!(error.retry_after_s, Some(OUTAGE_RETRY_AFTER_S));
        assert!(!error.message.contains("secret"));
    }

    #[test]
    fn faults_of_warren_s_own_stay_inside() {
        let error = LambdaError::from(InvokeError::Unavailable("/secret/path".to_owned()));
        assert_eq!(error.code, Code::ServiceException);
        assert!(!error.message.contains("secret"));
    }
}
