use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};
use warren_model::native::{PREFIX, PROBLEM_TYPE, Problem};

use crate::{ClientError, Key};

/// Longest wait for a connection.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Largest piece of a foreign answer that an error message repeats, in characters.
const SHOWN_BODY: usize = 200;

/// One server, and the key that opens it. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// A client of the server at `http://HOST:PORT`. Without a key only what needs none can be asked. Nothing is sent yet.
    pub fn new(server: &str, key: Option<&Key>) -> Result<Self, ClientError> {
        let refused = |reason: &str| ClientError::Address {
            server: server.to_owned(),
            reason: reason.to_owned(),
        };
        let url = reqwest::Url::parse(server)
            .map_err(|_| refused("write it like http://127.0.0.1:7070"))?;
        match url.scheme() {
            "http" => {}
            "https" => {
                return Err(refused(
                    "https is not supported; use a tunnel or a proxy on this machine",
                ));
            }
            _ => return Err(refused("it must begin with http://")),
        }
        let host = url.host_str().ok_or_else(|| refused("it names no host"))?;
        let authorization = key
            .map(|key| {
                let mut value =
                    HeaderValue::from_str(&format!("Bearer {}:{}", key.id(), key.secret()))
                        .map_err(|_| refused("the key has characters that no key has"))?;
                value.set_sensitive(true);
                Ok(value)
            })
            .transpose()?;
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIME);
        if is_loopback(host) {
            // A proxy could not reach this machine's own addresses.
            http = http.no_proxy();
        }
        let http = http
            .build()
            .map_err(|error| refused(&format!("no client can be made: {error}")))?;
        Ok(Self {
            http,
            server: server.trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// The server's address.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// A request to `/api/v1` and then these segments of a path, which are escaped.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut path = format!("{}{PREFIX}", self.server);
        for segment in segments {
            path.push('/');
            path.push_str(&escape(segment));
        }
        let request = self.http.request(method, path);
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    pub(crate) fn json_request(
        &self,
        method: Method,
        segments: &[&str],
        body: &impl Serialize,
    ) -> RequestBuilder {
        self.request(method, segments).json(body)
    }

    /// Sends a request; an answer that is no success is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let response = request.send().await.map_err(|source| {
            let server = self.server.clone();
            match source.is_connect() {
                true => ClientError::Unreachable { server, source },
                false => ClientError::Broken { server, source },
            }
        })?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(self.refusal(response).await),
        }
    }

    /// Sends a request and reads its answer.
    pub(crate) async fn answer<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let bytes = response.bytes().await.map_err(|e| self.broken(e))?;
        serde_json::from_slice(&bytes).map_err(|error| self.unexpected(error.to_string()))
    }

    pub(crate) fn broken(&self, source: reqwest::Error) -> ClientError {
        ClientError::Broken {
            server: self.server.clone(),
            source,
        }
    }

    pub(crate) fn unexpected(&self, reason: String) -> ClientError {
        ClientError::Unexpected {
            server: self.server.clone(),
            reason,
        }
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let status = response.status();
        let is_problem = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(PROBLEM_TYPE.as_bytes()));
        let bytes = match response.bytes().await {
            Ok(bytes) => bytes,
            Err(error) => return self.broken(error),
        };
        let problem = is_problem.then(|| serde_json::from_slice::<Problem>(&bytes));
        match problem {
            Some(Ok(problem)) => ClientError::Refused(Box::new(problem)),
            _ => self.unexpected(shown(status, &bytes)),
        }
    }
}

/// A foreign answer, cut to a length that is safe to print.
fn shown(status: StatusCode, body: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .filter(|character| !character.is_control())
        .take(SHOWN_BODY)
        .collect();
    match text.is_empty() {
        true => format!("status {status}"),
        false => format!("status {status}, '{text}'"),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A text as one segment of a path.
fn escape(segment: &str) -> String {
    let mut escaped = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            // The dot too: a segment of dots alone would be taken for a way up.
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_sent() {
        for (server, words) in [
            ("127.0.0.1:7070", "http"),
            ("https://host", "https is not supported"),
            ("ftp://host", "must begin with http://"),
            ("", "like http://127.0.0.1:7070"),
        ] {
            let error = Client::new(server, None).unwrap_err();
            assert!(error.to_string().contains(words), "{server}: {error}");
        }
        let client = Client::new("http://127.0.0.1:7070/", None).unwrap();
        assert_eq!(client.server(), "http://127.0.0.1:7070");
    }

    #[test]
    fn segments_stay_segments() {
        assert_eq!(escape("a-b_1"), "a-b_1");
        assert_eq!(escape("../a b:1"), "%2E%2E%2Fa%20b%3A1");
    }

    #[test]
    fn loopback_is_known_by_name_and_address() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["example.org", "10.0.0.1", "localhost.example.org"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
