//! A function's answer as an HTTP response: the structured form of payload format 2.0, or a bare value.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Value, value::RawValue};
use thiserror::Error;

/// Why a function's answer is no HTTP response; told to the caller, so it names no content but the faulty member.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    /// Bytes that are not JSON.
    #[error("The function's answer is not JSON.")]
    NotJson,
    /// No status, or one that no response can have.
    #[error("The statusCode of the function's answer is not a whole number from 200 to 599.")]
    Status,
    /// A member of the wrong type.
    #[error("The {member} of the function's answer must be {expected}.")]
    Member {
        /// Its name.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A header that HTTP does not allow.
    #[error(
        "The header '{0}' of the function's answer has a name or value that HTTP does not allow."
    )]
    Header(String),
}

/// Headers that belong to a connection, and the length, which is counted here.
const NOT_FORWARDED: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Members are looked at one by one, so that a fault can be named.
#[derive(Deserialize)]
struct Structured<'a> {
    #[serde(borrow, rename = "statusCode")]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    #[serde(borrow, rename = "multiValueHeaders")]
    multi_value_headers: Option<&'a RawValue>,
    #[serde(borrow)]
    cookies: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow, rename = "isBase64Encoded")]
    base64: Option<&'a RawValue>,
}

/// Translates an answer.
pub(super) fn translate(answer: &Bytes) -> Result<Response<Full<Bytes>>, Malformed> {
    let text = std::str::from_utf8(answer).map_err(|_| Malformed::NotJson)?;
    if text.trim_ascii_start().starts_with('{') {
        let structured: Structured<'_> =
            serde_json::from_str(text).map_err(|_| Malformed::NotJson)?;
        if let Some(status) = structured.status {
            return respond(answer, status, &structured);
        }
        return Ok(bare(answer.clone()));
    }
    // A string is sent without its quotes, as API Gateway does.
    if text.trim_ascii_start().starts_with('"') {
        let content: Text<'_> = serde_json::from_str(text).map_err(|_| Malformed::NotJson)?;
        return Ok(bare(content.into_bytes(answer)));
    }
    serde_json::from_str::<IgnoredAny>(text).map_err(|_| Malformed::NotJson)?;
    Ok(bare(answer.clone()))
}

fn bare(body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    response
}

fn respond(
    answer: &Bytes,
    status: &RawValue,
    structured: &Structured<'_>,
) -> Result<Response<Full<Bytes>>, Malformed> {
    let body = body(answer, structured)?;
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = parse_status(status)?;
    let headers = response.headers_mut();
    for (name, value) in single_headers(structured.headers)? {
        add(headers, &name, &scalar("headers", &value)?)?;
    }
    for (name, values) in multi_headers(structured.multi_value_headers)? {
        headers.remove(name.as_str());
        for value in values {
            add(headers, &name, &scalar("multiValueHeaders", &value)?)?;
        }
    }
    for cookie in cookies(structured.cookies)? {
        add(headers, "set-cookie", &cookie)?;
    }
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain;charset=utf-8"),
        );
    }
    Ok(response)
}

fn parse_status(raw: &RawValue) -> Result<StatusCode, Malformed> {
    let code = match serde_json::from_str::<Value>(raw.get()) {
        Ok(Value::Number(number)) => number.as_u64().and_then(|code| u16::try_from(code).ok()),
        Ok(Value::String(text)) => text.parse::<u16>().ok(),
        _ => None,
    };
    code.filter(|code| (200..=599).contains(code))
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(Malformed::Status)
}

fn member<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    member: &'static str,
    expected: &'static str,
) -> Result<Option<T>, Malformed> {
    raw.map(|raw| {
        serde_json::from_str(raw.get()).map_err(|_| Malformed::Member { member, expected })
    })
    .transpose()
}

fn body(answer: &Bytes, structured: &Structured<'_>) -> Result<Bytes, Malformed> {
    let text: Option<Text<'_>> = member(
        structured.body,
        "body",
        "a string; write objects as JSON text",
    )?;
    let Some(text) = text else {
        return Ok(Bytes::new());
    };
    let base64: Option<bool> = member(structured.base64, "isBase64Encoded", "true or false")?;
    match base64 {
        Some(true) => STANDARD
            .decode(text.0.as_bytes())
            .map(Bytes::from)
            .map_err(|_| Malformed::Member {
                member: "body",
                expected: "base64, since isBase64Encoded is true",
            }),
        _ => Ok(text.into_bytes(answer)),
    }
}

/// Borrowed where nothing is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Text<'_> {
    /// The text of a part of an answer, not copied where it was borrowed.
    fn into_bytes(self, answer: &Bytes) -> Bytes {
        match self.0 {
            Cow::Borrowed(text) => answer.slice_ref(text.as_bytes()),
            Cow::Owned(text) => text.into(),
        }
    }
}

fn single_headers(raw: Option<&RawValue>) -> Result<BTreeMap<String, Value>, Malformed> {
    Ok(member(raw, "headers", "an object of strings")?.unwrap_or_default())
}

fn multi_headers(raw: Option<&RawValue>) -> Result<BTreeMap<String, Vec<Value>>, Malformed> {
    Ok(member(raw, "multiValueHeaders", "an object of lists of strings")?.unwrap_or_default())
}

fn cookies(raw: Option<&RawValue>) -> Result<Vec<String>, Malformed> {
    Ok(member(raw, "cookies", "a list of strings")?.unwrap_or_default())
}

/// Numbers and booleans are taken as their text.
fn scalar<'v>(member: &'static str, value: &'v Value) -> Result<Cow<'v, str>, Malformed> {
    match value {
        Value::String(text) => Ok(text.into()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string().into()),
        Value::Null => Ok("".into()),
        Value::Array(_) | Value::Object(_) => Err(Malformed::Member {
            member,
            expected: "made of strings",
        }),
    }
}

fn add(headers: &mut HeaderMap, name: &str, value: &str) -> Result<(), Malformed> {
    let refused = || Malformed::Header(name.chars().take(64).collect());
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
    if NOT_FORWARDED.contains(&name.as_str()) {
        return Ok(());
    }
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| refused())?;
    headers.append(name, value);
    Ok(())
}
