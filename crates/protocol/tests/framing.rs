//! What goes in comes out, however the stream is cut; what is garbage is refused and never panics.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::vec;
use proptest::prelude::*;
use warren_protocol::{
    CallStream, ControlCommand, ControlEvent, Decoder, Frame, FrameKind, Header, Hello, InvokeMeta,
    LogRecord, MAX_PAYLOAD, OutputStream, ProtocolError, Welcome, encode_body, encode_frame,
    encode_invoke, encode_invoke_head, encode_log, encode_response, split_invoke,
};

const KINDS: [FrameKind; 15] = [
    FrameKind::Hello,
    FrameKind::Welcome,
    FrameKind::Claim,
    FrameKind::Log,
    FrameKind::Exited,
    FrameKind::Ping,
    FrameKind::Pong,
    FrameKind::Kill,
    FrameKind::Deadline,
    FrameKind::Ready,
    FrameKind::InitError,
    FrameKind::Invoke,
    FrameKind::Body,
    FrameKind::Response,
    FrameKind::Error,
];

fn valid_frame() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let kind = proptest::sample::select(&KINDS[..]);
    (
        kind,
        any::<bool>(),
        1..u32::MAX,
        any::<u32>(),
        vec(any::<u8>(), 0..600),
    )
        .prop_map(|(kind, end, call, mark, payload)| {
            let header = Header {
                end: end || kind == FrameKind::Error,
                call: if kind.has_call() { call } else { 0 },
                mark: if kind.has_mark() { mark } else { 0 },
                ..Header::new(kind, payload.len() as u32)
            };
            (header, payload)
        })
}

/// Pushes `bytes` in pieces of the given sizes (repeated) and takes every frame as soon as it is there.
fn decode_all(bytes: &[u8], sizes: &[usize]) -> Result<Vec<Frame>, ProtocolError> {
    let mut decoder = Decoder::new();
    let mut frames = Vec::new();
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*size));
        decoder.push(piece);
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert!(decoder.is_between_frames());
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_survive_any_split(input in vec(valid_frame(), 1..12), sizes in vec(1usize..700, 1..8)) {
        let mut bytes = Vec::new();
        for (header, payload) in &input {
            encode_frame(&mut bytes, *header, payload);
        }
        let frames = decode_all(&bytes, &sizes).unwrap();
        prop_assert_eq!(frames.len(), input.len());
        for (frame, (header, payload)) in frames.iter().zip(&input) {
            prop_assert_eq!(frame, &Frame::new(*header, payload.clone().into()));
        }
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..4096), sizes in vec(1usize..300, 1..4)) {
        let mut decoder = Decoder::new();
        for piece in bytes.chunks(sizes[0]) {
            decoder.push(piece);
            while let Ok(Some(frame)) = decoder.next_frame() {
                let _ = ControlEvent::parse(frame.clone());
                let _ = ControlCommand::parse(frame);
            }
        }
    }

    #[test]
    fn changed_headers_never_panic((header, payload) in valid_frame(), at in 0usize..16, byte: u8) {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, header, &payload);
        bytes[at] = byte;
        let mut decoder = Decoder::new();
        decoder.push(&bytes);
        let mut stream = CallStream::new();
        while let Ok(Some(frame)) = decoder.next_frame() {
            let _ = ControlEvent::parse(frame.clone());
            let _ = ControlCommand::parse(frame.clone());
            let _ = stream.accept(frame);
        }
    }

    #[test]
    fn garbage_payloads_never_panic(payload in vec(any::<u8>(), 0..400)) {
        let _ = split_invoke(&payload);
        let _ = LogRecord::decode(payload.clone().into());
        let _ = Hello::parse(&payload);
        let _ = Welcome::parse(&payload);
    }

    #[test]
    fn calls_and_answers_survive(id in ".*", client in proptest::option::of(".*"), size in 0usize..3_000_000) {
        let body: Vec<u8> = (0..size).map(|i| i as u8).collect();
        let meta = InvokeMeta {
            id: id.into(),
            deadline: 1_700_000_000_000,
            arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            trace: "".into(),
            client: client.map(Into::into),
            identity: None,
        };
        let mut bytes = Vec::new();
        encode_invoke(&mut bytes, 3, &meta, &body);
        let mut by_parts = Vec::new();
        let first = encode_invoke_head(&mut by_parts, 3, &meta, body.len());
        by_parts.extend_from_slice(&body[..first]);
        if first < body.len() {
            encode_body(&mut by_parts, &body[first..]);
        }
        prop_assert_eq!(&bytes, &by_parts);

        let frames = decode_all(&bytes, &[70_000]).unwrap();
        let (found, start) = split_invoke(&frames[0].payload).unwrap();
        prop_assert_eq!(found, meta);
        let mut joined = start.to_vec();
        for frame in &frames[1..] {
            prop_assert_eq!((frame.kind, frame.call), (FrameKind::Body, 0));
            joined.extend_from_slice(&frame.payload);
        }
        prop_assert!(joined == body);
        let ends: Vec<bool> = frames.iter().map(|frame| frame.end).collect();
        prop_assert_eq!(ends.iter().filter(|end| **end).count(), 1);
        prop_assert_eq!(ends.last(), Some(&true));

        let mut bytes = Vec::new();
        encode_response(&mut bytes, 3, 99, &body);
        let frames = decode_all(&bytes, &[100_000]).unwrap();
        let joined: Vec<u8> = frames.iter().flat_map(|frame| frame.payload.to_vec()).collect();
        prop_assert!(joined == body);
        let last = frames.last().unwrap();
        prop_assert_eq!((last.end, last.mark, last.call), (true, 99, 3));
        prop_assert!(frames.iter().all(|frame| frame.payload.len() <= MAX_PAYLOAD as usize));
    }

    #[test]
    fn logs_survive(output in vec(any::<u8>(), 0..2000), time: u64, mark: u32) {
        let mut bytes = Vec::new();
        encode_log(&mut bytes, OutputStream::Stderr, time, &output, mark);
        let frame = decode_all(&bytes, &[100]).unwrap().remove(0);
        let ControlEvent::Log { record, mark: found } = ControlEvent::parse(frame).unwrap() else {
            panic!("not a log");
        };
        prop_assert_eq!(found, mark);
        prop_assert_eq!((record.stream, record.time_us), (OutputStream::Stderr, time));
        prop_assert_eq!(&record.output[..], &output[..]);
    }
}
