//! A control stream that lies: from its first byte, between calls, and in the middle of one.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{io::AsyncWriteExt, net::UnixStream, sync::watch};
use warren_model::Outcome;
use warren_protocol::{
    Decoder, Exited, FrameKind, Header, MAX_LOG_OUTPUT, MAX_PAYLOAD, OutputStream, encode_empty,
    encode_exited, encode_frame, encode_log, encode_response,
};

use crate::{
    engine::{Agent, Told, next_frame, silence},
    neighbour::Neighbour,
    world::{PING_AFTER, World},
};

/// What a control stream does.
#[derive(Clone, Copy)]
pub(crate) enum Act {
    /// Sends this, and then nothing any more.
    Sends(fn() -> Vec<u8>),
    /// Sends this, and closes.
    SendsAndCloses(fn() -> Vec<u8>),
    /// Sends this again and again.
    Floods(fn() -> Vec<u8>),
}

struct Case {
    name: &'static str,
    act: Act,
    /// Error type and part of the message for a caller who waits meanwhile.
    error: &'static str,
    message: &'static str,
}

const fn case(name: &'static str, act: Act, error: &'static str, message: &'static str) -> Case {
    Case {
        name,
        act,
        error,
        message,
    }
}

const BROKEN: &str = "Runtime.ProtocolError";
const GONE: &str = "Runtime.ExitError";
const LATE: &str = "Sandbox.Timedout";

const CASES: &[Case] = &[
    case(
        "garbage",
        Act::Sends(|| vec![0xAB; 4096]),
        BROKEN,
        "unknown frame kind 0xab",
    ),
    case(
        "other-protocol",
        Act::Sends(|| b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec()),
        BROKEN,
        "unknown frame kind",
    ),
    case(
        "huge-frame",
        Act::Sends(|| announce(FrameKind::Log, u32::MAX)),
        BROKEN,
        "frame of 4294967295 payload bytes, the limit is 1048576",
    ),
    case(
        "long-log",
        Act::Sends(|| frame(FrameKind::Log, &[1; MAX_LOG_OUTPUT + 10])),
        BROKEN,
        "output bytes, the limit is",
    ),
    case(
        "log-of-no-stream",
        Act::Sends(|| frame(FrameKind::Log, &[7; 20])),
        BROKEN,
        "log of output stream 7",
    ),
    case(
        "short-log",
        Act::Sends(|| frame(FrameKind::Log, &[1; 3])),
        BROKEN,
        "LOG payload of 3 bytes",
    ),
    case(
        "answer-of-a-call",
        Act::Sends(|| {
            let mut out = Vec::new();
            encode_response(&mut out, 1, 0, b"\"wrong\"");
            out
        }),
        BROKEN,
        "unexpected RESPONSE frame",
    ),
    case(
        "log-with-a-call",
        Act::Sends(|| {
            let mut bytes = frame(FrameKind::Log, &[1; 20]);
            bytes[8] = 7;
            bytes
        }),
        BROKEN,
        "LOG frame with call number 7",
    ),
    case(
        "ready",
        Act::Sends(|| empty(FrameKind::Ready)),
        BROKEN,
        "unexpected READY frame",
    ),
    case(
        "second-welcome",
        Act::Sends(|| frame(FrameKind::Welcome, b"{}")),
        BROKEN,
        "unexpected WELCOME frame",
    ),
    case(
        "command-of-the-host",
        Act::Sends(|| empty(FrameKind::Kill)),
        BROKEN,
        "unexpected KILL frame",
    ),
    case(
        "health-nobody-asked-for",
        Act::Floods(|| empty(FrameKind::Pong)),
        BROKEN,
        "unexpected PONG frame while no PING",
    ),
    case(
        "end-that-is-no-json",
        Act::Sends(|| frame(FrameKind::Exited, b"{\"code\":")),
        BROKEN,
        "EXITED payload:",
    ),
    case(
        "end-of-another-call",
        Act::Sends(|| exited(&Exited::Code(0), Some(u32::MAX))),
        GONE,
        "without providing a reason",
    ),
    case(
        "endless-ends",
        Act::Floods(|| exited(&Exited::Signal(9), None)),
        GONE,
        "signal: killed",
    ),
    case(
        "long-words",
        Act::Sends(|| exited(&Exited::Spawn("x".repeat(1_000_000)), None)),
        "Runtime.InvalidEntrypoint",
        "xxxx",
    ),
    case(
        "early-close",
        Act::SendsAndCloses(Vec::new),
        GONE,
        "without",
    ),
    case(
        "half-a-frame-and-close",
        Act::SendsAndCloses(half_a_frame),
        GONE,
        "without providing a reason",
    ),
    case("half-a-frame", Act::Sends(half_a_frame), LATE, "timed out"),
    case("silence", Act::Sends(Vec::new), LATE, "timed out"),
    case("endless-logs", Act::Floods(log), LATE, "timed out"),
];

/// Room for what the log's queue may hold on its way to the disk (16 MiB), twice, and for its written form; a flood brings several times as much.
const MOST_MEMORY: u64 = 128 << 20;
/// Bytes of all floods so far.
static SENT: AtomicU64 = AtomicU64::new(0);

fn announce(kind: FrameKind, length: u32) -> Vec<u8> {
    let mut header = Header::new(kind, 0).encode();
    header[..4].copy_from_slice(&length.to_le_bytes());
    header.to_vec()
}

fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_frame(&mut out, Header::new(kind, 0), payload);
    out
}

fn empty(kind: FrameKind) -> Vec<u8> {
    let mut out = Vec::new();
    encode_empty(&mut out, kind);
    out
}

fn exited(how: &Exited, last_call: Option<u32>) -> Vec<u8> {
    let mut out = Vec::new();
    encode_exited(&mut out, how, last_call);
    out
}

fn half_a_frame() -> Vec<u8> {
    let mut bytes = announce(FrameKind::Log, MAX_PAYLOAD);
    bytes.extend_from_slice(&[1; 1000]);
    bytes
}

/// Lines, with a mark that is a lie.
fn log() -> Vec<u8> {
    let mut out = Vec::new();
    let line = [&[b'x'; 1023][..], b"\n"].concat();
    let lines = line.repeat(MAX_LOG_OUTPUT / line.len());
    encode_log(&mut out, OutputStream::Stdout, 0, &lines, u32::MAX);
    out
}

/// What an event of the call stream names.
pub(crate) fn act_of(name: &str) -> Act {
    CASES.iter().find(|case| case.name == name).unwrap().act
}

/// Does it, for as long as the host lets it.
pub(crate) async fn perform(mut stream: UnixStream, act: Act) -> io::Result<()> {
    match act {
        Act::Sends(bytes) => {
            stream.write_all(&bytes()).await?;
            silence(stream).await
        }
        Act::SendsAndCloses(bytes) => stream.write_all(&bytes()).await,
        Act::Floods(bytes) => {
            let bytes = bytes();
            loop {
                stream.write_all(&bytes).await?;
                SENT.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            }
        }
    }
}

/// An honest control stream until it is told otherwise: a KILL is answered by the runtime's end, twice, which must not matter.
pub(crate) async fn control(
    mut stream: UnixStream,
    mut told: watch::Receiver<Told>,
) -> io::Result<()> {
    let mut decoder = Decoder::new();
    loop {
        let mut out = Vec::new();
        tokio::select! {
            frame = next_frame(&mut stream, &mut decoder) => match frame?.kind {
                FrameKind::Kill => {
                    encode_exited(&mut out, &Exited::Signal(9), None);
                    encode_exited(&mut out, &Exited::Signal(9), None);
                }
                FrameKind::Ping => encode_empty(&mut out, FrameKind::Pong),
                _ => {}
            },
            changed = told.changed() => {
                changed.map_err(io::Error::other)?;
                let now = *told.borrow_and_update();
                match now {
                    Told::Nothing => {}
                    Told::Ended(last_call) => encode_exited(&mut out, &Exited::Code(0), Some(last_call)),
                    Told::Act(act) => return perform(stream, act).await,
                }
            }
        }
        stream.write_all(&out).await?;
    }
}

/// The most memory that this process has had since [`forget_peak`], in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_middle_of_a_call_it_ends_that_call_and_no_other() {
    let world = Arc::new(World::start().await);
    let f = world.deploy("f", Agent::Told, 2).await;
    let neighbour = Neighbour::start(&world).await;
    for (ended, case) in CASES.iter().enumerate() {
        let Case { name, .. } = case;
        world.assert_right(&f).await;
        forget_peak();
        let (before, sent) = (peak(), SENT.load(Ordering::Relaxed));
        let (error, message, took) = world.failure(&f, &format!("control: {name}")).await;
        assert_eq!(error, case.error, "{name}: {message}");
        assert!(message.contains(case.message), "{name}: {message}");
        assert!(message.len() < 2_000, "{name}: {}", message.len());
        // The timeout is two seconds, the news of an end are awaited for one.
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
        neighbour.assert_answers().await;
        world.assert_right(&f).await;
        world.wait_killed("f", ended + 1).await;
        let grown = peak() - before;
        let flood = SENT.load(Ordering::Relaxed) - sent;
        println!(
            "{name}: {took:.0?}, {} KiB more, of {} KiB sent in a flood",
            grown >> 10,
            flood >> 10
        );
        assert!(grown < MOST_MEMORY, "{name}: {grown}");
        assert_eq!(world.killed("f"), ended + 1, "{name}");
    }
    println!("the neighbour was answered {} times", neighbour.answered());
    assert_eq!(world.killed("neighbour"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn between_calls_it_costs_the_instance_and_no_call() {
    let world = Arc::new(World::start().await);
    let f = world.deploy("f", Agent::Told, 60).await;
    let neighbour = Neighbour::start(&world).await;
    for (ended, case) in CASES.iter().enumerate() {
        let event = format!("answered, then control: {}", case.name);
        let completed = world.call(&f, &event, false).await.unwrap();
        assert!(matches!(completed.outcome, Outcome::Answer(_)), "{event}");
        if case.error == LATE {
            // Nothing is broken, but whoever is asked does not answer. It and the neighbour's are all instances; its call's log may take a moment.
            while world.invoker.counts().idle < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(2 * PING_AFTER).await;
            assert_eq!(world.killed("f"), ended, "{}", case.name);
        } else {
            world.wait_killed("f", ended + 1).await;
        }
        world.assert_right(&f).await;
        world.wait_killed("f", ended + 1).await;
        neighbour.assert_answers().await;
        assert_eq!(world.killed("f"), ended + 1, "{}", case.name);
    }
    assert_eq!(world.killed("neighbour"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_its_first_byte_it_is_never_ready() {
    let world = Arc::new(World::start().await);
    let neighbour = Neighbour::start(&world).await;
    // Init has 10 s where nothing is said, so all at once; and no flood for so long.
    let cases = CASES.iter().filter(|case| case.name != "endless-logs");
    join_all(cases.map(async |case| {
        let Case { name, .. } = case;
        let function = world.deploy(name, Agent::AtStart(case.act), 1).await;
        let (error, message, took) = world.failure(&function, "honest").await;
        let expected = match case.act {
            // Init is tried again inside the call, and nothing more is said of it.
            Act::Sends(_) if case.error != BROKEN => (LATE, "timed out"),
            _ => (case.error, case.message),
        };
        assert_eq!(error, expected.0, "{name}: {message}");
        assert!(message.contains(expected.1), "{name}: {message}");
        assert!(took < Duration::from_secs(60), "{name}: {took:?}");
        world.wait_killed(name, 1).await;
    }))
    .await;
    neighbour.assert_answers().await;
    assert_eq!(world.killed("neighbour"), 0);
}
