use bytes::Bytes;
use http::HeaderMap;
use percent_encoding::percent_decode_str;
use warren_model::RequestId;

/// One authentic request of the Lambda API.
#[derive(Debug)]
pub(super) struct Call {
    /// Decoded parameters of the path, in order.
    pub(super) parameters: Vec<String>,
    /// Decoded query.
    pub(super) query: Query,
    /// All headers.
    pub(super) headers: HeaderMap,
    /// The whole body.
    pub(super) body: Bytes,
    /// When its head had come.
    pub(super) arrived: std::time::Instant,
    /// Also the invocation's.
    pub(super) request_id: RequestId,
}

impl Call {
    /// A parameter of the path; the route table guarantees those of the operation.
    pub(super) fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// A header, if it is plain text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The query of a request, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`; `+` is a plus, since every SDK writes a space as `%20`.
    pub(super) fn read(raw: &str) -> Self {
        let decode = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Self(
            raw.split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(key), decode(value))
                })
                .collect(),
        )
    }

    /// The first value under a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// All values under a key.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == key)
            .map(|(_, value)| value.as_str())
    }
}
