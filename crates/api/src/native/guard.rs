//! What stands before every handler: the request's id, and the key.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderName, HeaderValue, Method, Uri};
use warren_model::{
    RequestId,
    native::{PREFIX, REQUEST_ID_HEADER},
};

use super::refusal::{Kind, Refusal};
use crate::{auth::bearer, state::Api};

/// Gives the request an id, which its answer, refusal or invocation then has.
pub(super) async fn identified(mut request: Request, next: Next) -> Response {
    let id = RequestId::random();
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = refusal.respond(&id);
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response
            .headers_mut()
            .insert(HeaderName::from_static(REQUEST_ID_HEADER), value);
    }
    response
}

/// Lets a request pass that has the server's key.
pub(super) async fn authenticated(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    bearer::verify(request.headers(), api.keys())?;
    Ok(next.run(request).await)
}

pub(super) async fn no_such_path(uri: Uri) -> Refusal {
    let detail = format!("There is no {PREFIX}{}.", uri.path());
    Refusal::new(Kind::NotFound, detail).next("GET /api/v1/openapi.json describes what there is.")
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Refusal {
    let detail = format!("{PREFIX}{} is not served with {method}.", uri.path());
    Refusal::new(Kind::MethodNotAllowed, detail)
        .next("GET /api/v1/openapi.json describes what there is.")
}
