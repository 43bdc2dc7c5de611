//! What a database has to do to be a store; what a change is, is the same for all.

use async_trait::async_trait;
use tokio::sync::watch;
use warren_model::{Function, FunctionName, ServerId, Version};

use crate::statement::Statement;
use crate::tables::Tables;
use crate::{Contents, Record, Sighting, Standing, Store, StoreError, changes};

/// A database.
#[async_trait]
pub(crate) trait Backend: Send + Sync + 'static {
    /// Reads all rows in one transaction.
    async fn tables(&self) -> Result<Tables, StoreError>;

    /// Runs the statements in one transaction if the revision is `based_on`, raises the revision and gives it. The first that fails undoes all.
    async fn change(&self, based_on: u64, statements: Vec<Statement>) -> Result<u64, StoreError>;

    /// As [`Store::server_id`].
    async fn id(&self) -> Result<ServerId, StoreError>;

    /// As [`Store::kind`].
    fn name(&self) -> &'static str;

    /// As [`Store::sightings`].
    fn watch(&self) -> Option<watch::Receiver<Sighting>> {
        None
    }

    /// As [`Store::standing`].
    fn stands(&self) -> Standing {
        Standing::Ours
    }
}

#[async_trait]
impl<B: Backend> Store for B {
    async fn load(&self) -> Result<Contents, StoreError> {
        self.tables().await?.into_contents()
    }

    async fn insert(&self, based_on: u64, record: &Record) -> Result<u64, StoreError> {
        self.change(based_on, changes::insert(record)?).await
    }

    async fn replace(
        &self,
        based_on: u64,
        function: &Function,
        ready: Option<&Version>,
    ) -> Result<u64, StoreError> {
        self.change(based_on, changes::replace(function, ready)?)
            .await
    }

    async fn publish(
        &self,
        based_on: u64,
        function: &Function,
        ready: Option<&Version>,
        version: &Version,
    ) -> Result<u64, StoreError> {
        self.change(based_on, changes::publish(function, ready, version)?)
            .await
    }

    async fn settle(
        &self,
        based_on: u64,
        function: &Function,
        ready: Option<&Version>,
        versions: &[Version],
    ) -> Result<u64, StoreError> {
        self.change(based_on, changes::settle(function, ready, versions)?)
            .await
    }

    async fn delete(&self, based_on: u64, name: &FunctionName) -> Result<u64, StoreError> {
        self.change(based_on, changes::delete(name)).await
    }

    async fn delete_version(
        &self,
        based_on: u64,
        name: &FunctionName,
        number: u64,
    ) -> Result<u64, StoreError> {
        self.change(based_on, changes::delete_version(name, number))
            .await
    }

    async fn server_id(&self) -> Result<ServerId, StoreError> {
        self.id().await
    }

    fn kind(&self) -> &'static str {
        self.name()
    }

    fn sightings(&self) -> Option<watch::Receiver<Sighting>> {
        self.watch()
    }

    fn standing(&self) -> Standing {
        self.stands()
    }
}
