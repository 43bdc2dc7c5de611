//! The Docker engine against a real daemon: one sandbox from start to removal. Prints SKIPPED where there is no daemon or no language tree.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can not go on says so by a panic"
)]

use std::{
    collections::{BTreeMap, HashSet},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warren_engine::{CodeMount, Engine, Owner, SandboxSpec, docker::DockerEngine, host::mounts};
use warren_model::{EphemeralStorage, InstanceId, Memory, NetworkPolicy, ServerId};
use warren_network::Network;
use warren_protocol::{
    CallEvent, CallStream, Claim, Decoder, Interface, InvokeMeta, StreamKind, encode_claim,
    encode_invoke,
};
use warren_runtimes::{Catalogue, Kit, RUNTIME_GID, RUNTIME_UID, Trees};

const HANDLER: &str = "def handler(event, context):\n    return {'got': event}\n";

struct Host {
    _folder: tempfile::TempDir,
    engine: DockerEngine,
    spec: SandboxSpec,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

async fn host() -> Option<Host> {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let owner = Owner {
        server: ServerId::random(),
        node: "test".into(),
        boot: 1,
    };
    let network = Arc::new(Network::new(owner.server.clone(), Vec::new()));
    let engine = DockerEngine::new(owner, at("run"), at("disks"), network);
    if let Err(unavailable) = engine.probe().await {
        println!("SKIPPED docker engine: {unavailable}");
        return None;
    }
    let catalogue = Catalogue::built_in().unwrap();
    let recipe = catalogue.resolve("python3.13").unwrap().recipe;
    let tree = Trees::default_folder().and_then(|cache| Trees::new(cache).find(&recipe).unwrap());
    let Some(tree) = tree else {
        println!("SKIPPED docker engine: the python3.13 tree is not built");
        return None;
    };
    let kit = Kit::install(folder.path(), &catalogue).unwrap();
    let code = at("code");
    std::fs::write(code.join("app.py"), HANDLER).unwrap();
    let spec = SandboxSpec {
        instance: InstanceId::random(),
        function: "test".into(),
        tree,
        agent: kit.agent(),
        runtime_folder: kit.runtime_folder(&recipe),
        code: CodeMount(code),
        memory: Memory::default(),
        ephemeral_storage: EphemeralStorage::default(),
        network: NetworkPolicy::None,
        refused: tokio::sync::mpsc::unbounded_channel().0,
        start_limit: Duration::from_secs(60),
    };
    let mut environment = recipe.environment.clone();
    environment.insert("_HANDLER".into(), "app.handler".into());
    environment.insert("LAMBDA_TASK_ROOT".into(), "/var/task".into());
    Some(Host {
        command: recipe.command.clone(),
        environment,
        engine,
        spec,
        _folder: folder,
    })
}

fn run_folder(spec: &SandboxSpec, run: &Path) -> std::path::PathBuf {
    run.join(spec.instance.as_str())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_answers_and_nothing_is_left() {
    let Some(host) = host().await else { return };
    let begin = Instant::now();
    let sandbox = host.engine.start(host.spec.clone()).await.unwrap();
    let started = begin.elapsed();
    let mut control = sandbox.open(StreamKind::Control).await.unwrap();
    let mut call = sandbox.open(StreamKind::Call).await.unwrap();
    sandbox.seal().unwrap();
    let listening = begin.elapsed();

    let mut bytes = Vec::new();
    encode_claim(
        &mut bytes,
        &Claim {
            command: host.command.clone(),
            interface: Interface::Stream,
            environment: host.environment.clone(),
            directory: "/var/task".into(),
            uid: RUNTIME_UID,
            gid: RUNTIME_GID,
            open_files: 1024,
            processes: None,
        },
    );
    control.write_all(&bytes).await.unwrap();
    let mut decoder = Decoder::new();
    let mut state = CallStream::new();
    let event = loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            break state.accept(frame).unwrap();
        }
        assert_ne!(call.read_buf(decoder.buffer_mut(4096)).await.unwrap(), 0);
    };
    assert_eq!(event, CallEvent::Ready);
    let ready = begin.elapsed();

    bytes.clear();
    let meta = InvokeMeta {
        id: "r-1".into(),
        deadline: u64::MAX / 2,
        arn: "arn".into(),
        trace: "".into(),
        client: None,
        identity: None,
    };
    encode_invoke(&mut bytes, state.begin().unwrap(), &meta, br#"{"a":1}"#);
    call.write_all(&bytes).await.unwrap();
    let event = loop {
        if let Some(frame) = decoder.next_frame().unwrap() {
            break state.accept(frame).unwrap();
        }
        assert_ne!(call.read_buf(decoder.buffer_mut(4096)).await.unwrap(), 0);
    };
    let CallEvent::Answer { body, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(&body[..], br#"{"got": {"a": 1}}"#);
    println!(
        "started {started:?}, listening {listening:?}, ready {ready:?}, answered {:?}",
        begin.elapsed()
    );

    let usage = sandbox.usage().unwrap();
    assert!(usage.memory_bytes > 1 << 20, "{usage:?}");
    assert!(usage.cpu_us > 0 && usage.oom_kills == 0, "{usage:?}");

    let begin = Instant::now();
    sandbox.kill().await.unwrap();
    sandbox.kill().await.unwrap();
    println!("killed {:?}", begin.elapsed());
    let run = host._folder.path().join("run");
    assert!(!run_folder(&host.spec, &run).exists());
    assert!(mounts::below(&run).unwrap().is_empty());
    assert_eq!(
        host.engine.reap(&HashSet::new()).await.unwrap(),
        warren_engine::Reaped::default()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_sandbox_is_reaped() {
    let Some(host) = host().await else { return };
    let sandbox = host.engine.start(host.spec.clone()).await.unwrap();
    drop(sandbox.open(StreamKind::Control).await.unwrap());
    let keep = HashSet::from([host.spec.instance.clone()]);
    assert_eq!(host.engine.reap(&keep).await.unwrap().sandboxes, 0);
    let reaped = host.engine.reap(&HashSet::new()).await.unwrap();
    assert_eq!((reaped.sandboxes, reaped.folders), (1, 1));
    let run = host._folder.path().join("run");
    assert!(mounts::below(&run).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_is_not_waited_for() {
    let Some(host) = host().await else { return };
    for script in ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nsleep 0.3\nexit 3\n"] {
        let agent = host._folder.path().join("agent");
        std::fs::write(&agent, script).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        let spec = SandboxSpec {
            agent,
            instance: InstanceId::random(),
            ..host.spec.clone()
        };
        let begin = Instant::now();
        let error = match host.engine.start(spec).await {
            Ok(sandbox) => {
                let outcome = sandbox.open(StreamKind::Control).await;
                sandbox.kill().await.unwrap();
                outcome.unwrap_err()
            }
            Err(error) => error,
        };
        println!("{error} after {:?}", begin.elapsed());
        assert!(error.to_string().contains("exit code 3"), "{error}");
        assert!(begin.elapsed() < host.spec.start_limit / 4);
    }
    let run = host._folder.path().join("run");
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_mounts_are_removed_without_a_daemon() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: mounts need root");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (run, disks) = (folder.path().join("run"), folder.path().join("disks"));
    for point in [run.join("i-1/channel"), disks.join(".tmpX/mount")] {
        std::fs::create_dir_all(&point).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("warren", &point, "tmpfs", flags, None).unwrap();
    }
    let owner = Owner {
        server: ServerId::random(),
        node: "test".into(),
        boot: 1,
    };
    // With a daemon or without: what is on this host goes.
    let network = Arc::new(Network::new(owner.server.clone(), Vec::new()));
    let engine = DockerEngine::new(owner, run.clone(), disks.clone(), network);
    let reaped = engine.reap(&HashSet::new()).await;
    println!("{reaped:?}");
    assert!(mounts::below(folder.path()).unwrap().is_empty());
    for left in [run, disks] {
        assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    }
}
