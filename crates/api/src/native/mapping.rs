//! Other crates' errors as refusals.

use warren_invoker::InvokeError;
use warren_model::{Invalid, State};
use warren_package::PackageError;
use warren_registry::{ACCOUNT_CONCURRENCY, NotFound, NotReady, RegistryError};

use super::refusal::{Kind, Refusal};
use crate::{
    auth::AuthError,
    edge::{BUSY_RETRY_AFTER_S, BodyError},
    state::OUTAGE_RETRY_AFTER_S,
};

/// The member of this interface that a member of Lambda's stands for.
fn native_field(field: &str) -> &str {
    match field {
        "functionName" => "name",
        "timeout" => "timeout_s",
        "memorySize" => "memory_mb",
        "ephemeralStorage.size" => "ephemeral_storage_mb",
        "environment.variables" => "environment",
        "route" => "routes",
        "zipFile" => "code",
        same => same,
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        let field = native_field(invalid.field());
        let detail = match &invalid {
            Invalid::Constraint { value, .. } if field == "name" => format!(
                "'{value}' can't be a function's name: letters, digits, '-' and '_' make one."
            ),
            Invalid::Constraint {
                value, constraint, ..
            } => format!(
                "{field} can't be '{value}': it {}.",
                constraint.strip_prefix("Member ").unwrap_or(constraint)
            ),
            Invalid::Parameter { message, .. } => message.clone(),
        };
        Self::field(field, detail)
    }
}

impl From<AuthError> for Refusal {
    fn from(error: AuthError) -> Self {
        let detail = match error {
            AuthError::Missing => "The request has no Authorization header.".to_owned(),
            other => other.to_string(),
        };
        Self::new(Kind::Unauthenticated, detail).next(
            "Send 'Authorization: Bearer ID:SECRET' with the key pair of the file 'credentials' in Warren's data folder.",
        )
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::new(
                Kind::TooLarge,
                format!("The request body has more than {limit} bytes, which is the limit."),
            ),
            BodyError::Slow => {
                Self::new(Kind::SlowBody, "The request body did not arrive in time.")
                    .next("Send it again.")
            }
            BodyError::Busy => Self {
                retry_after_s: Some(BUSY_RETRY_AFTER_S),
                ..Self::new(
                    Kind::Unavailable,
                    "There is no memory for another request body now.",
                )
                .next(format!("Try again in {BUSY_RETRY_AFTER_S} s."))
            },
            BodyError::Broken => {
                Self::new(Kind::Invalid, "The request body ended early.").next("Send it again.")
            }
        }
    }
}

impl From<NotFound> for Refusal {
    fn from(missing: NotFound) -> Self {
        // The last part of an ARN is what people call a function.
        let named = missing
            .arn
            .split_once(":function:")
            .map_or(missing.arn.as_str(), |(_, name)| name);
        Self::new(Kind::NotFound, format!("There is no function '{named}'."))
            .next("'warren list' shows those there are.")
    }
}

impl From<NotReady> for Refusal {
    fn from(error: NotReady) -> Self {
        match error {
            NotReady::NotFound(missing) => missing.into(),
            NotReady::NotActive {
                state: State::Pending,
                ..
            } => Self::new(Kind::Conflict, "The function is still being prepared.")
                .next("Wait until its state is 'active'."),
            NotReady::NotActive { reason, .. } => {
                let why = reason.map_or(String::new(), |reason| format!(": {}", reason.message));
                Self::new(
                    Kind::Conflict,
                    format!("The function could not be prepared{why}"),
                )
                .next("Correct it and deploy again.")
            }
        }
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid(invalid) => invalid.into(),
            RegistryError::NotFound(missing) => missing.into(),
            RegistryError::AlreadyExists { name } => Self {
                field: Some("name".to_owned()),
                ..Self::new(
                    Kind::Conflict,
                    format!("The function '{name}' exists already."),
                )
                .next("Choose another name, or change it with PUT.")
            },
            RegistryError::UpdateInProgress { .. } => {
                Self::new(Kind::Conflict, "An update of the function is in progress.")
                    .next("Wait until its last_update is no longer 'in_progress'.")
            }
            RegistryError::NotActive { .. } => {
                Self::new(Kind::Conflict, "The function is still being prepared.")
                    .next("Wait until its state is 'active'.")
            }
            RegistryError::RouteTaken { .. } => Self {
                field: Some("routes".to_owned()),
                ..Self::new(Kind::Conflict, error.to_string())
            },
            RegistryError::StaleRevision | RegistryError::OtherCode { .. } => {
                Self::new(Kind::Conflict, error.to_string())
            }
            RegistryError::Runtime(unknown) => Self::field("runtime", unknown.to_string())
                .next("'warren runtimes' shows those there are."),
            RegistryError::Refused(refusal) => {
                Self::field(native_field(&refusal.field), refusal.reason)
            }
            RegistryError::Package(fault @ PackageError::ZipTooLarge { .. }) => Self {
                kind: Kind::TooLarge,
                ..Self::field("code", fault.to_string())
            },
            RegistryError::Package(fault) => Self::field("code", fault.to_string()),
            RegistryError::TooMuchReserved { min_unreserved } => Self::field(
                "reserved_concurrency",
                format!(
                    "All reservations together must leave {min_unreserved} of {ACCOUNT_CONCURRENCY} concurrent calls unreserved."
                ),
            )
            .next("Reserve less, or lower another function's reserved_concurrency."),
            RegistryError::Store(_) | RegistryError::Blobs(_) => {
                let logged = Self::internal(&error);
                match error.outage() {
                    Some(detail) => Self {
                        retry_after_s: Some(OUTAGE_RETRY_AFTER_S),
                        ..Self::new(Kind::Unavailable, detail)
                            .next(format!("Try again in {OUTAGE_RETRY_AFTER_S} s."))
                    },
                    None => logged,
                }
            }
        }
    }
}

impl From<InvokeError> for Refusal {
    fn from(error: InvokeError) -> Self {
        match error {
            InvokeError::FunctionConcurrency { limit } => Self::new(
                Kind::Throttled,
                format!("The function's reserved concurrency of {limit} is used up."),
            )
            .next("Try again later, or raise its reserved_concurrency."),
            InvokeError::AccountConcurrency { limit } => Self::new(
                Kind::Throttled,
                format!(
                    "The concurrency of {limit} of all functions without a reservation is used up."
                ),
            )
            .next("Try again later."),
            InvokeError::HostBusy { retry_after_s } => Self {
                retry_after_s: Some(retry_after_s),
                ..Self::new(
                    Kind::Throttled,
                    "This machine has no room for another call now.",
                )
                .next(format!("Try again in {retry_after_s} s."))
            },
            InvokeError::Changed => Self::new(
                Kind::Conflict,
                "The function was changed or deleted while it was being invoked.",
            )
            .next("Try again."),
            InvokeError::Stopping => {
                Self::new(Kind::Unavailable, "Warren is stopping.").next("Try again when it runs.")
            }
            other => {
                tracing::error!(error = %other, "a call could not be run");
                Self::new(Kind::Internal, "The function's engine can't run it now.")
                    .next("'warren doctor' checks the engine; Warren's log has the cause.")
            }
        }
    }
}

impl Refusal {
    /// A fault of Warren's own: logged in full, told without internals.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        let mut causes = vec![error.to_string()];
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        tracing::error!(error = causes.join(": "), "a request failed");
        Self::new(Kind::Internal, "Warren could not do this.").next("Warren's log has the cause.")
    }
}
