//! An agent that welcomes its host wrongly, late or not at all, over the channel folder that engines use.

use std::{io, os::unix::fs::symlink, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::watch,
};
use warren_engine::host::{channel::Channel, mounts};
use warren_invoker::InvokeError;
use warren_model::InstanceId;
use warren_protocol::{
    AGENT_SOCKET, Decoder, FrameKind, Header, Hello, MAX_PAYLOAD, START_FILE, Secret, StartFile,
    VERSION, Welcome, encode_empty, encode_frame, encode_hello, encode_welcome,
};

use crate::{
    engine::{Agent, Told, next_frame, serve, silence},
    neighbour::Neighbour,
    world::World,
};

/// How an agent welcomes its host.
pub(crate) struct Welcoming {
    name: &'static str,
    how: How,
    /// Part of what the server says.
    reason: &'static str,
}

enum How {
    /// Answers a hello like this, then says nothing any more.
    Says(fn(&StartFile, &Hello) -> Vec<u8>),
    /// The same, and closes.
    SaysAndCloses(fn(&StartFile, &Hello) -> Vec<u8>),
    /// Closes without reading.
    Closes,
    /// Never listens.
    Absent,
    /// Lays a file in the socket's place.
    File,
    /// Lays a link there, to a socket that is none of the sandbox's.
    Link,
    /// As it should be.
    Right,
}

const fn case(name: &'static str, how: How, reason: &'static str) -> Welcoming {
    Welcoming { name, how, reason }
}

const SILENT: &str = "did not answer within";
const CLOSED: &str = "the stream to the sandbox's agent failed: ";

static CASES: [Welcoming; 18] = [
    case("silence", How::Says(|_, _| Vec::new()), SILENT),
    case("absent", How::Absent, SILENT),
    case("close-before-the-hello", How::Closes, CLOSED),
    case(
        "close-after-the-hello",
        How::SaysAndCloses(|_, _| Vec::new()),
        CLOSED,
    ),
    case(
        "half-a-welcome",
        How::Says(|start, hello| {
            let mut bytes = welcome(&start.secret, hello);
            bytes.truncate(bytes.len() / 2);
            bytes
        }),
        SILENT,
    ),
    case(
        "half-a-welcome-and-close",
        How::SaysAndCloses(|_, _| vec![2; 7]),
        CLOSED,
    ),
    case(
        "garbage",
        How::Says(|_, _| vec![0xAB; 4096]),
        "unknown frame kind 0xab",
    ),
    case(
        "huge-frame",
        How::Says(|_, _| {
            let mut bytes = Header::new(FrameKind::Welcome, 0).encode();
            bytes[..4].copy_from_slice(&u32::MAX.to_le_bytes());
            bytes.to_vec()
        }),
        "frame of 4294967295 payload bytes",
    ),
    case(
        "largest-frame",
        How::Says(|_, _| frame(FrameKind::Welcome, &vec![b'['; MAX_PAYLOAD as usize])),
        "WELCOME payload: ",
    ),
    case(
        "another-kind",
        How::Says(|_, _| {
            let mut bytes = Vec::new();
            encode_empty(&mut bytes, FrameKind::Ready);
            bytes
        }),
        "unexpected READY frame",
    ),
    case(
        "echo",
        How::Says(|_, hello| {
            let mut bytes = Vec::new();
            encode_hello(&mut bytes, hello);
            bytes
        }),
        "unexpected HELLO frame",
    ),
    case(
        "another-version",
        How::Says(|start, hello| {
            said(&Welcome {
                version: VERSION + 1,
                ..Welcome::new(&start.secret, hello, "0")
            })
        }),
        "protocol version 2",
    ),
    case(
        "another-secret",
        How::Says(|_, hello| welcome(&Secret::new([7; 32]), hello)),
        "wrong proof",
    ),
    case(
        "another-instance",
        How::Says(|start, hello| {
            let other = Hello {
                instance: "other".into(),
                ..hello.clone()
            };
            welcome(&start.secret, &other)
        }),
        "wrong proof",
    ),
    case(
        "another-nonce",
        How::Says(|start, hello| {
            let other = Hello {
                nonce: "00".into(),
                ..hello.clone()
            };
            welcome(&start.secret, &other)
        }),
        "wrong proof",
    ),
    case(
        "proof-of-the-host",
        How::Says(|start, hello| {
            said(&Welcome {
                proof: hello.proof.clone(),
                ..Welcome::new(&start.secret, hello, "0")
            })
        }),
        "wrong proof",
    ),
    case("file-in-place", How::File, "not a socket"),
    case("link-in-place", How::Link, "not a socket"),
];

static RIGHT: Welcoming = case("right", How::Right, "");

fn welcome(secret: &Secret, hello: &Hello) -> Vec<u8> {
    said(&Welcome::new(secret, hello, "0"))
}

fn said(welcome: &Welcome) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_welcome(&mut bytes, welcome);
    bytes
}

fn frame(kind: FrameKind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, Header::new(kind, 0), payload);
    bytes
}

/// An agent in a channel folder.
pub(crate) async fn listen(
    folder: PathBuf,
    welcoming: &'static Welcoming,
    told: watch::Sender<Told>,
) -> io::Result<()> {
    let start: StartFile = serde_json::from_slice(&std::fs::read(folder.join(START_FILE))?)?;
    let socket = folder.join(AGENT_SOCKET);
    match welcoming.how {
        How::Absent => return Ok(()),
        How::File => return std::fs::write(socket, ""),
        How::Link => return symlink("/run/docker.sock", socket),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, start.clone(), welcoming, told.clone()));
    }
}

async fn answer(
    mut stream: UnixStream,
    start: StartFile,
    welcoming: &'static Welcoming,
    told: watch::Sender<Told>,
) -> io::Result<()> {
    if matches!(welcoming.how, How::Closes) {
        return Ok(());
    }
    let frame = next_frame(&mut stream, &mut Decoder::new()).await?;
    let hello = Hello::parse(&frame.payload).map_err(io::Error::other)?;
    match welcoming.how {
        How::Says(answer) => {
            stream.write_all(&answer(&start, &hello)).await?;
            silence(stream).await
        }
        How::SaysAndCloses(answer) => stream.write_all(&answer(&start, &hello)).await,
        _ => {
            stream.write_all(&welcome(&start.secret, &hello)).await?;
            serve(stream, hello.stream, told).await
        }
    }
}

/// Whether channel folders can be mounted here.
fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let instance = InstanceId::random();
    let mounted = Channel::create(folder.path(), &instance);
    mounts::unmount_below(folder.path()).unwrap();
    if let Err(error) = &mounted {
        println!("SKIPPED: hellos of an agent: {error}");
    }
    mounted.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_welcomes_wrongly_gets_no_call() {
    if !can_mount() {
        return;
    }
    let world = Arc::new(World::start().await);
    let neighbour = Neighbour::start(&world).await;
    let right = world.deploy(RIGHT.name, Agent::Welcomes(&RIGHT), 60).await;
    world.assert_right(&right).await;
    join_all(CASES.iter().map(async |case| {
        let function = world.deploy(case.name, Agent::Welcomes(case), 60).await;
        let begin = std::time::Instant::now();
        let error = world.call(&function, "honest", false).await.unwrap_err();
        let InvokeError::Unavailable(reason) = error else {
            panic!("{}: {error:?}", case.name);
        };
        assert!(reason.contains(case.reason), "{}: {reason}", case.name);
        // Two seconds for the hello, and the wait of a call whose instance can't be started.
        assert!(begin.elapsed() < Duration::from_secs(30), "{}", case.name);
        world.wait_killed(case.name, 1).await;
    }))
    .await;
    neighbour.assert_answers().await;
    world.assert_right(&right).await;
    assert_eq!((world.killed("neighbour"), world.killed("right")), (0, 0));
    drop(neighbour);
    assert!(world.invoker.drain(Duration::from_secs(10)).await);
    assert_eq!(world.killed("right"), 1);
    assert_eq!(world.instance_folders(), 0);
}
