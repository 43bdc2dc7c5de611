use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::BodyExt;
use serde_json::Value;
use warren_invoker::InvokeError;
use warren_model::{Failure, FailureKind, Method, RequestId, RouteMatch, RouteTable, Timestamp};

use super::{
    answer::{Malformed, translate},
    event::Event,
    refusal::Refusal,
};
use crate::edge::BodyError;

const ROUTES: [&str; 8] = [
    "GET /",
    "GET /items",
    "POST /items",
    "GET /items/new",
    "GET /items/{id}",
    "ANY /items/{id}/{part}",
    "ANY /files/{proxy+}",
    "DELETE /only",
];

/// A request to the table above, as the event or the refusal that it becomes.
fn translated(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
    let table: RouteTable<()> = ROUTES
        .iter()
        .map(|route| (route.parse().unwrap(), ()))
        .collect();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    let (route_key, parameters) = match table.find(method, path) {
        RouteMatch::Found {
            route, parameters, ..
        } => (route.to_string(), parameters),
        RouteMatch::MethodNotAllowed(allowed) => {
            return format!("{:?}", Refusal::method_not_allowed(method, &allowed)).into();
        }
        RouteMatch::NotFound => return format!("{:?}", Refusal::not_found(method, path)).into(),
    };
    let event = Event {
        method,
        path,
        query,
        headers: &map,
        body,
        route_key: &route_key,
        parameters: &parameters,
        request_id: &RequestId::new("00000000-0000-4000-8000-000000000000"),
        account: "000000000000",
        source: "192.0.2.7".parse().unwrap(),
        now: Timestamp::from_millis(1_795_516_965_123),
    };
    serde_json::from_slice(&event.write()).unwrap()
}

#[test]
fn a_whole_event() {
    let headers = [
        ("host", "api.example.org:7071"),
        ("user-agent", "curl/8"),
        ("content-type", "application/json"),
        ("accept", "a"),
        ("accept", "b"),
        ("cookie", "a=1; b=\"2\""),
        ("cookie", "c=3"),
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-proto", "https"),
        ("x-text", "ä\"\\"),
    ];
    insta::assert_json_snapshot!(translated(
        "POST",
        "/items/7%2F8/a%20b?q=1&q=2&name=a+b%C3%A4&flag",
        &headers,
        "{\"text\":\"\u{1}ä\"}".as_bytes()
    ));
}

/// One line a case: the members that differ from case to case.
#[test]
fn requests() {
    type Case<'c> = (&'c str, &'c str, &'c [(&'c str, &'c str)], &'c [u8]);
    let kind = |kind| [("content-type", kind)];
    let (json, problem, text, form, octets, upper) = (
        kind("application/json; charset=utf-8"),
        kind("application/problem+json"),
        kind("text/plain"),
        kind("application/x-www-form-urlencoded"),
        kind("application/octet-stream"),
        kind("Text/HTML"),
    );
    let gzip = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let cases: [Case<'_>; 30] = [
        ("GET", "/", &[], b""),
        ("GET", "/items", &[], b""),
        ("GET", "/items?", &[], b""),
        ("GET", "/items?a=1&a=2&b", &[], b""),
        ("GET", "/items?a=x%26y&c=%20+", &[], b""),
        ("GET", "/items/new", &[], b""),
        ("GET", "/items/7", &[], b""),
        ("GET", "/items/a%2Fb", &[], b""),
        ("GET", "/items/%C3%BC", &[], b""),
        ("GET", "/items/%FF", &[], b""),
        ("HEAD", "/items/7", &[], b""),
        ("HEAD", "/items/7/x", &[], b""),
        ("PATCH", "/items/7/x", &[], b""),
        ("PURGE", "/files/x", &[], b""),
        ("GET", "/files/a/b%2Fc//d/", &[], b""),
        ("GET", "/files/", &[], b""),
        ("GET", "/files", &[], b""),
        ("GET", "/none?x=1", &[], b""),
        ("GET", "//", &[], b""),
        ("PUT", "/items", &[], b""),
        ("GET", "/only", &[], b""),
        ("POST", "/items", &[], b"no type"),
        ("POST", "/items", &[], b"\xff\x00"),
        ("POST", "/items", &json, b"{}"),
        ("POST", "/items", &problem, b"{}"),
        ("POST", "/items", &text, b"\xff"),
        ("POST", "/items", &form, b"a=1"),
        ("POST", "/items", &octets, b"text"),
        ("POST", "/items", &upper, b"<p>"),
        ("POST", "/items", &gzip, b"text"),
    ];
    let mut table = String::new();
    for (method, target, headers, body) in cases {
        let event = translated(method, target, headers, body);
        let shown = match &event {
            Value::String(refusal) => refusal.clone(),
            event => {
                let kept = [
                    "routeKey",
                    "rawPath",
                    "rawQueryString",
                    "pathParameters",
                    "queryStringParameters",
                    "body",
                    "isBase64Encoded",
                ];
                let members: Vec<String> = kept
                    .iter()
                    .filter(|name| !event[**name].is_null())
                    .map(|name| format!("{name}={}", event[*name]))
                    .collect();
                members.join(" ")
            }
        };
        writeln!(table, "{method} {target}\n    {shown}").unwrap();
    }
    insta::assert_snapshot!(table);
}

async fn shown(answer: &str) -> String {
    match translate(&answer.to_owned().into()) {
        Err(malformed) => format!("502 {malformed}"),
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers: Vec<String> = parts
                .headers
                .iter()
                .map(|(name, value)| {
                    format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
                })
                .collect();
            format!(
                "{} [{}] {:?}",
                parts.status.as_u16(),
                headers.join(" | "),
                String::from_utf8_lossy(&body)
            )
        }
    }
}

#[tokio::test]
async fn answers() {
    let cases = [
        r#"{"statusCode":200,"body":"hi"}"#,
        r#"{"statusCode":201,"headers":{"Content-Type":"text/html","X-N":1,"x-b":true},"body":"<p>"}"#,
        r#"{"statusCode":"404"}"#,
        r#"{"statusCode":204,"body":null,"headers":null,"cookies":null}"#,
        r#"{"statusCode":200,"cookies":["a=1; Path=/","b=2"],"headers":{"set-cookie":"c=3"}}"#,
        r#"{"statusCode":200,"multiValueHeaders":{"x-a":["1","2"]},"headers":{"x-a":"0"}}"#,
        r#"{"statusCode":200,"body":"aGk=","isBase64Encoded":true,"headers":{"content-type":"image/png"}}"#,
        r#"{"statusCode":200,"headers":{"Content-Length":"999","Transfer-Encoding":"chunked","Connection":"close"},"body":"x"}"#,
        r#"{"message":"bare"}"#,
        r#"{"body":"no status"}"#,
        r#""Hello \"you\"""#,
        "[1, 2]",
        "7",
        "null",
        "  {\"statusCode\": 200}",
        r#"{"statusCode":200,"body":{"a":1}}"#,
        r#"{"statusCode":200,"body":"?","isBase64Encoded":true}"#,
        r#"{"statusCode":200,"isBase64Encoded":"yes","body":""}"#,
        r#"{"statusCode":99}"#,
        r#"{"statusCode":101}"#,
        r#"{"statusCode":600}"#,
        r#"{"statusCode":20.5}"#,
        r#"{"statusCode":true}"#,
        r#"{"statusCode":200,"headers":["a"]}"#,
        r#"{"statusCode":200,"headers":{"a b":"1"}}"#,
        r#"{"statusCode":200,"headers":{"x":"a\r\nset-cookie: evil"}}"#,
        r#"{"statusCode":200,"headers":{"x":{"y":1}}}"#,
        r#"{"statusCode":200,"cookies":"a=1"}"#,
        "",
        "hello",
        "{\"statusCode\":200",
    ];
    let mut table = String::new();
    for case in cases {
        writeln!(table, "{case}\n    {}", shown(case).await).unwrap();
    }
    insta::assert_snapshot!(table);
    assert_eq!(
        translate(&vec![b'"', 0xff, b'"'].into()).unwrap_err(),
        Malformed::NotJson
    );
}

#[tokio::test]
async fn refusals() {
    let failure = |kind, error_type: &str| Failure {
        kind,
        error_type: error_type.to_owned(),
        message: "secret".to_owned(),
    };
    let cases = [
        Refusal::not_found("GET", "/a\"b"),
        Refusal::method_not_allowed("PUT", &[Method::Get, Method::Post]),
        Refusal::head_too_large(16384),
        Refusal::event_too_large(7_000_000),
        Refusal::body(&BodyError::TooLarge(6_291_456)),
        Refusal::body(&BodyError::Slow),
        Refusal::body(&BodyError::Broken),
        Refusal::body(&BodyError::Busy),
        Refusal::from(InvokeError::FunctionConcurrency { limit: 1 }),
        Refusal::from(InvokeError::AccountConcurrency { limit: 1000 }),
        Refusal::from(InvokeError::HostBusy { retry_after_s: 7 }),
        Refusal::from(InvokeError::Unavailable("secret".to_owned())),
        Refusal::from(InvokeError::Stopping),
        Refusal::from(InvokeError::Changed),
        Refusal::raised(),
        Refusal::failed(&failure(FailureKind::TimedOut, "Sandbox.Timedout"), 3),
        Refusal::failed(&failure(FailureKind::Exited, "Runtime.ExitError"), 3),
        Refusal::failed(
            &failure(FailureKind::Broken, "Function.ResponseSizeTooLarge"),
            3,
        ),
        Refusal::failed(&failure(FailureKind::Broken, "Runtime.Unknown"), 3),
        Refusal::failed(&failure(FailureKind::Platform, "InternalError"), 3),
        Refusal::malformed(&Malformed::Status),
    ];
    let mut table = String::new();
    for case in cases {
        let (parts, body) = case.respond(&RequestId::new("id")).into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(!body.contains("secret"), "{body}");
        let extra: Vec<String> = ["allow", "retry-after"]
            .iter()
            .filter_map(|name| {
                Some(format!(
                    "{name}={} ",
                    parts.headers.get(*name)?.to_str().unwrap()
                ))
            })
            .collect();
        writeln!(table, "{} {}{body}", parts.status.as_u16(), extra.concat()).unwrap();
    }
    insta::assert_snapshot!(table);
}
