//! Other crates' errors as refusals.

use warren_invoker::{Elsewhere, InvokeError, RunError};
use warren_model::{Invalid, State, chain};
use warren_package::PackageError;
use warren_registry::{ACCOUNT_CONCURRENCY, NoCode, NotFound, NotReady, RegistryError};

use super::refusal::{Kind, Refusal};
use crate::{
    auth::AuthError,
    edge::{BUSY_RETRY_AFTER_S, BodyError},
    state::OUTAGE_RETRY_AFTER_S,
};

/// Lambda's pattern of an environment variable's name.
const VARIABLE_NAME: &str = "[a-zA-Z]([a-zA-Z0-9_])+";
/// Lambda's pattern of a handler, and its length.
const HANDLER: &str = "[^\\s]+ and have length less than or equal to 128";

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

/// A value and its constraint, which is in Lambda's words, as a sentence.
fn refused_value(field: &str, value: &str, constraint: &str) -> String {
    let inner = |prefix: &str| {
        let rest = constraint.strip_prefix(prefix)?;
        rest.strip_prefix(" must satisfy constraint: [")?
            .strip_suffix(']')
    };
    let (whose, member) = match (inner("Map keys"), inner("Map values")) {
        (Some(member), _) => ("have the name", member),
        (_, Some(member)) => ("have the value", member),
        (None, None) => ("be", constraint),
    };
    let rule = member.strip_prefix("Member ").unwrap_or(member);
    let after = |prefix| rule.strip_prefix(prefix);
    let rule = if let Some(limit) = after("must have value less than or equal to ") {
        format!("must be {limit} or less")
    } else if let Some(limit) = after("must have value greater than or equal to ") {
        format!("must be {limit} or more")
    } else if let Some(limit) = after("must have length less than or equal to ") {
        format!("must have {limit} characters at most")
    } else if let Some((least, most)) =
        after("must have length between ").and_then(|range| range.split_once(" and "))
    {
        format!("must have {least} to {most} characters")
    } else if let Some(pattern) = after("must satisfy regular expression pattern: ") {
        match pattern {
            VARIABLE_NAME => {
                "must have at least two characters: a letter first, then letters, digits or '_'"
                    .to_owned()
            }
            HANDLER => "must have 1 to 128 characters and no space".to_owned(),
            other => format!("must match the pattern {other}"),
        }
    } else {
        rule.to_owned()
    };
    format!("{field} can't {whose} '{value}': it {rule}.")
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
            } => refused_value(field, value, constraint),
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
        if let Some(damage) = missing.damage() {
            return Self::new(Kind::Internal, damage);
        }
        // The last part of an ARN is what people call a function.
        let named = missing
            .arn
            .split_once(":function:")
            .map_or(missing.arn.as_str(), |(_, name)| name);
        Self::new(Kind::NotFound, format!("There is no function '{named}'."))
            .next("'warren list' shows those there are.")
    }
}

impl From<NoCode> for Refusal {
    fn from(missing: NoCode) -> Self {
        Self::new(Kind::Internal, missing.fact()).next(NoCode::NEXT)
    }
}

impl From<NotReady> for Refusal {
    fn from(error: NotReady) -> Self {
        match error {
            NotReady::NotFound(missing) => missing.into(),
            NotReady::NoCode(missing) => missing.into(),
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
            RegistryError::NoCode(missing) => missing.into(),
            RegistryError::Store(_) | RegistryError::Blobs(_) | RegistryError::Ledger(_) => {
                let logged = Self::internal(&error);
                match error.outage() {
                    Some(detail) => Self {
                        retry_after_s: Some(OUTAGE_RETRY_AFTER_S),
                        ..Self::new(Kind::Unavailable, detail)
                            .next(format!("Try again in {OUTAGE_RETRY_AFTER_S} s."))
                    },
                    None => match error.refusal() {
                        Some(detail) => Self::new(Kind::Internal, detail),
                        None => logged,
                    },
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
            InvokeError::EngineUnavailable { engine, reason } => Self::new(
                Kind::Unavailable,
                format!("The function's engine '{engine}' can't be used at present. {reason}"),
            )
            .next("Call again when 'warren engines' says that it works; nothing has to be deployed again."),
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

impl From<Elsewhere> for Refusal {
    fn from(error: Elsewhere) -> Self {
        match error {
            Elsewhere::Refused(refusal) => RegistryError::Refused(refusal).into(),
            Elsewhere::Failed(error) => error.into(),
        }
    }
}

impl From<RunError> for Refusal {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Refused(error) => error.into(),
            RunError::NoRoom(error) => error.into(),
            // Nobody reads it.
            RunError::Abandoned => BodyError::Broken.into(),
            error => {
                tracing::error!(error = %error, "a run could not begin");
                Self::new(Kind::Internal, "The engine can't start a sandbox now.")
                    .next("'warren doctor' checks the engine; Warren's log has the cause.")
            }
        }
    }
}

impl Refusal {
    /// A fault of Warren's own: logged in full, told without internals.
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = chain(error), "a request failed");
        Self::new(Kind::Internal, "Warren could not do this.").next("Warren's log has the cause.")
    }
}

#[cfg(test)]
mod tests {
    use warren_model::{Environment, Memory};

    use super::*;

    #[test]
    fn a_preparation_that_fails_is_warren_s_fault_and_shows_no_path() {
        let failed = InvokeError::Unavailable("no space left: /data/of/mine".to_owned());
        let told = Refusal::from(Elsewhere::Failed(failed));
        assert_eq!((told.kind, &told.field), (Kind::Internal, &None));
        let shown = format!("{told:?}");
        assert!(
            !shown.contains("/data") && told.next_step.is_some(),
            "{shown}"
        );
    }

    #[test]
    fn refused_values_are_told_in_sentences() {
        let environment =
            |name: &str| Environment::new([(name.to_owned(), String::new())].into()).map(drop);
        for (refused, detail) in [
            (
                Memory::new(20_000).map(drop),
                "memory_mb can't be '20000': it must be 10240 or less.",
            ),
            (
                Memory::new(1).map(drop),
                "memory_mb can't be '1': it must be 128 or more.",
            ),
            (
                environment("A"),
                "environment can't have the name 'A': it must have at least two characters: a letter first, then letters, digits or '_'.",
            ),
        ] {
            assert_eq!(Refusal::from(refused.unwrap_err()).detail, detail);
        }
        let text = refused_value(
            "tags",
            "",
            "Map keys must satisfy constraint: [Member must have length between 1 and 128]",
        );
        assert_eq!(
            text,
            "tags can't have the name '': it must have 1 to 128 characters."
        );
        assert_eq!(
            refused_value(
                "handler",
                "a b",
                "Member must satisfy regular expression pattern: [^\\s]+ and have length less than or equal to 128"
            ),
            "handler can't be 'a b': it must have 1 to 128 characters and no space."
        );
    }
}
