//! Parts of requests, with refusals of this interface's kind.

use axum::{
    extract::{FromRef, FromRequest, FromRequestParts, Path, Query, Request},
    http::request::Parts,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use warren_model::limits::{MAX_CONTROL_REQUEST, MAX_SYNC_PAYLOAD, MAX_ZIP};

use super::refusal::{Kind, Refusal};
use crate::{edge, state::Api};

/// The function that the path names, as text.
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(Refusal::field("name", error.body_text())),
        }
    }
}

/// The query.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Refusal;
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Refusal::new(Kind::Invalid, error.body_text())),
        }
    }
}

/// A body of JSON.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T>
where
    Api: FromRef<S>,
{
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = read(state, request, MAX_CONTROL_REQUEST).await?;
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Self(value)),
            Err(error) => {
                let detail = format!("The request body is not the JSON that is expected: {error}.");
                Err(Refusal::new(Kind::Invalid, detail)
                    .next("GET /api/v1/openapi.json describes it."))
            }
        }
    }
}

/// A body that is a zip.
pub(super) struct Zip(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Zip
where
    Api: FromRef<S>,
{
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let limit = usize::try_from(MAX_ZIP).unwrap_or(usize::MAX);
        Ok(Self(read(state, request, limit).await?))
    }
}

/// A body that is an event: JSON, or nothing.
pub(super) struct Event(pub(super) Bytes);

impl<S: Send + Sync> FromRequest<S> for Event
where
    Api: FromRef<S>,
{
    type Rejection = Refusal;
    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = read(state, request, MAX_SYNC_PAYLOAD).await?;
        if !bytes.is_empty()
            && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&bytes)
        {
            let detail = format!("The event is no JSON: {error}.");
            return Err(Refusal::new(Kind::Invalid, detail)
                .next("Put text into quotes, and send binary data in base64."));
        }
        Ok(Self(bytes))
    }
}

async fn read<S>(state: &S, request: Request, limit: usize) -> Result<Bytes, Refusal>
where
    Api: FromRef<S>,
{
    let (parts, body) = request.into_parts();
    let api = Api::from_ref(state);
    Ok(edge::read_body(api.bodies(), &parts.headers, body, limit, |_| {}).await?)
}
