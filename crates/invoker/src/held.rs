//! A sandbox that somebody has to remove.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::{runtime::Handle, time::timeout};
use warren_engine::Sandbox;

use crate::instance::remove;

/// How long a removal is waited for where somebody waits for its outcome: a second is much.
const REMOVAL_LIMIT: Duration = Duration::from_secs(10);

/// Dropped before it was removed, as by a panic or a task that is given up, it is removed in the background.
pub(crate) struct Held {
    sandbox: Arc<dyn Sandbox>,
    removed: bool,
}

impl Held {
    pub(crate) fn new(sandbox: Arc<dyn Sandbox>) -> Self {
        Self {
            sandbox,
            removed: false,
        }
    }

    /// Removes it, however long that takes.
    pub(crate) async fn remove(mut self) {
        remove(self.sandbox.as_ref()).await;
        self.removed = true;
    }

    /// Removes it, so that what it held is free when its user hears of an error; a removal that takes longer than usual goes on in the background.
    pub(crate) async fn remove_soon(self) {
        self.remove_within(REMOVAL_LIMIT).await;
    }

    async fn remove_within(self, limit: Duration) {
        let id = self.sandbox.id().clone();
        if timeout(limit, self.remove()).await.is_err() {
            tracing::warn!(instance = %id, "the removal of a sandbox takes long; its memory is given to others meanwhile");
        }
    }
}

impl Deref for Held {
    type Target = Arc<dyn Sandbox>;

    fn deref(&self) -> &Self::Target {
        &self.sandbox
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.removed {
            return;
        }
        // Without a runtime the server ends, and its last reap has been.
        if let Ok(runtime) = Handle::try_current() {
            let sandbox = Arc::clone(&self.sandbox);
            runtime.spawn(async move { remove(sandbox.as_ref()).await });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use async_trait::async_trait;
    use tokio::{net::UnixStream, time::sleep};
    use warren_engine::{EngineError, Tenant, Usage};
    use warren_model::InstanceId;
    use warren_protocol::StreamKind;

    use super::*;

    /// Counts how often it was ended; that takes this long.
    struct Counted {
        id: InstanceId,
        takes: Duration,
        kills: AtomicU32,
    }

    #[async_trait]
    impl Sandbox for Counted {
        fn id(&self) -> &InstanceId {
            &self.id
        }

        fn evidence(&self) -> String {
            String::new()
        }

        async fn open(&self, _: StreamKind) -> Result<UnixStream, EngineError> {
            Err(EngineError::NotASocket)
        }

        fn seal(&self) -> Result<(), EngineError> {
            Ok(())
        }

        async fn claim(&self, _: &Tenant) -> Result<(), EngineError> {
            Ok(())
        }

        async fn freeze(&self) -> Result<(), EngineError> {
            Ok(())
        }

        async fn thaw(&self) -> Result<(), EngineError> {
            Ok(())
        }

        fn usage(&self) -> Option<Usage> {
            None
        }

        fn peak_bytes(&self) -> Option<u64> {
            None
        }

        async fn kill(&self) -> Result<(), EngineError> {
            sleep(self.takes).await;
            self.kills.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    }

    fn counted(takes: Duration) -> Arc<Counted> {
        Arc::new(Counted {
            id: InstanceId::random(),
            takes,
            kills: AtomicU32::new(0),
        })
    }

    const MOMENT: Duration = Duration::from_millis(5);

    async fn kills(sandbox: &Counted) -> u32 {
        sleep(40 * MOMENT).await;
        sandbox.kills.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn it_is_removed_once_whatever_becomes_of_its_holder() {
        let sandbox = counted(MOMENT);
        Held::new(sandbox.clone()).remove().await;
        assert_eq!(kills(&sandbox).await, 1);

        let sandbox = counted(MOMENT);
        let held = Held::new(sandbox.clone());
        let panicked = tokio::spawn(async move {
            let _held = held;
            panic!("as a start might");
        });
        assert!(panicked.await.is_err());
        assert_eq!(kills(&sandbox).await, 1);

        let sandbox = counted(MOMENT);
        let held = Held::new(sandbox.clone());
        let given_up = tokio::spawn(async move {
            std::future::pending::<()>().await;
            held.remove().await;
        });
        tokio::task::yield_now().await;
        given_up.abort();
        assert_eq!(kills(&sandbox).await, 1);
    }

    #[tokio::test]
    async fn a_removal_is_waited_for_but_not_for_ever() {
        let sandbox = counted(MOMENT);
        Held::new(sandbox.clone()).remove_within(40 * MOMENT).await;
        assert_eq!(sandbox.kills.load(Ordering::Relaxed), 1);
        let sandbox = counted(10 * MOMENT);
        Held::new(sandbox.clone()).remove_within(MOMENT).await;
        assert_eq!(sandbox.kills.load(Ordering::Relaxed), 0);
        assert_eq!(kills(&sandbox).await, 1);
    }
}
