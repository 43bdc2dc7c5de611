//! An engine whose sandboxes' agents are tasks of the test.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{mpsc::UnboundedSender, watch},
    task::JoinHandle,
};
use warren_engine::{
    Capabilities, Engine, EngineError, Refusal, Refused, Sandbox, SandboxSpec, Tenant, Unavailable,
    Usage,
    host::{channel::Channel, mounts},
};
use warren_model::{Config, EngineName, InstanceId, NetworkPolicy};
use warren_protocol::{Decoder, Frame, FrameKind, StreamKind, encode_empty};
use warren_runtimes::Tree;

use crate::{
    call_stream::calls,
    control_stream::{Act, control, perform},
    hello::{Welcoming, listen},
    program::Program,
};

/// How long an agent of these tests may take to answer a hello.
const HELLO_LIMIT: Duration = Duration::from_secs(2);

/// How long it takes to say whether it can be used.
const PROBE: Duration = Duration::from_millis(20);

/// What the agents of a function's sandboxes do.
#[derive(Clone, Copy)]
pub(crate) enum Agent {
    /// What each event says, and all else as it should be.
    Told,
    /// This on the control stream, and no runtime is ever ready.
    AtStart(Act),
    /// Listens in a channel folder, and welcomes like this.
    Welcomes(&'static Welcoming),
    /// Honest: runs a program.
    Runs(Program),
    /// Can't be connected to.
    Unreachable,
    /// Its sandbox can't be claimed.
    Unclaimable,
    /// Its sandbox can't be measured without a panic.
    Unmeasurable,
    /// Its sandbox panics when its first stream is to be opened.
    Panics,
    /// A runtime that waits for INIT; the agent hangs at the start of another.
    StandsBy,
}

/// What an event on the call stream tells the control stream.
#[derive(Clone, Copy)]
pub(crate) enum Told {
    Nothing,
    /// The runtime has ended by itself; the last call that it was given.
    Ended(u32),
    Act(Act),
}

#[derive(Default)]
pub(crate) struct FakeEngine {
    /// By function.
    pub(crate) agents: Mutex<HashMap<String, Agent>>,
    /// How many of a function's sandboxes were ended.
    pub(crate) killed: Arc<Mutex<HashMap<String, usize>>>,
    pub(crate) run: PathBuf,
    /// While it is set, nothing can be removed.
    pub(crate) stuck: Arc<AtomicBool>,
    /// How often a sandbox was frozen.
    pub(crate) freezes: Arc<AtomicUsize>,
    /// While it is set, it says that it can't be used.
    pub(crate) away: AtomicBool,
    /// While it is set, nothing can be prepared.
    pub(crate) full: AtomicBool,
    /// How often it was asked whether it can be used.
    pub(crate) probes: AtomicUsize,
}

struct FakeSandbox {
    refused: UnboundedSender<Refused>,
    id: InstanceId,
    function: String,
    agent: Agent,
    channel: Option<Channel>,
    killed: Arc<Mutex<HashMap<String, usize>>>,
    run: PathBuf,
    stuck: Arc<AtomicBool>,
    freezes: Arc<AtomicUsize>,
    /// Call streams that were opened.
    calls: AtomicUsize,
    told: watch::Sender<Told>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl FakeSandbox {
    fn spawn(&self, work: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        // A stream that breaks ends its task, which is what is tried here.
        let task = tokio::spawn(async move { drop(work.await) });
        self.tasks.lock().unwrap().push(task);
    }
}

impl Drop for FakeSandbox {
    /// A test that fails leaves no mount behind either.
    fn drop(&mut self) {
        if let Some(channel) = &self.channel {
            drop(mounts::unmount_below(channel.folder()));
        }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn name(&self) -> EngineName {
        EngineName::DOCKER
    }

    async fn probe(&self) -> Result<Capabilities, Unavailable> {
        self.probes.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(PROBE).await;
        match self.away.load(Ordering::Relaxed) {
            true => Err(Unavailable {
                reason: "It is away".into(),
                next_step: "Wait".into(),
            }),
            false => Ok(Capabilities {
                detail: "in memory".into(),
            }),
        }
    }

    fn admit(&self, _config: &Config) -> Result<(), Refusal> {
        Ok(())
    }

    fn default_network(&self) -> NetworkPolicy {
        NetworkPolicy::None
    }

    async fn prepare(&self, _tree: &Tree, _config: &Config) -> Result<(), EngineError> {
        match self.full.load(Ordering::Relaxed) {
            true => Err(EngineError::Stream(std::io::ErrorKind::StorageFull.into())),
            false => Ok(()),
        }
    }

    async fn start(&self, spec: SandboxSpec) -> Result<Arc<dyn Sandbox>, EngineError> {
        // What is started ahead has no name.
        let function = spec.function.unwrap_or_default();
        let agent = self.agents.lock().unwrap()[&function];
        let mut sandbox = FakeSandbox {
            refused: spec.refused,
            id: spec.instance,
            function,
            agent,
            channel: None,
            killed: Arc::clone(&self.killed),
            run: self.run.clone(),
            stuck: Arc::clone(&self.stuck),
            freezes: Arc::clone(&self.freezes),
            calls: AtomicUsize::new(0),
            told: watch::Sender::new(Told::Nothing),
            tasks: Mutex::default(),
        };
        if let Agent::Welcomes(welcoming) = agent {
            let folder = self.run.join(sandbox.id.as_str());
            std::fs::create_dir(&folder).unwrap();
            let channel = Channel::create(&folder, &sandbox.id)?;
            sandbox.spawn(listen(
                channel.folder().to_owned(),
                welcoming,
                sandbox.told.clone(),
            ));
            sandbox.channel = Some(channel);
        }
        Ok(Arc::new(sandbox))
    }

    async fn reap(&self, _keep: &HashSet<InstanceId>) -> Result<usize, EngineError> {
        Ok(0)
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
        if let Some(channel) = &self.channel {
            return channel.open(kind, HELLO_LIMIT).await;
        }
        if let Agent::Runs(program) = self.agent {
            tokio::time::sleep(program.opens_after).await;
        }
        let (host, agent) = UnixStream::pair().map_err(EngineError::Stream)?;
        match (self.agent, kind) {
            (Agent::Unreachable, _) => return Err(EngineError::AgentSilent(HELLO_LIMIT)),
            (Agent::Unmeasurable, _) => self.spawn(silence(agent)),
            (Agent::Runs(program), StreamKind::Control) => {
                self.spawn(program.control(agent, self.told.clone()));
            }
            (Agent::Runs(program), StreamKind::Call) => {
                self.spawn(program.output(agent, self.told.subscribe()));
            }
            (Agent::AtStart(act), StreamKind::Control) => self.spawn(perform(agent, act)),
            (Agent::AtStart(_), StreamKind::Call) => self.spawn(silence(agent)),
            (Agent::Panics, _) => panic!("as an engine might"),
            (Agent::StandsBy, StreamKind::Call) => {
                if self.calls.fetch_add(1, Ordering::Relaxed) > 0 {
                    std::future::pending::<()>().await;
                }
                self.spawn(stand_by(agent, self.told.clone()));
            }
            (_, kind) => self.spawn(serve(agent, kind, self.told.clone())),
        }
        Ok(host)
    }

    fn seal(&self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn claim(&self, _tenant: &Tenant) -> Result<(), EngineError> {
        match self.agent {
            Agent::Unclaimable => Err(EngineError::NotASocket),
            _ => Ok(()),
        }
    }

    async fn freeze(&self) -> Result<(), EngineError> {
        self.freezes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn thaw(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn usage(&self) -> Option<Usage> {
        match self.agent {
            Agent::Unmeasurable => panic!("a test wants it"),
            _ => None,
        }
    }

    fn peak_bytes(&self) -> Option<u64> {
        None
    }

    async fn tell_refusals(&self) {
        // Nobody listens any more where the instance is gone.
        let _ = self.refused.send(Refused::Name("db.internal".to_owned()));
    }

    async fn kill(&self) -> Result<(), EngineError> {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
        if let Some(channel) = &self.channel {
            mounts::unmount_below(channel.folder())?;
            std::fs::remove_dir_all(self.run.join(self.id.as_str())).unwrap();
        }
        if self.stuck.load(Ordering::Relaxed) {
            return Err(EngineError::NotASocket);
        }
        *self
            .killed
            .lock()
            .unwrap()
            .entry(self.function.clone())
            .or_default() += 1;
        Ok(())
    }
}

/// One stream of an agent that was welcomed.
pub(crate) async fn serve(
    stream: UnixStream,
    kind: StreamKind,
    told: watch::Sender<Told>,
) -> std::io::Result<()> {
    match kind {
        StreamKind::Control => control(stream, told.subscribe()).await,
        StreamKind::Call => calls(stream, &told).await,
    }
}

/// A call stream whose runtime was started ahead, until its INIT.
async fn stand_by(mut stream: UnixStream, told: watch::Sender<Told>) -> std::io::Result<()> {
    let mut out = Vec::new();
    encode_empty(&mut out, FrameKind::Standby);
    stream.write_all(&out).await?;
    let frame = next_frame(&mut stream, &mut Decoder::new()).await?;
    assert_eq!(frame.kind, FrameKind::Init);
    calls(stream, &told).await
}

/// Neither reads, writes nor closes.
pub(crate) async fn silence(stream: UnixStream) -> std::io::Result<()> {
    let _open = stream;
    std::future::pending().await
}

pub(crate) async fn next_frame(
    stream: &mut (impl AsyncRead + Unpin),
    decoder: &mut Decoder,
) -> std::io::Result<Frame> {
    loop {
        if let Some(frame) = decoder.next_frame().map_err(std::io::Error::other)? {
            return Ok(frame);
        }
        if stream.read_buf(decoder.buffer_mut(4096)).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
