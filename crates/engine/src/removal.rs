//! Removal of sandboxes that could not be removed at once.

use std::{sync::Arc, time::Duration};

use crate::Sandbox;

/// Before it is tried again, the first time and at most.
const PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Tries again until it is removed: a daemon that was away comes back.
pub(crate) async fn remove_later(sandbox: Arc<dyn Sandbox>) {
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
