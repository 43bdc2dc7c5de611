use bytes::Bytes;
use reqwest::{Method, header::CONTENT_TYPE};
use warren_model::native::{Deployed, Function, FunctionPage, FunctionSpec};

use crate::{Client, ClientError};

/// Functions asked for at once.
const PAGE: &str = "200";

impl Client {
    /// Every function, in the order of their names.
    pub async fn functions(&self) -> Result<Vec<Function>, ClientError> {
        let mut functions = Vec::new();
        let mut cursor = None;
        loop {
            let mut request = self
                .request(Method::GET, &["functions"])
                .query(&[("limit", PAGE)]);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: FunctionPage = self.answer(request).await?;
            functions.extend(page.functions);
            match page.next_cursor {
                // A cursor that comes again would never end.
                next @ Some(_) if next != cursor => cursor = next,
                _ => return Ok(functions),
            }
        }
    }

    /// One function.
    pub async fn function(&self, name: &str) -> Result<Function, ClientError> {
        self.answer(self.request(Method::GET, &["functions", name]))
            .await
    }

    /// Creates a function, which must not exist.
    pub async fn create(&self, spec: &FunctionSpec) -> Result<Deployed, ClientError> {
        self.answer(self.json_request(Method::POST, &["functions"], spec))
            .await
    }

    /// Creates a function, or changes it where it is not as `spec` says.
    pub async fn deploy(&self, name: &str, spec: &FunctionSpec) -> Result<Deployed, ClientError> {
        self.answer(self.json_request(Method::PUT, &["functions", name], spec))
            .await
    }

    /// Changes a function that exists.
    pub async fn update(&self, name: &str, spec: &FunctionSpec) -> Result<Deployed, ClientError> {
        self.answer(self.json_request(Method::PATCH, &["functions", name], spec))
            .await
    }

    /// Replaces a function's code by a zip.
    pub async fn upload(&self, name: &str, zip: impl Into<Bytes>) -> Result<Deployed, ClientError> {
        let request = self
            .request(Method::PUT, &["functions", name, "code"])
            .header(CONTENT_TYPE, "application/zip")
            .body(zip.into());
        self.answer(request).await
    }

    /// Deletes a function with all that belongs to it.
    pub async fn delete(&self, name: &str) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, &["functions", name]))
            .await?;
        Ok(())
    }
}
