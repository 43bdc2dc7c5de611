use std::{io, process::ExitCode};

use warren_client::ClientError;
use warren_model::{causes, chain};

use super::{flags, program};

/// Why a command ended without success.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    message: String,
    hint: Option<String>,
    status: u8,
}

impl Failure {
    /// It was tried and failed.
    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            status: 1,
        }
    }

    /// It was asked for in a way that can't be meant.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self {
            status: 2,
            ..Self::failed(message)
        }
    }

    /// Says what to do about it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Ends the command with this status.
    pub(super) fn status(self, status: u8) -> Self {
        Self { status, ..self }
    }

    /// Prints it, the hint apart from the error.
    pub(super) fn report(&self) -> ExitCode {
        eprintln!("warren: {}", program::commands(&self.message));
        if let Some(hint) = &self.hint {
            eprintln!("\nhint: {}", program::commands(hint));
        }
        ExitCode::from(self.status)
    }

    /// What went wrong.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it.
    pub(super) fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        format!("{} | {}", self.message, self.hint.as_deref().unwrap_or(""))
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let failure = Self::failed(chain(&error));
        match &error {
            ClientError::Unreachable { source, .. } => {
                // Of what the HTTP client says the last word is the system's, and enough.
                let last = causes(source).last();
                let last = last.map(ToString::to_string).unwrap_or_default();
                Self::failed(format!("{error}: {last}")).hint(
                    "Start a server with `warren serve`, or say where it is with --server or WARREN_SERVER.",
                )
            }
            ClientError::Unexpected { .. } | ClientError::Address { .. } => failure
                .hint("Check the address: --server, WARREN_SERVER or AWS_ENDPOINT_URL says it."),
            ClientError::Refused(problem) => {
                let message = match problem.status {
                    500.. => format!("{} (request {})", problem.detail, problem.request_id),
                    _ => in_flags(&problem.detail, problem.field.as_deref()),
                };
                let failure = Self::failed(message);
                match &problem.next_step {
                    _ if problem.status == 401 => failure.hint(
                        "Name the server's data folder with --data-dir, or give its key pair with --key or WARREN_KEY.",
                    ),
                    Some(next) => failure.hint(next.clone()),
                    None => failure,
                }
            }
            _ => failure,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::failed(format!("{error:#}"))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// What a server says about a member of a request, said about the flag that it came from.
fn in_flags(detail: &str, field: Option<&str>) -> String {
    let named = field.and_then(|field| {
        let rest = detail.strip_prefix(field)?;
        Some(format!("--{}{rest}", flags::flag_of(field)?))
    });
    named.unwrap_or_else(|| detail.to_owned())
}

#[cfg(test)]
mod tests {
    use warren_model::native::Problem;

    use super::*;

    #[test]
    fn a_member_is_named_by_its_flag() {
        assert_eq!(
            in_flags("memory_mb can't be '1'.", Some("memory_mb")),
            "--memory can't be '1'."
        );
        assert_eq!(in_flags("name is taken.", Some("name")), "name is taken.");
        assert_eq!(in_flags("It broke.", None), "It broke.");
    }

    #[test]
    fn a_problem_keeps_its_next_step_apart() {
        let problem = |status| {
            Failure::from(ClientError::Refused(Box::new(Problem {
                kind: String::new(),
                title: String::new(),
                status,
                detail: "It broke.".to_owned(),
                field: None,
                next_step: Some("Mend it.".to_owned()),
                request_id: "r1".to_owned(),
            })))
        };
        assert_eq!(problem(404).text(), "It broke. | Mend it.");
        assert_eq!(problem(500).text(), "It broke. (request r1) | Mend it.");
    }
}
