//! Code in requests and answers: the zip in a body, and the link to it.

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Value, json};
use warren_model::{Digest, FunctionName, Version};

use super::{
    call::Call,
    error::{Code, LambdaError},
    members::Members,
};
use crate::{auth::link, state::Api};

/// A body from this size on is read on a thread of its own, so that no other request waits for it.
const LARGE_BODY: usize = 256 * 1024;

/// A request's members and the zip among them.
pub(super) struct WithCode {
    pub(super) members: Members,
    pub(super) zip: Option<Bytes>,
}

/// Reads a body whose code is in `Code.ZipFile` (create) or `ZipFile` (update).
pub(super) async fn read(body: Bytes, nested: bool) -> Result<WithCode, LambdaError> {
    if body.len() < LARGE_BODY {
        return read_now(&body, nested);
    }
    tokio::task::spawn_blocking(move || read_now(&body, nested))
        .await
        .unwrap_or_else(|_| {
            Err(LambdaError::new(
                Code::ServiceException,
                "The request could not be read.",
            ))
        })
}

fn read_now(body: &[u8], nested: bool) -> Result<WithCode, LambdaError> {
    let mut members = Members::read(body)?;
    if !nested {
        let zip = zip_file(&mut members)?;
        return Ok(WithCode { members, zip });
    }
    let mut code = members
        .object("Code", "Code.")?
        .ok_or_else(|| LambdaError::missing("code"))?;
    let zip = zip_file(&mut code)?;
    code.finish_plain()?;
    Ok(WithCode { members, zip })
}

fn zip_file(members: &mut Members) -> Result<Option<Bytes>, LambdaError> {
    let Some(text) = members.string("ZipFile")? else {
        return Ok(None);
    };
    let zip = STANDARD.decode(text).map_err(|error| {
        LambdaError::new(
            Code::SerializationException,
            format!("ZipFile is not base64: {error}"),
        )
    })?;
    Ok(Some(zip.into()))
}

/// A request that must bring code.
pub(super) fn required(zip: Option<Bytes>) -> Result<Bytes, LambdaError> {
    zip.filter(|zip| !zip.is_empty()).ok_or_else(|| {
        LambdaError::parameter("Please provide a source for function code: a zip file, as ZipFile.")
    })
}

/// `Code` of GetFunction: where the zip can be fetched without credentials for ten minutes.
pub(super) fn location(api: &Api, call: &Call, version: &Version) -> Value {
    let host = call.header("host").unwrap_or("127.0.0.1:7070");
    let path = format!(
        "/2015-03-31/functions/{}/code/{}",
        version.function, version.code.digest
    );
    let link = link::sign(&path, api.keys(), api.now());
    json!({ "RepositoryType": "S3", "Location": format!("http://{host}{link}") })
}

/// Answers a link of [`location`], whose signature was checked.
pub(super) async fn download(
    api: &Api,
    parameters: &[String],
) -> Result<Response<Body>, LambdaError> {
    let gone = || {
        LambdaError::new(
            Code::ResourceNotFoundException,
            "The code is not kept any more. Ask GetFunction for a new Code.Location.",
        )
    };
    let [name, digest] = parameters else {
        return Err(gone());
    };
    let digest: Digest = digest.parse().map_err(|_| gone())?;
    let name: FunctionName = name.parse().map_err(|_| gone())?;
    let snapshot = api.registry().snapshot();
    let kept = snapshot.function(&name).is_some_and(|entry| {
        std::iter::once(&entry.latest)
            .chain(entry.versions.values())
            .any(|version| version.code.digest == digest)
    });
    if !kept {
        return Err(gone());
    }
    let bytes = api.registry().code(&digest).await?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/zip"),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename=\"{name}.zip\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}
