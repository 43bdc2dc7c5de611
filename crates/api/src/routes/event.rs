//! The event of payload format 2.0, written straight into a buffer: this is on the way of every request to a route.

use std::{borrow::Cow, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, header};
use percent_encoding::percent_decode_str;
use time::{OffsetDateTime, macros::format_description};
use warren_model::{RequestId, Timestamp};

/// What an event is made of.
pub(super) struct Event<'r> {
    /// Of the request.
    pub(super) method: &'r str,
    /// As on the wire.
    pub(super) path: &'r str,
    /// As on the wire, without `?`.
    pub(super) query: &'r str,
    pub(super) headers: &'r HeaderMap,
    pub(super) body: &'r [u8],
    /// As `GET /items/{id}`.
    pub(super) route_key: &'r str,
    /// Parameters of the path, undecoded.
    pub(super) parameters: &'r [(String, &'r str)],
    pub(super) request_id: &'r RequestId,
    pub(super) account: &'r str,
    pub(super) source: IpAddr,
    pub(super) now: Timestamp,
}

/// A JSON object under construction.
struct Object<'b> {
    out: &'b mut Vec<u8>,
    first: bool,
}

fn string(out: &mut Vec<u8>, text: &str) {
    // Writing to memory does not fail.
    let _ = serde_json::to_writer(out, text);
}

impl<'b> Object<'b> {
    fn new(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.first {
            self.out.push(b',');
        }
        self.first = false;
        string(self.out, key);
        self.out.push(b':');
        self.out
    }

    fn text(&mut self, key: &str, value: &str) {
        string(self.key(key), value);
    }

    fn raw(&mut self, key: &str, json: &[u8]) {
        self.key(key).extend_from_slice(json);
    }

    fn object(&mut self, key: &str) -> Object<'_> {
        Object::new(self.key(key))
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

impl Event<'_> {
    /// The event's JSON.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048 + self.body.len() + self.body.len() / 3);
        let mut event = Object::new(&mut out);
        event.text("version", "2.0");
        event.text("routeKey", self.route_key);
        event.text("rawPath", self.path);
        event.text("rawQueryString", self.query);
        self.cookies(&mut event);
        self.headers(event.object("headers"));
        if !self.query.is_empty() {
            self.query_parameters(event.object("queryStringParameters"));
        }
        self.context(event.object("requestContext"));
        if !self.parameters.is_empty() {
            let mut parameters = event.object("pathParameters");
            for (name, value) in self.parameters {
                parameters.text(name, &percent_decode_str(value).decode_utf8_lossy());
            }
            parameters.end();
        }
        self.body(&mut event);
        event.end();
        out
    }

    fn cookies(&self, event: &mut Object<'_>) {
        let mut cookies = self
            .headers
            .get_all(header::COOKIE)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .peekable();
        if cookies.peek().is_none() {
            return;
        }
        let out = event.key("cookies");
        let mut open = b'[';
        for line in cookies {
            for cookie in line.split(';').map(str::trim).filter(|c| !c.is_empty()) {
                out.push(open);
                string(out, cookie);
                open = b',';
            }
        }
        if open == b'[' {
            out.push(open);
        }
        out.push(b']');
    }

    fn headers(&self, mut headers: Object<'_>) {
        for name in self.headers.keys() {
            if *name != header::COOKIE && !is_forwarding(name) {
                headers.text(name.as_str(), &self.joined(name));
            }
        }
        let before = self.joined(&FORWARDED_FOR);
        match before.is_empty() {
            true => headers.text(FORWARDED_FOR.as_str(), &self.source.to_string()),
            false => headers.text(
                FORWARDED_FOR.as_str(),
                &format!("{before}, {}", self.source),
            ),
        }
        // A proxy in front knows better how the client came.
        match self.joined(&FORWARDED_PROTO) {
            proto if proto.is_empty() => headers.text(FORWARDED_PROTO.as_str(), "http"),
            proto => headers.text(FORWARDED_PROTO.as_str(), &proto),
        }
        headers.end();
    }

    /// All values of a header, joined by commas.
    fn joined(&self, name: &HeaderName) -> Cow<'_, str> {
        let mut values = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let first = values.next().unwrap_or_default();
        values.fold(first, |joined, value| format!("{joined},{value}").into())
    }

    /// Decoded; repeated keys joined by commas.
    fn query_parameters(&self, mut parameters: Object<'_>) {
        let mut joined: Vec<(Cow<'_, str>, String)> = Vec::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (key, value) = (form_decode(key), form_decode(value));
            match joined.iter_mut().find(|(found, _)| *found == key) {
                Some((_, values)) => {
                    values.push(',');
                    values.push_str(&value);
                }
                None => joined.push((key, value.into_owned())),
            }
        }
        for (key, value) in &joined {
            parameters.text(key, value);
        }
        parameters.end();
    }

    fn context(&self, mut context: Object<'_>) {
        let host = self.joined(&header::HOST);
        let domain = without_port(&host);
        context.text("accountId", self.account);
        context.text("apiId", "warren");
        context.text("domainName", domain);
        context.text("domainPrefix", domain.split('.').next().unwrap_or(domain));
        let mut http = context.object("http");
        http.text("method", self.method);
        http.text("path", self.path);
        http.text("protocol", "HTTP/1.1");
        http.text("sourceIp", &self.source.to_string());
        http.text("userAgent", &self.joined(&header::USER_AGENT));
        http.end();
        context.text("requestId", self.request_id.as_str());
        context.text("routeKey", self.route_key);
        context.text("stage", "$default");
        context.text("time", &log_time(self.now));
        context.raw("timeEpoch", self.now.as_millis().to_string().as_bytes());
        context.end();
    }

    fn body(&self, event: &mut Object<'_>) {
        let text = match is_text(self.headers) {
            true => std::str::from_utf8(self.body).ok(),
            false => None,
        };
        match text {
            _ if self.body.is_empty() => event.raw("isBase64Encoded", b"false"),
            Some(text) => {
                event.text("body", text);
                event.raw("isBase64Encoded", b"false");
            }
            None => {
                // Base64 needs no escaping.
                let out = event.key("body");
                out.push(b'"');
                out.extend_from_slice(STANDARD.encode(self.body).as_bytes());
                out.push(b'"');
                event.raw("isBase64Encoded", b"true");
            }
        }
    }
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

fn is_forwarding(name: &HeaderName) -> bool {
    *name == FORWARDED_FOR || *name == FORWARDED_PROTO
}

fn form_decode(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        false => percent_decode_str(text).decode_utf8_lossy(),
        true => percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
            .into(),
    }
}

/// `example.org:8080` without the port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// As in the access logs of web servers: `24/Nov/2026:10:22:45 +0000`.
fn log_time(now: Timestamp) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(now.as_millis()) * 1_000_000)
        .ok()
        .and_then(|moment| {
            moment
                .format(format_description!(
                    "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000"
                ))
                .ok()
        })
        .unwrap_or_default()
}

/// Whether API Gateway's HTTP APIs hand a body of this type over as text. All else is base64, forms included.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::CONTENT_ENCODING) {
        return false;
    }
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return true;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    kind.starts_with("text/")
        || matches!(
            kind.as_str(),
            "application/json" | "application/javascript" | "application/xml"
        )
        || kind.ends_with("+json")
        || kind.ends_with("+xml")
}
