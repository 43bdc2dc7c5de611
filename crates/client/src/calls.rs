use reqwest::Method;
use warren_model::native::{CallPage, Since};

use crate::{Client, ClientError};

/// Which calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallQuery {
    /// Of this function.
    pub function: Option<String>,
    /// On this engine.
    pub engine: Option<String>,
    /// With this outcome: `answer`, `error`, `failed` or `refused`.
    pub outcome: Option<String>,
    /// That arrived no earlier.
    pub since: Option<Since>,
    /// This many at most, the latest ones; the server's choice without it.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl Client {
    /// A page of the records of calls, latest first.
    pub async fn calls(&self, query: &CallQuery) -> Result<CallPage, ClientError> {
        let mut request = match &query.function {
            Some(name) => self.request(Method::GET, &["functions", name, "calls"]),
            None => self.request(Method::GET, &["calls"]),
        };
        let texts = [
            ("engine", query.engine.clone()),
            ("outcome", query.outcome.clone()),
            ("since", query.since.map(|since| since.to_string())),
            ("limit", query.limit.map(|limit| limit.to_string())),
            ("cursor", query.cursor.clone()),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                request = request.query(&[(name, value)]);
            }
        }
        self.answer(request).await
    }
}
