//! AWS STS as far as clients need it before Lambda: GetCallerIdentity, in the query protocol (a form in, XML out).

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use percent_encoding::percent_decode_str;
use warren_model::RequestId;

use crate::{auth::AuthError, state::Api};

const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Answers a request whose signature is scoped to STS and was checked.
pub(crate) fn answer(
    api: &Api,
    parts: &Parts,
    body: &[u8],
    request_id: &RequestId,
) -> Response<Body> {
    let form = String::from_utf8_lossy(body);
    let action = parts
        .uri
        .query()
        .unwrap_or_default()
        .split('&')
        .chain(form.split('&'))
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == "Action")
        .map(|(_, value)| percent_decode_str(value).decode_utf8_lossy().into_owned())
        .unwrap_or_default();
    if action == "GetCallerIdentity" {
        return xml(
            StatusCode::OK,
            caller_identity(&api.account().id, request_id),
        );
    }
    let message = match action.is_empty() {
        true => "The request names no Action. This address answers GetCallerIdentity.".to_owned(),
        false => format!(
            "Could not find operation {action} for version 2011-06-15. Of STS this address answers GetCallerIdentity alone."
        ),
    };
    refusal(
        StatusCode::BAD_REQUEST,
        "InvalidAction",
        &message,
        request_id,
    )
}

/// Tells a caller of STS that it is not believed.
pub(crate) fn unauthenticated(error: &AuthError, request_id: &RequestId) -> Response<Body> {
    refusal(
        StatusCode::FORBIDDEN,
        error.query_code(),
        &error.to_string(),
        request_id,
    )
}

fn caller_identity(account: &str, request_id: &RequestId) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\">\
         <GetCallerIdentityResult><Arn>arn:aws:iam::{account}:root</Arn><UserId>{account}</UserId><Account>{account}</Account></GetCallerIdentityResult>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>\
         </GetCallerIdentityResponse>"
    )
}

fn refusal(
    status: StatusCode,
    code: &str,
    message: &str,
    request_id: &RequestId,
) -> Response<Body> {
    xml(
        status,
        format!(
            "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>",
            escape(message)
        ),
    )
}

fn xml(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

/// Text for XML; characters that XML can't carry at all are left out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\u{0}'..='\u{8}'
            | '\u{b}'
            | '\u{c}'
            | '\u{e}'..='\u{1f}'
            | '\u{fffe}'
            | '\u{ffff}' => {}
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_well_formed_xml() {
        assert_eq!(escape("a<b>&\u{1}'ü'"), "a&lt;b&gt;&amp;'ü'");
    }
}
