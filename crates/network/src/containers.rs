use std::net::IpAddr;

use async_trait::async_trait;

/// Whoever knows the containers of a daemon, for the policy `allow`. Errors are sentences for the log.
#[async_trait]
pub trait Containers: Send + Sync {
    /// Addresses of a running container on all its networks; none if there is no such container, or it has none.
    async fn of_container(&self, name: &str) -> Result<Vec<IpAddr>, String>;

    /// Whether there is a network of this name.
    async fn has_network(&self, name: &str) -> Result<bool, String>;

    /// Addresses, on this network, of a running container that has this name or alias there; letters count as the same in both cases.
    async fn on_network(&self, network: &str, name: &str) -> Result<Vec<IpAddr>, String>;
}
