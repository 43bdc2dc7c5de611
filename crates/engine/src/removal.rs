//! Removal of sandboxes whose start failed, at once or as soon as it can be.

use std::{sync::Arc, time::Duration};

use crate::{EngineError, Sandbox};

/// Before it is tried again, the first time and at most.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The sandbox, if its start succeeded; else it is removed, and the error is that of the start.
pub(crate) async fn unless_failed(
    sandbox: Arc<dyn Sandbox>,
    started: Result<(), EngineError>,
) -> Result<Arc<dyn Sandbox>, EngineError> {
    if let Err(error) = started {
        if let Err(left) = sandbox.kill().await {
            tracing::warn!(instance = %sandbox.id(), error = %left, "a failed start could not be cleaned up yet");
            tokio::spawn(remove_later(sandbox));
        }
        return Err(error);
    }
    Ok(sandbox)
}

/// Tries again until it is removed: a daemon that was away comes back.
async fn remove_later(sandbox: Arc<dyn Sandbox>) {
    let mut pause = PAUSE;
    loop {
        tokio::time::sleep(pause).await;
        match sandbox.kill().await {
            Ok(()) => return,
            Err(error) => {
                tracing::debug!(instance = %sandbox.id(), %error, "a failed start can't be cleaned up yet");
            }
        }
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
