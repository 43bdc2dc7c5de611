//! The network of instances: made at the start or soon after, and removed at every end.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};
use warren_engine::Owner;
use warren_network::Network;

use super::chain;

/// Before a network that could not be made is tried again: the first time, and each time after it.
const FIRST_RETRY: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(30);

/// A network that is removed with this.
pub(super) struct Guard(Arc<Network>);

impl Guard {
    pub(super) fn new(owner: &Owner, name_servers: Vec<IpAddr>) -> Self {
        Self(Arc::new(Network::new(owner.server.clone(), name_servers)))
    }

    pub(super) fn network(&self) -> Arc<Network> {
        Arc::clone(&self.0)
    }

    /// Tries to make it, once.
    pub(super) async fn start(&self) {
        match self.0.start().await {
            Ok(()) => usable(),
            Err(error) => {
                tracing::warn!(
                    error = chain(error),
                    "functions can have no network here (`warren doctor` says what is missing): new ones get the policy 'none'. It is tried again every {RETRY:?}"
                );
            }
        }
    }

    /// Goes on trying until it is there, in the background.
    pub(super) fn keep_trying(&self) -> JoinHandle<()> {
        let network = self.network();
        tokio::spawn(async move {
            let mut pause = FIRST_RETRY;
            while !network.is_up() {
                sleep(pause).await;
                pause = RETRY;
                match network.start().await {
                    Ok(()) => usable(),
                    Err(error) => {
                        tracing::debug!(
                            error = chain(error),
                            "functions still can have no network"
                        );
                    }
                }
            }
        })
    }
}

impl Drop for Guard {
    /// Does nothing after an ordinary end, which removed it already.
    fn drop(&mut self) {
        if let Err(error) = self.0.remove() {
            tracing::error!(
                error = chain(error),
                "the network of instances may be left; the next start removes it"
            );
        }
    }
}

/// Ends the trying: nothing is made any more once this returns.
pub(super) async fn end(trying: JoinHandle<()>) {
    trying.abort();
    // Cut off is what it should be.
    let _ = trying.await;
}

fn usable() {
    tracing::info!(
        "functions can reach the internet, unless they are deployed with another network policy"
    );
}
