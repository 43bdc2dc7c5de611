use reqwest::Method;
use warren_model::native::{EngineList, Health, RouteList, RuntimeList};

use crate::{Client, ClientError};

impl Client {
    /// That the server takes calls; needs no key.
    pub async fn health(&self) -> Result<Health, ClientError> {
        self.answer(self.request(Method::GET, &["health"])).await
    }

    /// Its languages.
    pub async fn runtimes(&self) -> Result<RuntimeList, ClientError> {
        self.answer(self.request(Method::GET, &["runtimes"])).await
    }

    /// Its engines, asked at this moment.
    pub async fn engines(&self) -> Result<EngineList, ClientError> {
        self.answer(self.request(Method::GET, &["engines"])).await
    }

    /// All HTTP routes.
    pub async fn routes(&self) -> Result<RouteList, ClientError> {
        self.answer(self.request(Method::GET, &["routes"])).await
    }
}
