use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::ProtocolError;
use crate::frame::FrameKind;

/// Bytes before the meta in an INVOKE payload: its length.
pub const INVOKE_PREFIX: usize = 4;

/// What comes with a call beside its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvokeMeta<'a> {
    /// The request id, as the handler, the log and the caller see it.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// When the call times out, in milliseconds since the epoch.
    pub deadline: u64,
    /// The function's ARN as the caller qualified it.
    #[serde(borrow)]
    pub arn: Cow<'a, str>,
    /// The X-Ray trace header; empty if there is none.
    #[serde(borrow, default)]
    pub trace: Cow<'a, str>,
    /// The client context, decoded JSON text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Cow<'a, str>>,
    /// The Cognito identity, JSON text.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Cow<'a, str>>,
}

/// Cuts an INVOKE payload into the meta and the first body bytes.
///
/// # Errors
/// The payload is shorter than it says, or the meta is not its JSON.
pub fn split_invoke(payload: &[u8]) -> Result<(InvokeMeta<'_>, &[u8]), ProtocolError> {
    let kind = FrameKind::Invoke;
    let too_short = |needed| ProtocolError::TooShort {
        kind,
        found: payload.len(),
        needed,
    };
    let (prefix, rest) = payload
        .split_first_chunk::<INVOKE_PREFIX>()
        .ok_or_else(|| too_short(INVOKE_PREFIX))?;
    let length = u32::from_le_bytes(*prefix) as usize;
    let (meta, body) = rest
        .split_at_checked(length)
        .ok_or_else(|| too_short(INVOKE_PREFIX.saturating_add(length)))?;
    let meta = serde_json::from_slice(meta).map_err(|error| ProtocolError::Json {
        kind,
        reason: error.to_string(),
    })?;
    Ok((meta, body))
}
