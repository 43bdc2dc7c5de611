//! The AWS Lambda API, byte for byte as botocore's model and the clients have it.
//!
//! ```text
//! request ─► table (which operation) ─► claim (whose key, how fresh) ─► body (limit) ─► signature ─► handler ─► answer
//! ```
//!
//! A handler returns a `LambdaError`, the one error type of this module; `mapping` is the only place that makes it of other crates' errors.

mod answer;
mod call;
mod code;
mod concurrency;
mod configuration;
mod error;
#[cfg(test)]
pub(crate) mod fixtures;
mod functions;
mod inert;
mod invoke;
mod mapping;
mod members;
mod operation;
mod page;
mod reads;
mod settings;
mod table;
mod tags;
mod target;
mod updates;
mod versions;

use std::time::Instant;

use axum::body::Body;
use http::{Request, Response, request::Parts};
use sha2::{Digest as _, Sha256};
use warren_model::{
    Digest, RequestId,
    limits::{MAX_CONTROL_REQUEST, MAX_SYNC_PAYLOAD},
};

pub use error::{Code, LambdaError};
pub use inert::has_no_effect;

use self::{
    call::{Call, Query},
    operation::{Answer, Operation, Served},
};
use crate::{
    auth::{
        Service, link,
        sigv4::{Claim, RequestParts, scoped_service},
    },
    edge,
    state::Api,
    sts,
};

/// Largest form of the query protocol; GetCallerIdentity's has 43 bytes.
const MAX_QUERY_FORM: usize = 64 * 1024;

/// Answers any request that is not for another interface.
pub(crate) async fn handle(api: Api, request: Request<Body>) -> Response<Body> {
    let arrived = Instant::now();
    let request_id = RequestId::random();
    let (parts, body) = request.into_parts();
    let sts = scoped_service(&parts.headers) == Some(Service::Sts);
    let mut response = match answer(&api, &parts, body, &request_id, arrived).await {
        Ok(response) => response,
        Err(Refusal::Auth(error)) if sts => sts::unauthenticated(&error, &request_id),
        Err(Refusal::Auth(error)) => answer::refusal(&error.into()),
        Err(Refusal::Lambda(error)) => answer::refusal(&error),
    };
    answer::stamp(&mut response, &request_id);
    response
}

/// Why there is no answer: the caller is not believed (told in the form of the API it wants), or the operation is refused.
enum Refusal {
    Auth(crate::auth::AuthError),
    Lambda(LambdaError),
}

impl From<crate::auth::AuthError> for Refusal {
    fn from(error: crate::auth::AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<LambdaError> for Refusal {
    fn from(error: LambdaError) -> Self {
        Self::Lambda(error)
    }
}

async fn answer(
    api: &Api,
    parts: &Parts,
    body: Body,
    request_id: &RequestId,
    arrived: Instant,
) -> Result<Response<Body>, Refusal> {
    let method = parts.method.as_str();
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let found = Operation::find(method, path, query);
    if let Some((operation, parameters)) = &found
        && operation.answer == Answer::Download
    {
        link::verify(path, query, api.keys(), api.now())?;
        return Ok(code::download(api, parameters).await?);
    }
    let signed = RequestParts {
        method,
        path,
        query,
        headers: &parts.headers,
    };
    let claim = Claim::read(signed, api.keys(), &api.account().region, api.now())?;
    let name = found.as_ref().map_or("", |(operation, _)| operation.name);
    let limit = match (claim.service(), name) {
        (Service::Sts, _) => MAX_QUERY_FORM,
        (Service::Lambda, "Invoke") => MAX_SYNC_PAYLOAD,
        (Service::Lambda, _) => MAX_CONTROL_REQUEST,
    };
    let mut hash = Sha256::new();
    let body = edge::read_body(api.bodies(), &parts.headers, body, limit, |piece| {
        hash.update(piece);
    })
    .await
    .map_err(|error| mapping::unread_body(&error, name))?;
    claim.verify(&Digest::from_bytes(hash.finalize().into()), api.keys())?;
    if claim.service() == Service::Sts {
        return Ok(sts::answer(api, parts, &body, request_id));
    }
    let Some((operation, parameters)) = found else {
        let message = format!("{method} {path} is no operation of AWS Lambda's API.");
        return Err(LambdaError::new(Code::UnknownOperationException, message).into());
    };
    let call = Call {
        parameters,
        query: Query::read(query),
        headers: parts.headers.clone(),
        body,
        arrived,
        request_id: request_id.clone(),
    };
    Ok(dispatch(api, operation, call).await?)
}

async fn dispatch(
    api: &Api,
    operation: &'static Operation,
    call: Call,
) -> Result<Response<Body>, LambdaError> {
    match operation.answer {
        Answer::Serve(served) => serve(api, served, call).await,
        Answer::Empty(member) => reads::empty_list(api, &call, operation, member),
        Answer::Default(setting) => reads::default(api, &call, operation, setting),
        Answer::Absent => reads::absent(api, &call, operation),
        Answer::Unsupported | Answer::Download => Err(reads::unsupported(operation)),
    }
}

async fn serve(api: &Api, served: Served, call: Call) -> Result<Response<Body>, LambdaError> {
    match served {
        Served::CreateFunction => functions::create(api, call).await,
        Served::DeleteFunction => functions::delete(api, &call).await,
        Served::DeleteFunctionConcurrency => concurrency::delete(api, &call).await,
        Served::GetAccountSettings => concurrency::account_settings(api),
        Served::GetFunction => functions::get(api, &call),
        Served::GetFunctionConcurrency => concurrency::get(api, &call),
        Served::GetFunctionConfiguration => functions::get_configuration(api, &call),
        Served::Invoke => invoke::invoke(api, call).await,
        Served::ListFunctions => functions::list(api, &call),
        Served::ListTags => tags::list(api, &call),
        Served::ListVersionsByFunction => versions::list(api, &call),
        Served::PublishVersion => versions::publish(api, &call).await,
        Served::PutFunctionConcurrency => concurrency::put(api, &call).await,
        Served::TagResource => tags::tag(api, &call).await,
        Served::UntagResource => tags::untag(api, &call).await,
        Served::UpdateFunctionCode => updates::code(api, call).await,
        Served::UpdateFunctionConfiguration => updates::configuration(api, call).await,
    }
}
