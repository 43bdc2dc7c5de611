use thiserror::Error;

/// A value that Warren refuses, with the field it came in and what would be right.
///
/// Two kinds, because Lambda answers them with two error codes: a value outside the constraint that Lambda's model states
/// (`ValidationException`) and one that only the service can judge (`InvalidParameterValueException`).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    /// Outside a length, range, pattern or enumeration.
    #[error("Value '{value}' at '{field}' failed to satisfy constraint: {constraint}")]
    Constraint {
        /// Lambda's member name, in lower camel case.
        field: &'static str,
        /// The value found, cut if long.
        value: String,
        /// A full sentence, in Lambda's words where it has them.
        constraint: String,
    },
    /// Well formed, but not acceptable.
    #[error("{message}")]
    Parameter {
        /// Lambda's member name, in lower camel case.
        field: &'static str,
        /// A full sentence that names the field and the next step.
        message: String,
    },
}

/// Longest piece of an offending value that an error message repeats, in characters.
const SHOWN_VALUE: usize = 128;

impl Invalid {
    /// A constraint fault; the value is cut to a length that is safe to print.
    pub fn constraint(
        field: &'static str,
        value: impl ToString,
        constraint: impl Into<String>,
    ) -> Self {
        let mut value = value.to_string();
        if value.chars().count() > SHOWN_VALUE {
            value = value.chars().take(SHOWN_VALUE).collect::<String>() + "...";
        }
        Self::Constraint {
            field,
            value,
            constraint: constraint.into(),
        }
    }

    /// A fault that only the service can judge.
    pub fn parameter(field: &'static str, message: impl Into<String>) -> Self {
        Self::Parameter {
            field,
            message: message.into(),
        }
    }

    /// Refuses text with a NUL character, which neither an environment nor PostgreSQL can hold; `what` names it at the begin of the message.
    pub(crate) fn check_no_nul(field: &'static str, what: &str, text: &str) -> Result<(), Self> {
        match text.contains('\0') {
            true => Err(Self::parameter(
                field,
                format!("{what} contains a NUL character. Remove it."),
            )),
            false => Ok(()),
        }
    }

    /// The member that is at fault.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Constraint { field, .. } | Self::Parameter { field, .. } => field,
        }
    }
}
