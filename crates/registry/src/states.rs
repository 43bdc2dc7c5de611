//! The states of versions and their changes, as values (drawn in the crate's documentation).

use warren_model::{LastUpdate, RevisionId, State, StateReason, Timestamp, Version, VersionId};

use crate::PrepareError;

/// What Lambda says while it creates, and while it updates too.
fn creating() -> StateReason {
    StateReason {
        code: "Creating".to_owned(),
        message: "The function is being created.".to_owned(),
    }
}

/// Whether calls can go to exactly this version.
pub(crate) fn prepared(version: &Version) -> bool {
    version.state == State::Active
        && matches!(version.last_update, None | Some(LastUpdate::Successful))
}

/// Whether a preparation is under way, or was when the server ended.
pub(crate) fn in_preparation(version: &Version) -> bool {
    version.state == State::Pending || version.last_update == Some(LastUpdate::InProgress)
}

/// A version at its creation.
pub(crate) fn create(version: &mut Version) {
    version.state = State::Pending;
    version.state_reason = Some(creating());
    version.last_update = None;
    version.last_update_reason = None;
}

/// `$LATEST` at an update: another revision, to be prepared. One that was never active is pending again.
pub(crate) fn update(version: &mut Version, now: Timestamp) {
    version.revision = RevisionId::random();
    version.modified = now;
    if version.state == State::Failed {
        version.state = State::Pending;
        version.state_reason = Some(creating());
    }
    version.last_update = Some(LastUpdate::InProgress);
    version.last_update_reason = Some(creating());
}

/// The end of a preparation. A `$LATEST` that was active stays so when its update fails: calls go to the one before.
pub(crate) fn settle(version: &mut Version, result: &Result<(), PrepareError>) {
    match result {
        Ok(()) => {
            version.state = State::Active;
            version.state_reason = None;
            version.last_update = Some(LastUpdate::Successful);
            version.last_update_reason = None;
        }
        Err(error) => {
            let reason = Some(StateReason::from(error.clone()));
            if version.state == State::Pending {
                version.state = State::Failed;
                version.state_reason = reason.clone();
            }
            version.last_update = Some(LastUpdate::Failed);
            version.last_update_reason = reason;
        }
    }
}

/// The published version of `$LATEST` under a number. If that is being prepared, so is this: it was never active, whatever `$LATEST` was.
pub(crate) fn publish(latest: &Version, number: u64, description: Option<String>) -> Version {
    let mut version = latest.clone();
    version.id = VersionId::Number(number);
    version.revision = RevisionId::random();
    if let Some(description) = description {
        version.config.description = description;
    }
    if in_preparation(latest) {
        version.state = State::Pending;
        version.state_reason = Some(creating());
    }
    version
}

/// Whether publishing would repeat `published`. Its description may have been given when it was published, so descriptions don't count.
pub(crate) fn same_content(latest: &Version, published: &Version) -> bool {
    let mut config = latest.config.clone();
    config.description.clone_from(&published.config.description);
    latest.code == published.code && config == published.config
}
