use async_trait::async_trait;
use tokio::sync::watch;
use warren_model::{Function, FunctionName, ServerId, Version};

use crate::{Contents, Record, StoreError};

/// Where functions are kept.
///
/// Each method that changes something is one transaction: durable when it returns, undone when it fails (except for
/// [`StoreError::Unavailable`], after which only a [`load`](Store::load) tells), and answered with the new global revision. One caller at a time
/// changes a function; a store does not merge.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Everything, in one consistent state.
    async fn load(&self) -> Result<Contents, StoreError>;

    /// A new function, with its versions. [`StoreError::Conflict`] if the name or one of its routes exists.
    async fn insert(&self, record: &Record) -> Result<u64, StoreError>;

    /// Replaces `$LATEST`, the ready version, tags, routes, reserved concurrency and the next version's number; published versions stay as they are.
    /// [`StoreError::Conflict`] if there is no such function, or another has one of its routes.
    async fn replace(
        &self,
        function: &Function,
        ready: Option<&Version>,
    ) -> Result<u64, StoreError>;

    /// [`replace`](Store::replace), and one more published version. [`StoreError::Conflict`] if that number exists.
    async fn publish(
        &self,
        function: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError>;

    /// [`replace`](Store::replace), and the states (with their reasons) of these published versions: all of a published version that ever changes.
    async fn settle(
        &self,
        function: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError>;

    /// Removes a function with its versions, tags and routes. [`StoreError::Conflict`] if there is none.
    async fn delete(&self, name: &FunctionName) -> Result<u64, StoreError>;

    /// Removes one published version. [`StoreError::Conflict`] if there is none.
    async fn delete_version(&self, name: &FunctionName, number: u64) -> Result<u64, StoreError>;

    /// The id of the server that owns this store; made at the first call.
    async fn server_id(&self) -> Result<ServerId, StoreError>;

    /// The last revision that is in the database, whoever raised it, within a second; none where there can be no other writer.
    fn revisions(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}
