//! The messages as the specification writes them, and the proofs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use warren_protocol::{
    Claim, ControlCommand, ControlEvent, Deadline, Decoder, ErrorObject, Exited, Frame, FrameKind,
    Header, Hello, Interface, LogRecord, MAX_LOG_OUTPUT, ProtocolError, Secret, StartFile,
    StreamKind, Welcome, agent_proof, encode_deadline, encode_empty, encode_exited, encode_hello,
    host_proof, split_invoke, verify_agent_proof, verify_host_proof,
};

fn start() -> StartFile {
    let text = format!(
        r#"{{"version":1,"instance":"i-1","secret":"{}"}}"#,
        "0b".repeat(32)
    );
    serde_json::from_str(&text).unwrap()
}

fn frame(bytes: &[u8]) -> Frame {
    let mut decoder = Decoder::new();
    decoder.push(bytes);
    let frame = decoder.next_frame().unwrap().unwrap();
    assert!(decoder.is_between_frames());
    frame
}

fn frame_of(kind: FrameKind, payload: &'static [u8]) -> Frame {
    Frame::new(
        Header::new(kind, payload.len() as u32),
        Bytes::from_static(payload),
    )
}

/// Computed with Python's hmac module, so that another implementation of the specification agrees.
#[test]
fn proofs_are_those_of_the_specification() {
    let secret = start().secret;
    let host = host_proof(&secret, StreamKind::Control, "i-1", "00ff");
    assert_eq!(host, HOST_PROOF);
    let agent = agent_proof(&secret, StreamKind::Call, "i-1", "00ff");
    assert_eq!(agent, AGENT_PROOF);
    assert!(verify_host_proof(
        &secret,
        StreamKind::Control,
        "i-1",
        "00ff",
        &host
    ));
    assert!(verify_agent_proof(
        &secret,
        StreamKind::Call,
        "i-1",
        "00ff",
        &agent
    ));
    for (stream, instance, nonce, proof) in [
        (StreamKind::Call, "i-1", "00ff", host.as_str()),
        (StreamKind::Control, "i-2", "00ff", &host),
        (StreamKind::Control, "i-1", "00fe", &host),
        (StreamKind::Control, "i-1", "00ff", &agent),
        (StreamKind::Control, "i-1", "00ff", ""),
        (StreamKind::Control, "i-1", "00ff", "zz"),
    ] {
        assert!(!verify_host_proof(&secret, stream, instance, nonce, proof));
    }
    assert!(!verify_host_proof(
        &Secret::new([1; 32]),
        StreamKind::Control,
        "i-1",
        "00ff",
        &host
    ));
}

const HOST_PROOF: &str = "6d6a5e7dddd723282a95b90e9753cac7210305138afbbf5d942303292fa062fd";
const AGENT_PROOF: &str = "d07f8cc214c6b723e753418bf2a56f916a95b48493cfbe26eed423610f9993ea";

#[test]
fn hello_and_welcome_prove_both_sides() {
    let start = start();
    let mut bytes = Vec::new();
    encode_hello(
        &mut bytes,
        &Hello::new(&start.secret, StreamKind::Call, "i-1", "00ff"),
    );
    let hello = Hello::parse(&frame(&bytes).payload).unwrap();
    assert_eq!(hello.check(&start), Ok(()));
    let welcome = Welcome::new(&start.secret, &hello, "0.1.0");
    assert_eq!(welcome.check(&start.secret, &hello), Ok(()));
    assert_eq!(
        welcome.check(&Secret::new([1; 32]), &hello),
        Err(ProtocolError::Proof)
    );

    let changed = |change: fn(&mut Hello)| {
        let mut hello = hello.clone();
        change(&mut hello);
        hello.check(&start)
    };
    assert_eq!(
        changed(|h| h.version = 2),
        Err(ProtocolError::Version { found: 2 })
    );
    assert_eq!(
        changed(|h| h.instance = "i-2".into()),
        Err(ProtocolError::Instance {
            found: "i-2".into()
        })
    );
    assert_eq!(
        changed(|h| h.nonce.clear()),
        Err(ProtocolError::Nonce { found: 0 })
    );
    assert_eq!(
        changed(|h| h.nonce = "0\n".into()),
        Err(ProtocolError::Nonce { found: 2 })
    );
    assert_eq!(
        changed(|h| h.stream = StreamKind::Control),
        Err(ProtocolError::Proof)
    );
    assert_eq!(changed(|h| h.proof.clear()), Err(ProtocolError::Proof));
}

#[test]
fn secrets_stay_out_of_debug_output() {
    assert_eq!(format!("{:?}", start().secret), "Secret(..)");
    let bad = serde_json::from_str::<StartFile>(r#"{"version":1,"instance":"i","secret":"0b0b"}"#);
    assert!(!bad.unwrap_err().to_string().contains("0b0b"));
}

#[test]
fn claim_reads_as_specified() {
    let text = br#"{"command":["/usr/bin/python3","/var/runtime/bootstrap.py"],"interface":"runtime-api",
        "environment":{"_HANDLER":"app.handler"},"directory":"/var/task","uid":993,"gid":990,"open_files":1024,"processes":null}"#;
    let ControlCommand::Claim(claim) =
        ControlCommand::parse(frame_of(FrameKind::Claim, text)).unwrap()
    else {
        panic!("not a claim");
    };
    let expected = Claim {
        command: vec![
            "/usr/bin/python3".into(),
            "/var/runtime/bootstrap.py".into(),
        ],
        interface: Interface::RuntimeApi,
        environment: [("_HANDLER".to_owned(), "app.handler".to_owned())].into(),
        directory: "/var/task".into(),
        uid: 993,
        gid: 990,
        open_files: 1024,
        processes: None,
        snapshot: false,
    };
    assert_eq!(*claim, expected);
    let mut bytes = Vec::new();
    warren_protocol::encode_claim(&mut bytes, &claim);
    assert_eq!(
        ControlCommand::parse(frame(&bytes)),
        Ok(ControlCommand::Claim(claim))
    );
}

#[test]
fn the_end_of_a_runtime_reads_back() {
    for exited in [
        Exited::Code(3),
        Exited::Signal(9),
        Exited::Spawn("no".into()),
    ] {
        for last_call in [None, Some(0), Some(7)] {
            let mut bytes = Vec::new();
            encode_exited(&mut bytes, &exited, last_call);
            let exited = exited.clone();
            assert_eq!(
                ControlEvent::parse(frame(&bytes)),
                Ok(ControlEvent::Exited { exited, last_call })
            );
        }
    }
}

#[test]
fn control_messages_on_the_wire() {
    let payload = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        String::from_utf8(frame(&bytes).payload.to_vec()).unwrap()
    };
    assert_eq!(
        payload(&|out| encode_exited(out, &Exited::Code(3), None)),
        r#"{"code":3}"#
    );
    assert_eq!(
        payload(&|out| encode_exited(out, &Exited::Signal(9), Some(7))),
        r#"{"signal":9,"last_call":7}"#
    );
    assert_eq!(
        payload(&|out| encode_exited(out, &Exited::Spawn("no".into()), None)),
        r#"{"spawn":"no"}"#
    );
    let deadline = |remaining_ms| {
        payload(&|out| {
            encode_deadline(
                out,
                &Deadline {
                    call: 1,
                    remaining_ms,
                },
            )
        })
    };
    assert_eq!(deadline(Some(7)), r#"{"call":1,"remaining_ms":7}"#);
    assert_eq!(deadline(None), r#"{"call":1,"remaining_ms":null}"#);
    assert_eq!(payload(&|out| encode_empty(out, FrameKind::Ping)), "");
}

#[test]
fn each_direction_of_the_control_stream_has_its_kinds() {
    assert_eq!(
        ControlEvent::parse(frame_of(FrameKind::Pong, b"")),
        Ok(ControlEvent::Pong)
    );
    assert!(ControlEvent::parse(frame_of(FrameKind::Ping, b"")).is_err());
    assert!(ControlCommand::parse(frame_of(FrameKind::Exited, br#"{"code":0}"#)).is_err());
    assert_eq!(
        ControlCommand::parse(frame_of(FrameKind::Kill, b"x")),
        Err(ProtocolError::NotEmpty {
            kind: FrameKind::Kill,
            found: 1
        })
    );
    let error = ControlEvent::parse(frame_of(FrameKind::Exited, b"{}")).unwrap_err();
    assert!(error.to_string().starts_with("EXITED payload: "), "{error}");
}

#[test]
fn logs_and_calls_that_are_cut_short_are_refused() {
    let short = LogRecord::decode(Bytes::from_static(b"\x0112345678"));
    assert!(short.is_ok(), "output may be empty");
    assert_eq!(
        LogRecord::decode(Bytes::from_static(b"\x011234567")),
        Err(ProtocolError::TooShort {
            kind: FrameKind::Log,
            found: 8,
            needed: 9
        })
    );
    assert_eq!(
        LogRecord::decode(Bytes::from_static(b"\x0312345678")),
        Err(ProtocolError::OutputStream { found: 3 })
    );
    let mut long = vec![1; 9];
    long.resize(9 + MAX_LOG_OUTPUT + 1, 0);
    assert_eq!(
        LogRecord::decode(long.into()),
        Err(ProtocolError::LogTooLong {
            found: MAX_LOG_OUTPUT + 1
        })
    );
    assert_eq!(
        split_invoke(&[255; 6]),
        Err(ProtocolError::TooShort {
            kind: FrameKind::Invoke,
            found: 6,
            needed: 4 + u32::MAX as usize
        })
    );
}

#[test]
fn error_objects_of_both_languages() {
    let python = ErrorObject::parse(br#"{"errorType":"E","errorMessage":"m","stackTrace":["a"]}"#);
    let javascript = ErrorObject::parse(br#"{"errorType":"E","errorMessage":"m","trace":["a"]}"#);
    assert_eq!(python, javascript);
    let odd = br#"{"errorType":"E","errorMessage":null,"stackTrace":[["f",1]],"more":1}"#;
    assert_eq!(ErrorObject::parse(odd), Some(ErrorObject::new("E", "")));
    assert_eq!(ErrorObject::parse(b"oops"), None);
    let json = ErrorObject::new("E", "m").to_json();
    assert_eq!(json, br#"{"errorType":"E","errorMessage":"m"}"#);
}
