//! The invoker driven by an agent that lies, floods, hangs or goes away (decision 0001, point 3): that instance ends, its caller is told, and the next call is right.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can not go on says so by a panic"
)]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::watch,
};
use warren_engine::{
    Capabilities, Engine, EngineError, Reaped, Refusal, Sandbox, SandboxSpec, Unavailable, Usage,
};
use warren_invoker::{
    Builds, BusyPoll, Completed, Engines, Invocation, InvokeError, Invoker, Launcher,
};
use warren_model::{
    Account, Config, EngineName, InstanceId, NetworkPolicy, Outcome, RequestId, State, Timestamp,
    Version,
};
use warren_package::{FileBlobs, Unpacked, zip_inline};
use warren_protocol::{
    Decoder, Exited, Frame, FrameKind, Header, StreamKind, encode_empty, encode_error,
    encode_exited, encode_frame, encode_init_error, encode_response, split_invoke,
};
use warren_registry::{NewFunction, Registry};
use warren_runtimes::{Catalogue, Kit, Tree, Trees};
use warren_store::SqliteStore;
use warren_telemetry::FunctionLogs;

/// Starts sandboxes whose agent is a task of this test.
struct FakeEngine {
    killed: Arc<AtomicUsize>,
    /// While it is set, nothing can be removed.
    stuck: Arc<AtomicBool>,
}

struct FakeSandbox {
    id: InstanceId,
    killed: Arc<AtomicUsize>,
    stuck: Arc<AtomicBool>,
    /// The last call that the runtime was given, once it has ended by itself.
    ended: watch::Sender<Option<u32>>,
}

#[async_trait]
impl Engine for FakeEngine {
    fn name(&self) -> EngineName {
        EngineName::Docker
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        Ok(Capabilities {
            detail: "in memory".into(),
        })
    }

    fn admit(&self, _config: &Config) -> Result<(), Refusal> {
        Ok(())
    }

    fn default_network(&self) -> NetworkPolicy {
        NetworkPolicy::None
    }

    async fn prepare(&self, _tree: &Tree, _config: &Config) -> Result<(), EngineError> {
        Ok(())
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        Ok(Arc::new(FakeSandbox {
            id: spec.instance,
            killed: Arc::clone(&self.killed),
            stuck: Arc::clone(&self.stuck),
            ended: watch::Sender::new(None),
        }))
    }

    async fn reap(&self, _keep: &HashSet<InstanceId>) -> Result<Reaped, EngineError> {
        Ok(Reaped::default())
    }
}

#[async_trait]
impl Sandbox for FakeSandbox {
    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn evidence(&self) -> String {
        "none".into()
    }

    async fn open(&self, kind: StreamKind) -> Result<UnixStream, EngineError> {
        let (host, agent) = UnixStream::pair().unwrap();
        // A stream that breaks ends its task, which is what is tried here.
        let ended = self.ended.clone();
        tokio::spawn(async move {
            let _ = match kind {
                StreamKind::Control => control(agent, ended.subscribe()).await,
                StreamKind::Call => calls(agent, &ended).await,
            };
        });
        Ok(host)
    }

    fn seal(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn usage(&self) -> Option<Usage> {
        None
    }

    fn peak_bytes(&self) -> Option<u64> {
        None
    }

    async fn kill(&self) -> Result<(), EngineError> {
        self.killed.fetch_add(1, Ordering::Relaxed);
        match self.stuck.load(Ordering::Relaxed) {
            true => Err(EngineError::NotASocket),
            false => Ok(()),
        }
    }
}

async fn next_frame(stream: &mut UnixStream, decoder: &mut Decoder) -> std::io::Result<Frame> {
    loop {
        if let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
            return Ok(frame);
        }
        if stream.read_buf(decoder.buffer_mut(4096)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// An honest control stream: a KILL is answered by the runtime's end, twice, which must not matter.
async fn control(
    mut stream: UnixStream,
    mut ended: watch::Receiver<Option<u32>>,
) -> std::io::Result<()> {
    let mut decoder = Decoder::new();
    loop {
        let mut out = Vec::new();
        let frame = tokio::select! {
            frame = next_frame(&mut stream, &mut decoder) => frame?,
            _ = ended.changed() => {
                let last_call = *ended.borrow_and_update();
                encode_exited(&mut out, &Exited::Code(0), last_call);
                stream.write_all(&out).await?;
                continue;
            }
        };
        if frame.kind == FrameKind::Kill {
            encode_exited(&mut out, &Exited::Signal(9), None);
            encode_exited(&mut out, &Exited::Signal(9), None);
            stream.write_all(&out).await?;
        }
    }
}

/// A call stream that does what the event says.
async fn calls(mut stream: UnixStream, ended: &watch::Sender<Option<u32>>) -> std::io::Result<()> {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    encode_empty(&mut out, FrameKind::Ready);
    stream.write_all(&out).await?;
    loop {
        let frame = next_frame(&mut stream, &mut decoder).await?;
        if frame.kind != FrameKind::Invoke {
            continue;
        }
        let call = frame.call;
        let (_, event) = split_invoke(&frame.payload).map_err(std::io::Error::other)?;
        out.clear();
        match event {
            b"\"honest\"" => encode_response(&mut out, call, 0, b"\"right\""),
            // Output that never comes: only the log waits for it, and not for long.
            b"\"lying mark\"" => encode_response(&mut out, call, 77, b"\"right\""),
            b"\"other call\"" => encode_response(&mut out, call + 1, 0, b"\"wrong\""),
            b"\"finished call\"" => encode_response(&mut out, call - 1, 0, b"\"wrong\""),
            b"\"garbage\"" => out.extend_from_slice(&[0xAB; 4096]),
            b"\"huge frame\"" => {
                let mut header = Header::new(FrameKind::Response, 0).encode();
                header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
                out.extend_from_slice(&header);
            }
            b"\"ready twice\"" => encode_empty(&mut out, FrameKind::Ready),
            b"\"init error\"" => encode_init_error(&mut out, b"{}"),
            b"\"closed\"" => return Ok(()),
            b"\"last\"" => {
                encode_response(&mut out, call, 0, b"\"right\"");
                stream.write_all(&out).await?;
                // The next call has come, and nobody reads it.
                stream.readable().await?;
                return Ok(());
            }
            b"\"not given\"" | b"\"given\"" => {
                let given = event == b"\"given\"";
                ended.send_replace(Some(if given { call } else { call - 1 }));
                return Ok(());
            }
            b"\"last, and not given\"" => {
                encode_response(&mut out, call, 0, b"\"right\"");
                stream.write_all(&out).await?;
                next_frame(&mut stream, &mut decoder).await?;
                ended.send_replace(Some(call));
                return Ok(());
            }
            b"\"silence\"" => continue,
            b"\"endless\"" => loop {
                let header = Header {
                    call,
                    ..Header::new(FrameKind::Response, 0)
                };
                out.clear();
                encode_frame(&mut out, header, &[b'x'; 65_536]);
                stream.write_all(&out).await?;
            },
            b"\"twice\"" => {
                encode_response(&mut out, call, 0, b"\"right\"");
                encode_response(&mut out, call, 0, b"\"wrong\"");
            }
            _ => encode_error(&mut out, call, 0, b"{\"errorType\":\"Unknown\"}"),
        }
        stream.write_all(&out).await?;
    }
}

struct World {
    invoker: Invoker,
    version: Arc<Version>,
    killed: Arc<AtomicUsize>,
    stuck: Arc<AtomicBool>,
    _folder: tempfile::TempDir,
}

impl World {
    async fn start() -> Self {
        Self::of(16).await
    }

    /// With at most so many instances.
    async fn of(instances: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let catalogue = Arc::new(Catalogue::built_in().unwrap());
        let recipe = catalogue.resolve("python3.13").unwrap().recipe;
        let tree = path.join("cache/trees").join(recipe.tree_digest().as_str());
        std::fs::create_dir_all(tree.join("rootfs")).unwrap();
        std::fs::write(
            tree.join("tree.toml"),
            "recipe = \"python3.13\"\nsize_bytes = 0\nbuild_ms = 0\nbuilt_at = 0\n",
        )
        .unwrap();
        let killed = Arc::new(AtomicUsize::new(0));
        let stuck = Arc::new(AtomicBool::new(false));
        let engine = FakeEngine {
            killed: Arc::clone(&killed),
            stuck: Arc::clone(&stuck),
        };
        let launcher = Arc::new(Launcher {
            memory_mb: 4_096,
            kit: Kit::install(path, &catalogue).unwrap(),
            catalogue: Arc::clone(&catalogue),
            trees: Trees::new(path.join("cache")),
            blobs: Arc::new(FileBlobs::open(&path.join("blobs")).await.unwrap()),
            unpacked: Arc::new(Unpacked::open(&path.join("code")).await.unwrap()),
            engines: Engines::from([(EngineName::Docker, Arc::new(engine) as _)]),
            builds: Builds::default(),
        });
        let registry = Registry::open(warren_registry::Parts {
            store: Arc::new(SqliteStore::open(&path.join("warren.db")).await.unwrap()),
            blobs: Arc::clone(&launcher.blobs),
            unpacked: Arc::clone(&launcher.unpacked),
            ledger: Arc::new(warren_registry::Ledger::open(path).unwrap()),
            catalogue,
            preparer: Arc::clone(&launcher) as _,
            account: Account::default(),
            clock: || Timestamp::from(SystemTime::now()),
        })
        .await
        .unwrap();
        let invoker = Invoker::start(warren_invoker::Parts {
            registry: registry.clone(),
            launcher,
            logs: FunctionLogs::open(&path.join("logs")).unwrap(),
            busy_poll: BusyPoll::new(Duration::from_secs(60)),
            settings: warren_scheduler::Settings::new(4_096, instances),
        });
        let name: warren_model::FunctionName = "f".parse().unwrap();
        registry
            .create(NewFunction {
                name: name.clone(),
                config: config(),
                zip: zip_inline(&[("app.py", "")]).unwrap().into(),
                tags: Default::default(),
                routes: Vec::new(),
                publish: false,
                reserved_concurrency: None,
            })
            .await
            .unwrap();
        let mut changes = registry.changes();
        let version = loop {
            let entry = Arc::clone(registry.snapshot().function(&name).unwrap());
            assert_ne!(entry.latest.state, State::Failed, "{entry:?}");
            match &entry.ready {
                Some(ready) => break Arc::clone(ready),
                None => changes.changed().await.unwrap(),
            }
        };
        Self {
            invoker,
            version,
            killed,
            stuck,
            _folder: folder,
        }
    }

    async fn call(&self, event: &'static str, tail: bool) -> Result<Completed, InvokeError> {
        let invocation = Invocation {
            version: Arc::clone(&self.version),
            request_id: RequestId::random(),
            payload: Bytes::from_static(event.as_bytes()),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            client_context: None,
            trace: None,
            tail,
        };
        self.invoker.invoke(invocation).await
    }

    async fn assert_right(&self) {
        let completed = self.call("\"honest\"", false).await.unwrap();
        assert_eq!(
            completed.outcome,
            Outcome::Answer(Bytes::from_static(b"\"right\""))
        );
    }
}

fn config() -> Config {
    Config {
        runtime: "python3.13".into(),
        handler: "app.handler".into(),
        role: "arn:aws:iam::000000000000:role/none".into(),
        description: String::new(),
        timeout: warren_model::Timeout::new(1).unwrap(),
        memory: Default::default(),
        ephemeral_storage: Default::default(),
        environment: Default::default(),
        engine: EngineName::Docker,
        network: NetworkPolicy::None,
        inert: Default::default(),
    }
}

/// The error type that the caller of a hostile event gets, and how long it took.
async fn failure(world: &World, event: &'static str) -> (String, Duration) {
    let begin = Instant::now();
    let completed = world.call(event, false).await.unwrap();
    match completed.outcome {
        Outcome::Failed(failure) => (failure.error_type, begin.elapsed()),
        other => panic!("{event}: {other:?}"),
    }
}

/// One that is gone and not removed still has its memory, as far as anybody knows.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_counts_until_it_is_removed() {
    let world = World::of(1).await;
    world.stuck.store(true, Ordering::Relaxed);
    failure(&world, "\"garbage\"").await;
    let mut next = Box::pin(world.call("\"honest\"", false));
    let waits = tokio::time::timeout(Duration::from_millis(500), &mut next).await;
    assert!(waits.is_err(), "{waits:?}");
    let counts = world.invoker.counts();
    assert_eq!(
        (counts.stopping, counts.starting, counts.waiting),
        (1, 0, 1)
    );
    assert!(world.killed.load(Ordering::Relaxed) > 0, "it was tried");
    world.stuck.store(false, Ordering::Relaxed);
    let completed = next.await.unwrap();
    assert_eq!(
        completed.outcome,
        Outcome::Answer(Bytes::from_static(b"\"right\""))
    );
    assert!(world.killed.load(Ordering::Relaxed) > 1, "and tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_runtime_ends_its_own_instance_and_no_other_call() {
    let world = World::start().await;
    for (ended, (event, expected)) in [
        ("\"other call\"", "Runtime.ProtocolError"),
        ("\"finished call\"", "Runtime.ProtocolError"),
        ("\"garbage\"", "Runtime.ProtocolError"),
        ("\"huge frame\"", "Runtime.ProtocolError"),
        ("\"ready twice\"", "Runtime.ProtocolError"),
        ("\"init error\"", "Runtime.ProtocolError"),
        ("\"endless\"", "Function.ResponseSizeTooLarge"),
        ("\"closed\"", "Runtime.ExitError"),
        ("\"silence\"", "Sandbox.Timedout"),
    ]
    .into_iter()
    .enumerate()
    {
        world.assert_right().await;
        let (error_type, took) = failure(&world, event).await;
        assert_eq!(error_type, expected, "{event}");
        // The timeout is one second, the news of an end are awaited for one.
        assert!(took < Duration::from_secs(5), "{event}: {took:?}");
        world.assert_right().await;
        // The instance was ended, if not at this very moment.
        while world.killed.load(Ordering::Relaxed) <= ended {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_runtime_was_given_goes_to_another_instance() {
    let world = World::start().await;
    for event in ["\"last\"", "\"last, and not given\""] {
        for _ in 0..5 {
            let completed = world.call(event, false).await.unwrap();
            assert!(matches!(completed.outcome, Outcome::Answer(_)), "{event}");
            // Sent to an instance that ends without it.
            let completed = world.call("\"honest\"", true).await.unwrap();
            let right = Outcome::Answer(Bytes::from_static(b"\"right\""));
            assert_eq!(completed.outcome, right, "{event}");
            let tail = String::from_utf8(completed.log_tail.unwrap()).unwrap();
            assert_eq!(tail.matches("START").count(), 1, "{tail}");
        }
    }
    // Not for ever: an instance that never answered ends with its call.
    assert_eq!(
        failure(&world, "\"not given\"").await.0,
        "Runtime.ExitError"
    );
    world.assert_right().await;
    // And not where it may have run.
    assert_eq!(failure(&world, "\"given\"").await.0, "Runtime.ExitError");
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_quick_runtime_is_polled_for() {
    let world = World::start().await;
    world.assert_right().await;
    let asleep = world.invoker.busy_poll().polls();
    assert_eq!((asleep.won, asleep.lost), (0, 0), "the first wait sleeps");
    // Only where the answer before was quick is the next one polled for, and a busy machine is not quick each time.
    for _ in 0..10_000 {
        world.assert_right().await;
        if world.invoker.busy_poll().polls().won > 0 {
            return;
        }
    }
    panic!(
        "no answer was polled for: {:?}",
        world.invoker.busy_poll().polls()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_twice_is_given_once() {
    let world = World::start().await;
    for _ in 0..20 {
        let completed = world.call("\"twice\"", false).await.unwrap();
        assert_eq!(
            completed.outcome,
            Outcome::Answer(Bytes::from_static(b"\"right\""))
        );
        // The second answer comes on an idle stream and ends the instance; if it meets the next call, its number is wrong, and that call fails rather than
        // being answered by it.
        match world.call("\"honest\"", false).await.unwrap().outcome {
            Outcome::Answer(body) => assert_eq!(&body[..], b"\"right\""),
            Outcome::Failed(failure) => assert_eq!(failure.error_type, "Runtime.ProtocolError"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_mark_costs_a_bounded_wait() {
    let world = World::start().await;
    world.assert_right().await;
    let begin = Instant::now();
    let completed = world.call("\"lying mark\"", true).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(
        completed.outcome,
        Outcome::Answer(Bytes::from_static(b"\"right\""))
    );
    let tail = String::from_utf8(completed.log_tail.unwrap()).unwrap();
    assert!(tail.contains("REPORT RequestId: "), "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_everything() {
    let world = World::start().await;
    world.assert_right().await;
    assert!(world.invoker.drain(Duration::from_secs(10)).await);
    assert_eq!(world.invoker.counts().instances(), 0);
    assert_eq!(
        world.call("\"honest\"", false).await.unwrap_err(),
        InvokeError::Stopping
    );
}
