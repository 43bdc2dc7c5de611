use async_trait::async_trait;
use tokio::sync::watch;
use warren_model::{Function, FunctionName, ServerId, Version};

use crate::{Contents, Record, StoreError};

/// What was last seen in a store, whoever wrote it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sighting {
    /// The store's revision.
    pub revision: u64,
    /// Another number after each reconnection: the database behind it may be another one (restored, failed over), with the same revision too.
    pub connection: u64,
}

/// How a store stands to this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is ours.
    Ours,
    /// It can't be reached, and why.
    Away(String),
    /// Another process took it, or a backup from before this process took its place: over for good. Who owns it now, as it called itself.
    Lost(String),
}

/// Where functions are kept.
///
/// Each method that changes something is one transaction: durable when it returns, undone when it fails (except for
/// [`StoreError::Unavailable`], after which only a [`load`](Store::load) tells), and answered with the new global revision. It names the revision of the
/// contents that it was computed from (`based_on`): if the store has another by now, it is a [`StoreError::Conflict`]. A store does not merge.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Everything, in one consistent state.
    async fn load(&self) -> Result<Contents, StoreError>;

    /// A new function, with its versions. [`StoreError::Conflict`] if the name or one of its routes exists.
    async fn insert(&self, based_on: u64, record: &Record) -> Result<u64, StoreError>;

    /// Replaces `$LATEST`, the ready version, tags, routes, reserved concurrency and the next version's number; published versions stay as they are.
    /// [`StoreError::Conflict`] if there is no such function, or another has one of its routes.
    async fn replace(
        &self,
        based_on: u64,
        function: &Function,
        ready: Option<&Version>,
    ) -> Result<u64, StoreError>;

    /// [`replace`](Store::replace), and one more published version. [`StoreError::Conflict`] if that number exists.
    async fn publish(
        &self,
        based_on: u64,
        function: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError>;

    /// [`replace`](Store::replace), and the states (with their reasons) of these published versions: all of a published version that ever changes.
    async fn settle(
        &self,
        based_on: u64,
        function: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError>;

    /// Removes a function with its versions, tags and routes. [`StoreError::Conflict`] if there is none.
    async fn delete(&self, based_on: u64, name: &FunctionName) -> Result<u64, StoreError>;

    /// Removes one published version. [`StoreError::Conflict`] if there is none.
    async fn delete_version(
        &self,
        based_on: u64,
        name: &FunctionName,
        number: u64,
    ) -> Result<u64, StoreError>;

    /// The id of the server that owns this store; made at the first call.
    async fn server_id(&self) -> Result<ServerId, StoreError>;

    /// `sqlite` or `postgres`.
    fn kind(&self) -> &'static str;

    /// What is in the database, whoever wrote it, within a second; none where there can be no other writer.
    fn sightings(&self) -> Option<watch::Receiver<Sighting>> {
        None
    }

    /// How it stands.
    fn standing(&self) -> Standing {
        Standing::Ours
    }
}
