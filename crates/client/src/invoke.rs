use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use reqwest::{Method, Response};
use warren_model::native::{
    DURATION_HEADER, InvokeOutcome, LOG_TAIL_HEADER, OUTCOME_HEADER, REQUEST_ID_HEADER,
};

use crate::{Client, ClientError};

/// An invocation to make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvokeRequest {
    /// The event: JSON, or nothing for `{}`.
    pub payload: Bytes,
    /// A published version; `$LATEST` without it.
    pub qualifier: Option<String>,
    /// The engine that runs this call; the function's own without it.
    pub engine: Option<String>,
    /// Whether the end of its log is wanted.
    pub tail: bool,
}

/// An invocation that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoked {
    /// How.
    pub outcome: InvokeOutcome,
    /// The answer, or the error.
    pub body: Bytes,
    /// Its id.
    pub request_id: String,
    /// Milliseconds by the server's clock, waiting and cold start included.
    pub duration_ms: f64,
    /// The last 4 KiB of its log, if they were asked for.
    pub log_tail: Option<Vec<u8>>,
}

impl Client {
    /// Invokes a function and waits for its end.
    pub async fn invoke(&self, name: &str, call: InvokeRequest) -> Result<Invoked, ClientError> {
        let mut request = self
            .request(Method::POST, &["functions", name, "invoke"])
            .body(call.payload);
        if call.tail {
            request = request.query(&[("tail", "true")]);
        }
        if let Some(qualifier) = &call.qualifier {
            request = request.query(&[("qualifier", qualifier)]);
        }
        if let Some(engine) = &call.engine {
            request = request.query(&[("engine", engine)]);
        }
        let response = self.send(request).await?;
        let header = |name: &str| text(&response, name);
        let outcome = header(OUTCOME_HEADER)
            .and_then(|outcome| outcome.parse().ok())
            .ok_or_else(|| self.unexpected(format!("no {OUTCOME_HEADER} header")))?;
        let log_tail = header(LOG_TAIL_HEADER)
            .map(|encoded| STANDARD.decode(encoded))
            .transpose()
            .map_err(|_| self.unexpected(format!("a {LOG_TAIL_HEADER} that is not base64")))?;
        let request_id = header(REQUEST_ID_HEADER).unwrap_or_default().to_owned();
        let duration_ms = header(DURATION_HEADER)
            .and_then(|millis| millis.parse().ok())
            .unwrap_or_default();
        let body = response.bytes().await.map_err(|error| self.broken(error))?;
        Ok(Invoked {
            outcome,
            body,
            request_id,
            duration_ms,
            log_tail,
        })
    }
}

fn text<'r>(response: &'r Response, header: &str) -> Option<&'r str> {
    response.headers().get(header)?.to_str().ok()
}
