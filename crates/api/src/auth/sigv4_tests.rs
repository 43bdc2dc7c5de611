//! Requests that botocore signed and the JavaScript SDK signed (fixtures/sigv4_vectors.py, fixtures/sigv4_js.mjs), as they are and altered.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixture {
    key_id: String,
    secret: String,
    vectors: Vec<Vector>,
}

#[derive(Deserialize, Clone)]
struct Vector {
    name: String,
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: String,
    now: i64,
}

impl Vector {
    fn header(&mut self, name: &str) -> &mut String {
        let found = self
            .headers
            .iter_mut()
            .find(|(key, _)| key.eq_ignore_ascii_case(name));
        &mut found.unwrap().1
    }

    fn verify(&self, keys: &Keys) -> Result<Identity, AuthError> {
        let mut headers = HeaderMap::new();
        for (key, value) in &self.headers {
            headers.append(
                HeaderName::from_bytes(key.to_lowercase().as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        let parts = RequestParts {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &headers,
        };
        let body = Digest::of(&STANDARD.decode(&self.body).unwrap());
        verify(
            parts,
            &body,
            keys,
            "us-east-1",
            Timestamp::from_millis(self.now),
        )
    }
}

type Alter = fn(&mut Vector);

fn fixture() -> (Keys, Vec<Vector>) {
    read(include_str!("../../fixtures/sigv4.json"))
}

fn read(fixture: &str) -> (Keys, Vec<Vector>) {
    let fixture: Fixture = serde_json::from_str(fixture).unwrap();
    (Keys::new(fixture.key_id, fixture.secret), fixture.vectors)
}

fn vector(name: &str) -> (Keys, Vector) {
    let (keys, vectors) = fixture();
    let found = vectors.into_iter().find(|vector| vector.name == name);
    (keys, found.unwrap())
}

#[test]
fn accepts_what_botocore_signs() {
    let (keys, vectors) = fixture();
    assert!(vectors.len() >= 20);
    for vector in vectors {
        let identity = vector.verify(&keys);
        assert!(identity.is_ok(), "{}: {identity:?}", vector.name);
        let sts = vector.name == "caller identity";
        assert_eq!(identity.unwrap().service == Service::Sts, sts);
    }
}

#[test]
fn accepts_what_the_javascript_sdk_signs() {
    let (keys, vectors) = read(include_str!("../../fixtures/sigv4_js.json"));
    assert!(vectors.len() >= 3);
    for mut vector in vectors {
        assert!(vector.verify(&keys).is_ok(), "{}", vector.name);
        vector.query.push_str("&x=1");
        assert_eq!(vector.verify(&keys), Err(AuthError::Mismatch));
    }
}

#[test]
fn any_altered_part_is_refused() {
    let alterations: [(&str, Alter); 9] = [
        ("method", |v| v.method = "PUT".to_owned()),
        ("path", |v| v.path.push('x')),
        ("query", |v| v.query.push_str("&Qualifier=1")),
        ("body", |v| v.body = STANDARD.encode("{}")),
        ("header", |v| "None".clone_into(v.header("x-amz-log-type"))),
        ("host", |v| "127.0.0.1:9999".clone_into(v.header("host"))),
        ("date", |v| {
            "20261124T102246Z".clone_into(v.header("x-amz-date"))
        }),
        ("signature", |v| v.header("authorization").push('0')),
        ("header gone", |v| {
            v.headers
                .retain(|(key, _)| !key.eq_ignore_ascii_case("x-amz-log-type"));
        }),
    ];
    let (keys, original) = vector("invoke");
    for (name, alter) in alterations {
        let mut altered = original.clone();
        alter(&mut altered);
        assert_eq!(altered.verify(&keys), Err(AuthError::Mismatch), "{name}");
    }
    let (keys, mut repeated) = vector("untag, repeated keys");
    repeated.query = repeated.query.replace("tagKeys=z&", "");
    assert_eq!(repeated.verify(&keys), Err(AuthError::Mismatch));
    let other = Keys::new(keys.id().to_owned(), "another".to_owned());
    assert_eq!(original.verify(&other), Err(AuthError::Mismatch));
}

#[test]
fn each_fault_has_its_code_and_words() {
    let cases: [(&str, &str, Alter); 17] = [
        (
            "MissingAuthenticationTokenException",
            "Missing Authentication Token",
            |v| {
                v.headers
                    .retain(|(key, _)| !key.eq_ignore_ascii_case("authorization"));
            },
        ),
        (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
            |v| {
                let changed = v.header("authorization").replace("WARREN", "AKIAIO");
                *v.header("authorization") = changed;
            },
        ),
        (
            "IncompleteSignatureException",
            "requires 'Signature' parameter",
            |v| {
                let changed = v.header("authorization").replace("Signature=", "Sign=");
                *v.header("authorization") = changed;
            },
        ),
        (
            "IncompleteSignatureException",
            "requires the algorithm",
            |v| {
                "Basic eDp5".clone_into(v.header("authorization"));
            },
        ),
        ("IncompleteSignatureException", "5 slash-delimited", |v| {
            let changed = v.header("authorization").replace("/aws4_request", "");
            *v.header("authorization") = changed;
        }),
        ("InvalidSignatureException", "terminator", |v| {
            let changed = v
                .header("authorization")
                .replace("aws4_request", "aws5_request");
            *v.header("authorization") = changed;
        }),
        (
            "InvalidSignatureException",
            "Set AWS_REGION=us-east-1",
            |v| {
                let changed = v.header("authorization").replace("us-east-1", "eu-west-1");
                *v.header("authorization") = changed;
            },
        ),
        (
            "InvalidSignatureException",
            "correct service: 'lambda'",
            |v| {
                let changed = v.header("authorization").replace("/lambda/", "/s3/");
                *v.header("authorization") = changed;
            },
        ),
        (
            "InvalidSignatureException",
            "Signature expired: 20261124T102245Z is now earlier than 20261124T102246Z (20261124T103746Z - 15 min.)",
            |v| v.now += 901_000,
        ),
        (
            "InvalidSignatureException",
            "Signature not yet current",
            |v| v.now -= 901_000,
        ),
        (
            "InvalidSignatureException",
            "Date in Credential scope",
            |v| {
                let changed = v.header("authorization").replace("20261124", "20261123");
                *v.header("authorization") = changed;
            },
        ),
        ("IncompleteSignatureException", "ISO-8601", |v| {
            "today".clone_into(v.header("x-amz-date"))
        }),
        (
            "IncompleteSignatureException",
            "either a 'X-Amz-Date'",
            |v| {
                v.headers
                    .retain(|(key, _)| !key.eq_ignore_ascii_case("x-amz-date"));
            },
        ),
        ("InvalidSignatureException", "'host' or ':authority'", |v| {
            let changed = v.header("authorization").replace("host;", "");
            *v.header("authorization") = changed;
        }),
        (
            "InvalidSignatureException",
            "'x-amz-invocation-type' must be a 'SignedHeader'",
            |v| {
                v.headers
                    .push(("X-Amz-Invocation-Type".to_owned(), "DryRun".to_owned()));
            },
        ),
        ("InvalidSignatureException", "in lower case", |v| {
            let changed = v.header("authorization").replace("=host", "=Host;host");
            *v.header("authorization") = changed;
        }),
        (
            "IncompleteSignatureException",
            "query string is not accepted",
            |v| {
                v.headers
                    .retain(|(key, _)| !key.eq_ignore_ascii_case("authorization"));
                "X-Amz-Signature=00".clone_into(&mut v.query);
            },
        ),
    ];
    let (keys, original) = vector("list");
    for (code, words, alter) in cases {
        let mut altered = original.clone();
        // A header that sorts before `host` makes room for the case that drops `host`.
        if words.starts_with("'host'") {
            altered = vector("create").1;
        }
        alter(&mut altered);
        let error = altered.verify(&keys).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(words), "{error} / {words}");
    }
}

#[test]
fn the_named_hash_must_be_the_body_s() {
    let (keys, original) = vector("content hash header");
    for (value, words) in [
        ("UNSIGNED-PAYLOAD", "unsigned payload"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "signed in chunks"),
        ("00", "does not match"),
    ] {
        let mut altered = original.clone();
        value.clone_into(altered.header("x-amz-content-sha256"));
        let error = altered.verify(&keys).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
    let mut unsigned = original;
    let changed = unsigned
        .header("authorization")
        .replace("x-amz-content-sha256;", "");
    *unsigned.header("authorization") = changed;
    assert!(unsigned.verify(&keys).is_err());
}

#[test]
fn fifteen_minutes_are_tolerated() {
    let (keys, original) = vector("list");
    for seconds in [-900, 900] {
        let mut moved = original.clone();
        moved.now += seconds * 1000;
        assert!(moved.verify(&keys).is_ok(), "{seconds}");
    }
}
