//! PublishVersion, ListVersionsByFunction.

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Response, StatusCode};
use warren_model::{Digest, RevisionId};
use warren_registry::Publish;

use super::{
    answer,
    call::Call,
    configuration::{ArnForm, FunctionConfiguration},
    error::LambdaError,
    functions::list_of,
    members::Members,
    page::Page,
    target::Target,
};
use crate::state::Api;

type Answered = Result<Response<Body>, LambdaError>;

pub(super) async fn publish(api: &Api, call: &Call) -> Answered {
    let target = Target::changeable(api, call.parameter(0))?;
    let mut members = Members::read(&call.body)?;
    let code_digest = members
        .string("CodeSha256")?
        .filter(|text| !text.is_empty())
        .map(|text| code_digest(&text, &target))
        .transpose()?;
    let publish = Publish {
        code_digest,
        description: members
            .string("Description")?
            .filter(|text| !text.is_empty()),
        revision: members
            .string("RevisionId")?
            .filter(|id| !id.is_empty())
            .map(RevisionId::new),
    };
    members.finish_plain()?;
    let version = api.registry().publish(target.name(), publish).await?;
    let answer = FunctionConfiguration::of(&version, api.account(), ArnForm::Qualified);
    Ok(answer::json(StatusCode::CREATED, &answer))
}

fn code_digest(text: &str, target: &Target) -> Result<Digest, LambdaError> {
    STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .map(Digest::from_bytes)
        .ok_or_else(|| {
            let latest = STANDARD.encode(target.entry.latest.code.digest.as_bytes());
            let shown: String = text.chars().take(128).collect();
            LambdaError::parameter(format!(
                "CodeSHA256 ({shown}) is different from current CodeSHA256 in $LATEST ({latest}). Please try again with the CodeSHA256 in $LATEST."
            ))
        })
}

pub(super) fn list(api: &Api, call: &Call) -> Answered {
    let target = Target::find(api, call.parameter(0), None)?;
    let page = Page::of(&call.query)?;
    let entry = &target.entry;
    let versions = std::iter::once((0, &entry.latest)).chain(
        entry
            .versions
            .iter()
            .map(|(number, version)| (*number, version)),
    );
    let (versions, next) = page.cut(versions.map(|(number, version)| {
        let answer = FunctionConfiguration::of(version, api.account(), ArnForm::Qualified)
            .without(target.without_code(version));
        (format!("{number:020}"), answer)
    }));
    Ok(answer::json(
        StatusCode::OK,
        &list_of("Versions", &versions, next),
    ))
}
