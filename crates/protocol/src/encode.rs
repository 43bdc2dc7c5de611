use serde::Serialize;

use crate::frame::{FrameKind, HEADER_LEN, Header, MAX_PAYLOAD};
use crate::invoke::{INVOKE_PREFIX, InvokeMeta};
use crate::messages::{Claim, Deadline, Exited, ExitedMessage, Hello, Init, Welcome};

/// Appends a header.
#[inline]
pub fn encode_header(out: &mut Vec<u8>, header: Header) {
    out.extend_from_slice(&header.encode());
}

/// Appends one frame; `header.length` is set from the payload.
///
/// # Panics
/// The payload is longer than [`MAX_PAYLOAD`]: cutting a body into frames is the caller's part.
pub fn encode_frame(out: &mut Vec<u8>, header: Header, payload: &[u8]) {
    assert!(
        payload.len() <= MAX_PAYLOAD as usize,
        "payload of {} bytes does not fit into a frame",
        payload.len()
    );
    out.reserve(HEADER_LEN + payload.len());
    encode_header(
        out,
        Header {
            length: payload.len() as u32,
            ..header
        },
    );
    out.extend_from_slice(payload);
}

/// Appends a frame without payload: PING, PONG, KILL, SUSPEND, READY, STANDBY.
pub fn encode_empty(out: &mut Vec<u8>, kind: FrameKind) {
    encode_header(out, Header::new(kind, 0));
}

/// Appends HELLO.
pub fn encode_hello(out: &mut Vec<u8>, hello: &Hello) {
    encode_json(out, FrameKind::Hello, hello);
}

/// Appends WELCOME.
pub fn encode_welcome(out: &mut Vec<u8>, welcome: &Welcome) {
    encode_json(out, FrameKind::Welcome, welcome);
}

/// Appends CLAIM.
///
/// # Panics
/// The claim takes more than [`MAX_PAYLOAD`] bytes: command and environment are limited to a fraction of that where they enter.
pub fn encode_claim(out: &mut Vec<u8>, claim: &Claim) {
    encode_json(out, FrameKind::Claim, claim);
}

/// Appends EXITED; `last_call` as in [`ControlEvent::Exited`](crate::ControlEvent::Exited).
pub fn encode_exited(out: &mut Vec<u8>, exited: &Exited, last_call: Option<u32>) {
    let message = ExitedMessage {
        exited: exited.clone(),
        last_call,
    };
    encode_json(out, FrameKind::Exited, &message);
}

/// Appends DEADLINE.
pub fn encode_deadline(out: &mut Vec<u8>, deadline: &Deadline) {
    encode_json(out, FrameKind::Deadline, deadline);
}

/// Appends INIT.
///
/// # Panics
/// As [`encode_claim`].
pub fn encode_init(out: &mut Vec<u8>, init: &Init) {
    encode_json(out, FrameKind::Init, init);
}

/// Appends INIT_ERROR with the given JSON error object, which must fit into one frame.
pub fn encode_init_error(out: &mut Vec<u8>, error: &[u8]) {
    encode_frame(out, Header::new(FrameKind::InitError, 0), error);
}

/// Appends a whole call: INVOKE and as many BODY frames as the body needs.
pub fn encode_invoke(out: &mut Vec<u8>, call: u32, meta: &InvokeMeta<'_>, body: &[u8]) {
    let first = encode_invoke_head(out, call, meta, body.len());
    out.extend_from_slice(&body[..first]);
    if first < body.len() {
        encode_body(out, &body[first..]);
    }
}

/// Appends only the head of a call: header and meta of the INVOKE frame. Gives the number of body bytes that must follow it at once;
/// `END` is set if that is all of `body_len`, else [`encode_body`] goes on from there. For callers that write a large body from where it lies.
pub fn encode_invoke_head(
    out: &mut Vec<u8>,
    call: u32,
    meta: &InvokeMeta<'_>,
    body_len: usize,
) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN + INVOKE_PREFIX]);
    write_json(out, meta);
    let meta_len = out.len() - start - HEADER_LEN - INVOKE_PREFIX;
    let room = (MAX_PAYLOAD as usize).saturating_sub(INVOKE_PREFIX + meta_len);
    let first = body_len.min(room);
    let length = INVOKE_PREFIX + meta_len + first;
    assert!(
        length <= MAX_PAYLOAD as usize,
        "invoke meta of {meta_len} bytes does not fit into a frame"
    );
    let header = Header {
        end: first == body_len,
        call,
        ..Header::new(FrameKind::Invoke, length as u32)
    };
    out[start..start + HEADER_LEN].copy_from_slice(&header.encode());
    out[start + HEADER_LEN..start + HEADER_LEN + INVOKE_PREFIX]
        .copy_from_slice(&(meta_len as u32).to_le_bytes());
    first
}

/// Appends the rest of a call's body as BODY frames, `END` on the last.
pub fn encode_body(out: &mut Vec<u8>, body: &[u8]) {
    encode_pieces(out, body, Header::new(FrameKind::Body, 0), 0);
}

/// Appends a whole answer as RESPONSE frames, `END` and mark on the last.
pub fn encode_response(out: &mut Vec<u8>, call: u32, mark: u32, body: &[u8]) {
    encode_pieces(
        out,
        body,
        Header {
            call,
            ..Header::new(FrameKind::Response, 0)
        },
        mark,
    );
}

/// Appends ERROR with the given JSON error object, which must fit into one frame.
pub fn encode_error(out: &mut Vec<u8>, call: u32, mark: u32, error: &[u8]) {
    encode_frame(
        out,
        Header {
            end: true,
            call,
            mark,
            ..Header::new(FrameKind::Error, 0)
        },
        error,
    );
}

fn encode_pieces(out: &mut Vec<u8>, body: &[u8], header: Header, mark: u32) {
    let frames = body.len().div_ceil(MAX_PAYLOAD as usize).max(1);
    out.reserve(body.len() + frames * HEADER_LEN);
    let mut rest = body;
    loop {
        let (piece, after) = rest.split_at(rest.len().min(MAX_PAYLOAD as usize));
        rest = after;
        let end = rest.is_empty();
        encode_frame(
            out,
            Header {
                end,
                mark: if end { mark } else { 0 },
                ..header
            },
            piece,
        );
        if end {
            return;
        }
    }
}

fn encode_json(out: &mut Vec<u8>, kind: FrameKind, message: &impl Serialize) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_LEN]);
    write_json(out, message);
    let length = out.len() - start - HEADER_LEN;
    assert!(
        length <= MAX_PAYLOAD as usize,
        "{kind} of {length} bytes does not fit into a frame"
    );
    out[start..start + HEADER_LEN].copy_from_slice(&Header::new(kind, length as u32).encode());
}

fn write_json(out: &mut Vec<u8>, message: &impl Serialize) {
    // Writing to a Vec can't fail, and none of the messages has a map whose keys are not strings.
    serde_json::to_writer(out, message).expect("protocol messages are always JSON");
}
