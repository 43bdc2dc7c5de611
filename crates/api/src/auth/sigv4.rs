//! AWS Signature Version 4, the header form, as botocore and the SDKs sign: canonical path encoded twice, repeated query keys sorted, the body hashed
//! even where no `x-amz-content-sha256` names its hash.
//!
//! In two steps, so that a body is read only for a caller who names a known key and a fresh date:
//! `Claim::read` (headers alone), then `Claim::verify` (with the body's digest).

use std::time::Duration;

use http::HeaderMap;
use subtle::ConstantTimeEq;
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc2822,
    macros::format_description,
};
use warren_model::{Digest, Timestamp};

use super::{AuthError, Identity, Keys, Service, canonical, hmac};

/// How far the client's clock may be away.
const SKEW: Duration = Duration::from_secs(15 * 60);
const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Most headers that a signature may name; SDKs name about ten.
const MAX_SIGNED_HEADERS: usize = 64;

/// What the signature covers, besides the body.
#[derive(Debug, Clone, Copy)]
pub struct RequestParts<'r> {
    /// `GET`, `POST`, ...
    pub method: &'r str,
    /// As on the wire, undecoded.
    pub path: &'r str,
    /// As on the wire, without `?`.
    pub query: &'r str,
    /// All of them.
    pub headers: &'r HeaderMap,
}

/// A signature that names our key, region and a fresh date, but is not compared yet.
#[derive(Debug)]
pub struct Claim<'r> {
    parts: RequestParts<'r>,
    service: Service,
    date: String,
    scope: String,
    signed_headers: &'r str,
    signature: &'r str,
}

/// Checks a whole request.
pub fn verify(
    parts: RequestParts<'_>,
    body: &Digest,
    keys: &Keys,
    region: &str,
    now: Timestamp,
) -> Result<Identity, AuthError> {
    Claim::read(parts, keys, region, now)?.verify(body, keys)
}

fn not_acceptable<T>(message: impl Into<String>) -> Result<T, AuthError> {
    Err(AuthError::NotAcceptable(message.into()))
}

/// The service that a request's `Authorization` header is scoped to, believed only for the shape of an error.
pub fn scoped_service(headers: &HeaderMap) -> Option<Service> {
    let text = headers.get("authorization")?.to_str().ok()?;
    let credential = text.split("Credential=").nth(1)?.split(',').next()?;
    Service::of_scope(credential.split('/').nth(3)?)
}

impl<'r> Claim<'r> {
    /// Reads and checks all that needs neither body nor secret.
    pub fn read(
        parts: RequestParts<'r>,
        keys: &Keys,
        region: &str,
        now: Timestamp,
    ) -> Result<Self, AuthError> {
        let authorization = Authorization::read(parts)?;
        let [key_id, scope_date, scope_region, scope_service, terminal] = authorization.credential;
        if key_id != keys.id() {
            return Err(AuthError::UnknownKey(key_id.chars().take(64).collect()));
        }
        if terminal != "aws4_request" {
            return not_acceptable(
                "Credential should be scoped with a valid terminator: 'aws4_request'.",
            );
        }
        if scope_region != region {
            return not_acceptable(format!(
                "Credential should be scoped to a valid region. This Warren is in '{region}'; the request was signed for another. Set AWS_REGION={region}."
            ));
        }
        let Some(service) = Service::of_scope(scope_service) else {
            return not_acceptable(
                "Credential should be scoped to correct service: 'lambda'. This address also answers 'sts'.",
            );
        };
        let date = signing_date(parts.headers)?;
        if !date.starts_with(scope_date) || scope_date.len() != 8 {
            return not_acceptable(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}'.",
                &date[..8]
            ));
        }
        check_skew(&date, now)?;
        check_coverage(parts.headers, authorization.signed_headers)?;
        Ok(Self {
            parts,
            service,
            scope: format!("{scope_date}/{scope_region}/{scope_service}/{terminal}"),
            date,
            signed_headers: authorization.signed_headers,
            signature: authorization.signature,
        })
    }

    /// The service that the caller says it wants.
    pub fn service(&self) -> Service {
        self.service
    }

    /// Compares the signature, in constant time.
    pub fn verify(&self, body: &Digest, keys: &Keys) -> Result<Identity, AuthError> {
        let body = body.to_string();
        if let Some(named) = self.parts.headers.get("x-amz-content-sha256") {
            match named.as_bytes() {
                b"UNSIGNED-PAYLOAD" => {
                    return not_acceptable(
                        "An unsigned payload is not accepted: x-amz-content-sha256 must be the SHA-256 of the body, or be left out.",
                    );
                }
                named if named.starts_with(b"STREAMING-") => {
                    return not_acceptable(
                        "A payload signed in chunks is not accepted: x-amz-content-sha256 must be the SHA-256 of the body, or be left out.",
                    );
                }
                named if !named.eq_ignore_ascii_case(body.as_bytes()) => {
                    return Err(AuthError::Mismatch);
                }
                _ => {}
            }
        }
        let expected = self
            .calculate(&body, keys.secret())
            .ok_or(AuthError::Mismatch)?;
        let mut given = [0; 32];
        let readable = hex::decode_to_slice(self.signature, &mut given).is_ok();
        if readable && bool::from(expected.ct_eq(&given)) {
            Ok(Identity {
                key_id: keys.id().to_owned(),
                service: self.service,
            })
        } else {
            Err(AuthError::Mismatch)
        }
    }

    fn calculate(&self, body: &str, secret: &str) -> Option<[u8; 32]> {
        let names: Vec<&str> = self.signed_headers.split(';').collect();
        let mut request = format!(
            "{}\n{}\n{}\n",
            self.parts.method,
            canonical::path(self.parts.path),
            canonical::query(self.parts.query)
        )
        .into_bytes();
        request.extend(canonical::headers(&names, self.parts.headers)?);
        request.extend(format!("\n{}\n{body}", self.signed_headers).into_bytes());
        let to_sign = format!(
            "{ALGORITHM}\n{}\n{}\n{}",
            self.date,
            self.scope,
            Digest::of(&request)
        );
        let key = self
            .scope
            .split('/')
            .fold(format!("AWS4{secret}").into_bytes(), |key, part| {
                hmac(&key, &[part.as_bytes()]).to_vec()
            });
        Some(hmac(&key, &[to_sign.as_bytes()]))
    }
}

/// The parts of an `Authorization` header.
struct Authorization<'r> {
    credential: [&'r str; 5],
    signed_headers: &'r str,
    signature: &'r str,
}

impl<'r> Authorization<'r> {
    fn read(parts: RequestParts<'r>) -> Result<Self, AuthError> {
        let Some(value) = parts.headers.get("authorization") else {
            if parts.query.contains("X-Amz-Signature=") {
                return Err(AuthError::Incomplete(
                    "A signature in the query string is not accepted here. Sign the request in its Authorization header.".to_owned(),
                ));
            }
            return Err(AuthError::Missing);
        };
        let incomplete = |message: &str| Err(AuthError::Incomplete(message.to_owned()));
        let Ok(text) = value.to_str() else {
            return incomplete("The Authorization header is not plain ASCII text.");
        };
        let Some(fields) = text.trim().strip_prefix(ALGORITHM) else {
            return incomplete(
                "Authorization header requires the algorithm 'AWS4-HMAC-SHA256'. No other form of signature is accepted here.",
            );
        };
        let (mut credential, mut signed_headers, mut signature) = (None, None, None);
        for field in fields.split(',') {
            match field.trim().split_once('=') {
                Some(("Credential", value)) => credential = Some(value),
                Some(("SignedHeaders", value)) => signed_headers = Some(value),
                Some(("Signature", value)) => signature = Some(value),
                _ => {}
            }
        }
        let lacking: Vec<String> = [
            ("Credential", credential),
            ("SignedHeaders", signed_headers),
            ("Signature", signature),
        ]
        .into_iter()
        .filter(|(_, value)| value.is_none_or(str::is_empty))
        .map(|(name, _)| format!("Authorization header requires '{name}' parameter."))
        .collect();
        let (Some(credential), Some(signed_headers), Some(signature), true) =
            (credential, signed_headers, signature, lacking.is_empty())
        else {
            return Err(AuthError::Incomplete(lacking.join(" ")));
        };
        let credential: Vec<&str> = credential.split('/').collect();
        let Ok(credential) = credential.try_into() else {
            return incomplete(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
            );
        };
        Ok(Self {
            credential,
            signed_headers,
            signature,
        })
    }
}

/// `host` and every `x-amz-` header must be signed, so that nothing that steers the request can be added on the way.
fn check_coverage(headers: &HeaderMap, signed: &str) -> Result<(), AuthError> {
    let names: Vec<&str> = signed.split(';').collect();
    if names.len() > MAX_SIGNED_HEADERS {
        return not_acceptable(format!(
            "The signature names {} headers; {MAX_SIGNED_HEADERS} are accepted at most.",
            names.len()
        ));
    }
    if names
        .iter()
        .any(|name| name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase()))
    {
        return not_acceptable(
            "SignedHeaders must be the names of headers in lower case, separated by ';'.",
        );
    }
    let unsigned = std::iter::once("host")
        .chain(
            headers
                .keys()
                .map(http::HeaderName::as_str)
                .filter(|name| name.starts_with("x-amz-")),
        )
        .find(|name| !names.contains(name));
    match unsigned {
        Some("host") => not_acceptable(
            "'host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        Some(name) => not_acceptable(format!(
            "'{name}' must be a 'SignedHeader' in the AWS Authorization."
        )),
        None => Ok(()),
    }
}

/// The moment of signing, in the basic ISO form: from `X-Amz-Date`, else from `Date`.
fn signing_date(headers: &HeaderMap) -> Result<String, AuthError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(date) = text("x-amz-date") {
        let date = date.trim();
        return match parse_date(date) {
            Some(_) => Ok(date.to_owned()),
            None => Err(AuthError::Incomplete(
                "Date must be in ISO-8601 'basic format', such as 20261124T102245Z, in the header X-Amz-Date.".to_owned(),
            )),
        };
    }
    text("date")
        .and_then(|date| OffsetDateTime::parse(date.trim(), &Rfc2822).ok())
        .and_then(|moment| basic(moment.unix_timestamp()))
        .ok_or_else(|| {
            AuthError::Incomplete(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned(),
            )
        })
}

const BASIC: &[time::format_description::BorrowedFormatItem<'_>] =
    format_description!("[year][month][day]T[hour][minute][second]Z");

fn parse_date(text: &str) -> Option<Timestamp> {
    let moment = PrimitiveDateTime::parse(text, BASIC).ok()?.assume_utc();
    Some(Timestamp::from_millis(moment.unix_timestamp() * 1000))
}

fn basic(seconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()?
        .format(BASIC)
        .ok()
}

fn check_skew(date: &str, now: Timestamp) -> Result<(), AuthError> {
    let Some(signed) = parse_date(date) else {
        return not_acceptable("The date of the signature can't be read.");
    };
    let now_s = now.as_millis() / 1000;
    let shown = |seconds| basic(seconds).unwrap_or_default();
    let skew = i64::try_from(SKEW.as_secs()).unwrap_or(i64::MAX);
    let away = signed.as_millis() / 1000 - now_s;
    if away < -skew {
        return not_acceptable(format!(
            "Signature expired: {date} is now earlier than {} ({} - 15 min.) Set the client's clock, or Warren's: they are {} s apart.",
            shown(now_s - skew),
            shown(now_s),
            -away
        ));
    }
    if away > skew {
        return not_acceptable(format!(
            "Signature not yet current: {date} is still later than {} ({} + 15 min.) Set the client's clock, or Warren's: they are {away} s apart.",
            shown(now_s + skew),
            shown(now_s)
        ));
    }
    Ok(())
}

#[cfg(test)]
#[path = "sigv4_tests.rs"]
mod tests;
