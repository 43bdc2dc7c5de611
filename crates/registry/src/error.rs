use std::io;

use thiserror::Error;
use warren_model::{Digest, FunctionName, Invalid, Route, State, causes};
use warren_package::{BlobError, PackageError};
use warren_runtimes::ResolveError;
use warren_store::StoreError;

use crate::{NoCode, NotFound, Refusal};

/// Why the registry did not do what it was asked.
///
/// The words are Lambda's where it has some; its exception's name stands with each variant. The last three are the server's own faults, of which a client
/// learns no more than that.
#[derive(Debug, Error)]
pub enum RegistryError {
    /// `ResourceConflictException`.
    #[error("Function already exist: {name}")]
    AlreadyExists {
        /// The name.
        name: FunctionName,
    },
    /// `ResourceNotFoundException`.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// An update is being prepared: `ResourceConflictException`.
    #[error(
        "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
    )]
    UpdateInProgress {
        /// The function.
        arn: String,
    },
    /// The function is still being created, or what should be published could not be prepared: `ResourceConflictException`.
    #[error(
        "The operation cannot be performed at this time. The function is currently in the following state: {state:?}"
    )]
    NotActive {
        /// The state it is in.
        state: State,
    },
    /// `PreconditionFailedException`.
    #[error(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id"
    )]
    StaleRevision,
    /// `InvalidParameterValueException`.
    #[error(
        "CodeSHA256 ({asked}) is different from current CodeSHA256 in $LATEST ({found}). Please try again with the CodeSHA256 in $LATEST."
    )]
    OtherCode {
        /// What the client believes is in `$LATEST`.
        asked: Digest,
        /// What is.
        found: Digest,
    },
    /// `ResourceConflictException`.
    #[error(
        "The route '{route}' is the same as '{taken}' of the function {function}. Change one of them, or remove it there first."
    )]
    RouteTaken {
        /// The route asked for.
        route: Route,
        /// The route that answers the same requests.
        taken: Route,
        /// Whose that is.
        function: FunctionName,
    },
    /// `InvalidParameterValueException`.
    #[error("reservations must leave {min_unreserved} concurrent calls unreserved")]
    TooMuchReserved {
        /// What must be left to functions without a reservation.
        min_unreserved: u32,
    },
    /// `ValidationException` or `InvalidParameterValueException`, as its kind says.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// No recipe serves the runtime: `InvalidParameterValueException`.
    #[error(transparent)]
    Runtime(#[from] ResolveError),
    /// The engine can't run it: `InvalidParameterValueException`.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The zip is not in order: `RequestEntityTooLargeException` for [`PackageError::ZipTooLarge`], else `InvalidParameterValueException`.
    #[error(transparent)]
    Package(#[from] PackageError),
    /// What is asked for needs code that is not here: `ServiceException`.
    #[error(transparent)]
    NoCode(#[from] NoCode),
    /// `ServiceException`, or `ServiceUnavailableException` where it is an outage.
    #[error("functions can't be stored or read")]
    Store(#[from] StoreError),
    /// `ServiceException`, or `ServiceUnavailableException` where there is no room.
    #[error("code can't be stored or read")]
    Blobs(#[from] BlobError),
    /// As for [`Blobs`](Self::Blobs).
    #[error("what code is for can't be written down")]
    Ledger(#[source] io::Error),
}

impl RegistryError {
    /// What clients are told where the store can't make a change now and another try may succeed: `ServiceUnavailableException`.
    pub fn outage(&self) -> Option<String> {
        match self {
            Self::Store(StoreError::Unavailable(_)) => Some(
                "Warren can't reach its database now: nothing can be created or changed until it is back, functions can be called as before."
                    .to_owned(),
            ),
            Self::Store(StoreError::Conflict { .. }) => Some(
                "Another writer changed the database at this moment. Nothing was changed; Warren reads what is there now."
                    .to_owned(),
            ),
            Self::Store(StoreError::Owned { holder }) => Some(format!(
                "Warren lost its database: it belongs to another Warren now ({holder}), or was put back to an older state. This one calls functions and changes nothing any more. Ask that one, or restart this one when that one has ended."
            )),
            Self::Store(StoreError::NoRoom(_)) => Some(format!(
                "No space left where Warren's database is: {UNCHANGED} Make room there, then try again."
            )),
            Self::Blobs(_) | Self::Ledger(_) => match io_cause(self)? {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(format!(
                    "No space left where Warren keeps code and functions (its data folder): {UNCHANGED} Make room there, then try again."
                )),
                _ => None,
            },
            _ => None,
        }
    }

    /// What clients are told where the store refuses for a reason that stays until somebody puts it right: `ServiceException`.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Store(StoreError::Refused { problem, .. }) => Some(format!(
                "Warren's database does not do this: {problem}. Nothing was changed; functions can be called as before."
            )),
            Self::Blobs(_) | Self::Ledger(_) => match io_cause(self)? {
                io::ErrorKind::ReadOnlyFilesystem => Some(format!(
                    "Warren's data folder is mounted read-only: {UNCHANGED} Mount it for writing."
                )),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What is left while nothing can be written.
const UNCHANGED: &str = "nothing can be created or changed, functions can be called as before.";

/// What the system said, below what the layers made of it.
fn io_cause(error: &RegistryError) -> Option<io::ErrorKind> {
    causes(error)
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client does the same for all of them, whichever disk it is.
    #[test]
    fn full_disks_are_told_alike_and_pass() {
        let blobs = |kind: io::ErrorKind| {
            RegistryError::Blobs(BlobError::Io {
                path: "blobs".into(),
                source: kind.into(),
            })
        };
        for full in [
            blobs(io::ErrorKind::StorageFull),
            blobs(io::ErrorKind::QuotaExceeded),
            RegistryError::Ledger(io::ErrorKind::StorageFull.into()),
            RegistryError::Store(StoreError::NoRoom("full".into())),
        ] {
            let said = full.outage().unwrap();
            assert!(said.contains("No space left"), "{said}");
            assert!(said.contains("Make room"), "{said}");
            assert_eq!(full.refusal(), None);
        }
        let read_only = blobs(io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(read_only.outage(), None);
        assert!(read_only.refusal().unwrap().contains("read-only"));
        assert_eq!(blobs(io::ErrorKind::PermissionDenied).outage(), None);
    }

    #[derive(Debug, Error)]
    #[error("the words")]
    struct Rows {
        _detail: &'static str,
    }

    #[test]
    fn rows_are_not_in_the_log() {
        let source = Box::new(Rows { _detail: "s3cret" });
        let error = RegistryError::Store(StoreError::Unavailable(source));
        let said = warren_model::chain(&error);
        assert!(said.ends_with(": the words"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}
