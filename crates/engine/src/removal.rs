//! Removal of sandboxes whose start failed or was given up, at once or as soon as it can be.

use std::{sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::sleep};

use crate::{EngineError, Sandbox};

/// Before it is tried again, the first time and at most.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The sandbox, once `launch` has started it. If that fails, panics, or nobody waits for it any more, the sandbox is removed.
pub(crate) async fn launched(
    sandbox: Arc<dyn Sandbox>,
    launch: impl Future<Output = Result<(), EngineError>>,
) -> Result<Arc<dyn Sandbox>, EngineError> {
    let mut owed = Owed(Some(Arc::clone(&sandbox)));
    let Err(error) = launch.await else {
        owed.0 = None;
        return Ok(sandbox);
    };
    match sandbox.kill().await {
        Ok(()) => owed.0 = None,
        Err(left) => {
            tracing::warn!(instance = %sandbox.id(), error = %left, "a failed start could not be cleaned up yet");
        }
    }
    Err(error)
}

/// Has it removed in the background when this is dropped.
struct Owed(Option<Arc<dyn Sandbox>>);

impl Drop for Owed {
    fn drop(&mut self) {
        // Without a runtime the server ends, and its next start removes it.
        if let (Some(sandbox), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(remove(sandbox));
        }
    }
}

/// Tries again until it is removed: a daemon that was away comes back.
async fn remove(sandbox: Arc<dyn Sandbox>) {
    let mut pause = PAUSE;
    while let Err(error) = sandbox.kill().await {
        tracing::debug!(instance = %sandbox.id(), %error, "a failed start can't be cleaned up yet");
        sleep(pause).await;
        pause = (pause * 2).min(MAX_PAUSE);
    }
}
