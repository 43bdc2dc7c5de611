use warren_protocol::{ErrorObject, MAX_PAYLOAD};

use crate::runtime_api::answer::Answer;
use crate::runtime_api::base64;
use crate::runtime_api::http::HttpError;
use crate::runtime_api::relay::PIECE;
use crate::runtime_api::server::Request;

/// An answer that is an error, or turned out to be one: what the host and what the runtime are told.
pub(crate) struct Fault {
    /// The error object for the caller, at most [`MAX_PAYLOAD`] bytes.
    pub(crate) error: Vec<u8>,
    pub(crate) answer: Answer,
}

impl Fault {
    /// Reads the error object that a runtime sends, to be passed on as it is. Without one the header's type makes it.
    pub(crate) fn read(request: &mut Request<'_, '_>) -> Self {
        let kind = request.head.error_type.clone();
        let limit = MAX_PAYLOAD as usize;
        let mut error = Vec::new();
        let mut piece = vec![0; PIECE];
        while !request.body.is_done() {
            match request.read(&mut piece) {
                Ok(count) if error.len() + count > limit => {
                    let message = format!("the error object is larger than {limit} bytes");
                    let kind = kind.unwrap_or_else(|| "Function.ResponseSizeTooLarge".to_owned());
                    return Self {
                        error: ErrorObject::new(kind, message).to_json(),
                        answer: Answer::too_large(limit as u64),
                    };
                }
                Ok(count) => error.extend_from_slice(&piece[..count]),
                Err(error) => return Self::truncated(&error),
            }
        }
        if error.is_empty() {
            error = ErrorObject::new(kind.unwrap_or_else(|| "Runtime.Unknown".to_owned()), "")
                .to_json();
        }
        Self {
            error,
            answer: Answer::accepted(),
        }
    }

    pub(crate) fn too_large(limit: u64) -> Self {
        let message =
            format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
        let error = ErrorObject::new("Function.ResponseSizeTooLarge", message).to_json();
        Self {
            error,
            answer: Answer::too_large(limit),
        }
    }

    pub(crate) fn truncated(error: &HttpError) -> Self {
        let (status, message) = match error {
            HttpError::Io => (400, "HTTP request detected as truncated"),
            HttpError::Bad { status, message } => (*status, *message),
        };
        let error = ErrorObject::new("Runtime.TruncatedResponse", message).to_json();
        Self {
            error,
            answer: Answer::error(status, "TruncatedHTTPRequest", message),
        }
    }

    pub(crate) fn response_mode() -> Self {
        let message = "Invalid function response mode";
        let error = ErrorObject::new("Runtime.InvalidResponseModeHeader", message).to_json();
        Self {
            error,
            answer: Answer::error(400, "InvalidFunctionResponseMode", message),
        }
    }

    /// A streamed answer that failed half-way says so behind its last chunk.
    pub(crate) fn trailers(request: &Request<'_, '_>) -> Self {
        let body = request.body.error_body.as_deref().and_then(base64::decode);
        let error = body.filter(|body| !body.is_empty()).unwrap_or_else(|| {
            let kind = request.body.error_type.clone().unwrap_or_default();
            ErrorObject::new(kind, "").to_json()
        });
        Self {
            error,
            answer: Answer::accepted(),
        }
    }
}
