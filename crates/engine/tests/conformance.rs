//! What every engine does, on each that can be used here: one sandbox from start to removal. Prints SKIPPED, with the reason, where an engine can't be used or the language tree is not built.

#![allow(
    clippy::unwrap_used,
    reason = "a test that can not go on says so by a panic"
)]

mod own_engine;

use std::{
    collections::{BTreeMap, HashSet},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use warren_engine::{
    CodeMount, Engine, Owner, SandboxSpec, Tenant, built_in,
    host::{Host, mounts},
};
use warren_model::{EngineName, EphemeralStorage, InstanceId, Memory, NetworkPolicy, ServerId};
use warren_network::Network;
use warren_protocol::{
    CallEvent, CallStream, Claim, Decoder, FrameKind, HEADER_LEN, Interface, InvokeMeta,
    StreamKind, encode_claim, encode_empty, encode_invoke,
};
use warren_runtimes::{Catalogue, Kit, RUNTIME_GID, RUNTIME_UID, Trees};

const HANDLER: &str = "def handler(event, context):\n    return {'got': event}\n";

/// A host of its own with one engine, and what starts a function there.
struct Bench {
    folder: tempfile::TempDir,
    host: Arc<Host>,
    engine: Arc<dyn Engine>,
    spec: SandboxSpec,
    tenant: Tenant,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// Every engine: those that are built in, and that of these tests, by the one line that an engine takes.
fn engines(owner: &Owner, host: &Arc<Host>, cache: &Path) -> Vec<Arc<dyn Engine>> {
    let mut all = built_in(owner, host, cache);
    all.push(own_engine::engine(owner, host, cache));
    all
}

/// A test of this name for every engine.
macro_rules! on_every_engine {
    ($($test:ident),+ $(,)?) => {
        on_engine!(docker, $($test),+);
        on_engine!(runc, $($test),+);
        on_engine!(gvisor, $($test),+);
        on_engine!(own, $($test),+);

        /// An engine that is built in and not in the list above would go untested.
        #[tokio::test]
        async fn every_engine_is_in_the_suite() {
            let (folder, host, owner) = ground();
            let all = engines(&owner, &host, folder.path());
            let names: Vec<String> = all.iter().map(|engine| engine.name().to_string()).collect();
            assert_eq!(names, ["docker", "runc", "gvisor", "own"]);
            let own: Vec<_> = all.iter().map(|one| (one.overhead_mb(), one.sized_at_start())).collect();
            assert_eq!(own, [(0, false), (0, false), (24, true), (0, false)]);
        }
    };
}

macro_rules! on_engine {
    ($engine:ident, $($test:ident),+) => {
        mod $engine {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $test() {
                    if let Some(bench) = super::bench(super::EngineName::named(stringify!($engine))).await {
                        super::$test(bench).await;
                    }
                }
            )+
        }
    };
}

on_every_engine!(
    a_function_answers_and_nothing_is_left,
    a_lost_sandbox_is_reaped,
    an_agent_that_ends_is_not_waited_for,
    evidence_is_on_the_host,
    a_frozen_sandbox_stands_still,
    cycles_leave_nothing,
);

/// A host and its owner, in a folder of their own.
fn ground() -> (tempfile::TempDir, Arc<Host>, Owner) {
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
    let host = Arc::new(Host::new(at("run"), at("disks"), network));
    (folder, host, owner)
}

async fn bench(name: EngineName) -> Option<Bench> {
    let (folder, host, owner) = ground();
    tokio::task::block_in_place(|| host.open()).unwrap();
    let all = engines(&owner, &host, &Trees::default_folder().unwrap());
    let engine = all
        .into_iter()
        .find(|engine| engine.name() == name)
        .unwrap();
    if let Err(unavailable) = engine.probe().await {
        println!("SKIPPED engine {name}: {unavailable}");
        return None;
    }
    let catalogue = Catalogue::built_in().unwrap();
    let recipe = catalogue.resolve("python3.13").unwrap().recipe;
    let tree = Trees::default_folder().and_then(|cache| Trees::new(cache).find(&recipe).unwrap());
    let Some(tree) = tree else {
        println!("SKIPPED engine {name}: the python3.13 tree is not built");
        return None;
    };
    let kit = Kit::install(folder.path(), &catalogue).unwrap();
    let code = folder.path().join("code");
    std::fs::create_dir_all(&code).unwrap();
    std::fs::write(code.join("app.py"), HANDLER).unwrap();
    let spec = SandboxSpec {
        instance: InstanceId::random(),
        function: Some("test".into()),
        tree,
        agent: kit.agent(),
        runtime_folder: kit.runtime_folder(&recipe),
        memory: Memory::default(),
        ephemeral_storage: EphemeralStorage::default(),
        network: NetworkPolicy::None,
        refused: tokio::sync::mpsc::unbounded_channel().0,
        start_limit: Duration::from_secs(60),
    };
    let tenant = Tenant {
        function: "test".into(),
        code: CodeMount(code),
        memory: Memory::new(256).unwrap(),
    };
    let mut environment = recipe.environment.clone();
    environment.insert("_HANDLER".into(), "app.handler".into());
    environment.insert("LAMBDA_TASK_ROOT".into(), "/var/task".into());
    Some(Bench {
        host,
        command: recipe.command.clone(),
        environment,
        engine,
        spec,
        tenant,
        folder,
    })
}

impl Bench {
    /// Nothing of its instances is on the host.
    fn assert_empty(&self) {
        let run = self.folder.path().join("run");
        assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
        // But the place of all instances, which goes with a sweep that keeps nothing.
        let mounted = mounts::below(&run).unwrap();
        assert!(mounted.iter().all(|point| *point == run), "{mounted:?}");
    }
}

async fn a_function_answers_and_nothing_is_left(bench: Bench) {
    let begin = Instant::now();
    let sandbox = bench.engine.start(bench.spec.clone()).await.unwrap();
    let started = begin.elapsed();
    let mut control = sandbox.open(StreamKind::Control).await.unwrap();
    let mut call = sandbox.open(StreamKind::Call).await.unwrap();
    sandbox.seal().unwrap();
    let listening = begin.elapsed();
    sandbox.claim(&bench.tenant).await.unwrap();
    let claimed = begin.elapsed();

    let mut bytes = Vec::new();
    encode_claim(
        &mut bytes,
        &Claim {
            command: bench.command.clone(),
            interface: Interface::Stream,
            environment: bench.environment.clone(),
            directory: "/var/task".into(),
            uid: RUNTIME_UID,
            gid: RUNTIME_GID,
            open_files: 1024,
            processes: None,
            snapshot: false,
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
        "started {started:?}, listening {listening:?}, claimed {claimed:?}, ready {ready:?}, answered {:?}",
        begin.elapsed()
    );

    let usage = sandbox.usage().unwrap();
    assert!(usage.memory_bytes > 1 << 20, "{usage:?}");
    assert!(usage.cpu_us > 0 && usage.oom_kills == 0, "{usage:?}");

    let begin = Instant::now();
    sandbox.kill().await.unwrap();
    sandbox.kill().await.unwrap();
    println!("killed {:?}", begin.elapsed());
    bench.assert_empty();
    assert_eq!(bench.engine.reap(&HashSet::new()).await.unwrap(), 0);
}

async fn a_lost_sandbox_is_reaped(bench: Bench) {
    let sandbox = bench.engine.start(bench.spec.clone()).await.unwrap();
    drop(sandbox.open(StreamKind::Control).await.unwrap());
    let keep = HashSet::from([bench.spec.instance.clone()]);
    assert_eq!(bench.engine.reap(&keep).await.unwrap(), 0);
    assert!(sandbox.usage().is_some());
    assert_eq!(bench.engine.reap(&HashSet::new()).await.unwrap(), 1);
    let folders = tokio::task::block_in_place(|| bench.host.sweep(&HashSet::new()));
    assert_eq!(folders.unwrap(), 1);
    bench.assert_empty();
}

async fn an_agent_that_ends_is_not_waited_for(bench: Bench) {
    for script in ["#!/bin/sh\nexit 3\n", "#!/bin/sh\nsleep 0.3\nexit 3\n"] {
        let agent = bench.folder.path().join("agent");
        std::fs::write(&agent, script).unwrap();
        std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
        let spec = SandboxSpec {
            agent,
            instance: InstanceId::random(),
            ..bench.spec.clone()
        };
        let begin = Instant::now();
        let error = match bench.engine.start(spec).await {
            Ok(sandbox) => {
                let outcome = sandbox.open(StreamKind::Control).await;
                sandbox.kill().await.unwrap();
                outcome.unwrap_err()
            }
            Err(error) => error,
        };
        println!("{error} after {:?}", begin.elapsed());
        // With a reason of the engine's own.
        assert!(
            error.to_string().contains(" ended before it listened ("),
            "{error}"
        );
        assert!(begin.elapsed() < bench.spec.start_limit / 4);
    }
    bench.assert_empty();
    assert_eq!(bench.engine.reap(&HashSet::new()).await.unwrap(), 0);
}

/// Whoever looks at the host finds what the sandbox says of itself.
async fn evidence_is_on_the_host(bench: Bench) {
    let sandbox = bench.engine.start(bench.spec.clone()).await.unwrap();
    let evidence = sandbox.evidence();
    println!("{evidence}");
    let word = |before: &str| {
        let rest = evidence.split_once(before).unwrap().1;
        rest.split([',', ' ']).next().unwrap().to_owned()
    };
    match bench.engine.name() {
        EngineName::DOCKER => {
            let id = word("container ");
            assert_eq!(id.len(), 64, "{evidence}");
        }
        _ => {
            let pid = word("process ");
            let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            assert!(cgroup.contains(bench.spec.instance.as_str()), "{cgroup}");
            // No daemon is among its parents.
            let mut parent = pid;
            while parent != "0" {
                let status = std::fs::read_to_string(format!("/proc/{parent}/status")).unwrap();
                let of = |key: &str| {
                    let line = status.lines().find_map(|line| line.strip_prefix(key));
                    line.unwrap().trim().to_owned()
                };
                assert!(!of("Name:").starts_with("dockerd"), "{status}");
                assert!(!of("Name:").starts_with("containerd"), "{status}");
                parent = of("PPid:");
            }
        }
    }
    if bench.engine.name() == EngineName::named("gvisor") {
        let pid = word("process ");
        let cgroup = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        // Sentry and gofer are in the group, and no other sandbox's user is theirs.
        let (_, users) = process_named("runsc-gofer", &cgroup).unwrap();
        let first = users[0];
        assert!(first >= 0x7000_0000 && first % 65_536 == 0, "{first}");
        for (role, user) in [("runsc-sandbox", first + 65_534), ("runsc-gofer", first)] {
            let (found, users) = process_named(role, &cgroup).unwrap();
            assert_eq!(found == pid, role == "runsc-sandbox");
            assert!(users.iter().all(|one| *one == user), "{role} {users:?}");
        }
    }
    sandbox.kill().await.unwrap();
    bench.assert_empty();
    assert_eq!(bench.engine.reap(&HashSet::new()).await.unwrap(), 0);
}

/// The process of this host whose command line begins with this word in the same cgroups, with its user ids.
fn process_named(word: &str, cgroup: &str) -> Option<(String, Vec<u32>)> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .find_map(|entry| {
            let of = |name: &str| std::fs::read_to_string(entry.path().join(name)).ok();
            if of("cgroup")? != cgroup || of("cmdline")?.split('\0').next() != Some(word) {
                return None;
            }
            let status = of("status")?;
            let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
            let users = line.split_whitespace().map(|id| id.parse().unwrap());
            Some((
                entry.file_name().to_string_lossy().into_owned(),
                users.collect(),
            ))
        })
}

/// Frozen, it answers nobody; thawed, it goes on; it can be ended in either state.
async fn a_frozen_sandbox_stands_still(bench: Bench) {
    let sandbox = bench.engine.start(bench.spec.clone()).await.unwrap();
    let mut control = sandbox.open(StreamKind::Control).await.unwrap();
    let mut ping = Vec::new();
    encode_empty(&mut ping, FrameKind::Ping);
    let mut pong = [0; HEADER_LEN];
    for _ in 0..3 {
        sandbox.freeze().await.unwrap();
        // Many processes take a moment to stop.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let before = sandbox.usage().unwrap().cpu_us;
        control.write_all(&ping).await.unwrap();
        let answer =
            tokio::time::timeout(Duration::from_millis(300), control.read_exact(&mut pong));
        assert!(answer.await.is_err(), "a frozen agent answered");
        assert_eq!(sandbox.usage().unwrap().cpu_us, before);
        sandbox.thaw().await.unwrap();
        let begin = Instant::now();
        control.read_exact(&mut pong).await.unwrap();
        println!("answered {:?} after the thaw", begin.elapsed());
    }
    sandbox.thaw().await.unwrap();
    sandbox.freeze().await.unwrap();
    sandbox.kill().await.unwrap();
    bench.assert_empty();
    // As after a crash of the server.
    let instance = InstanceId::random();
    let spec = SandboxSpec {
        instance,
        ..bench.spec.clone()
    };
    let lost = bench.engine.start(spec).await.unwrap();
    lost.freeze().await.unwrap();
    assert_eq!(bench.engine.reap(&HashSet::new()).await.unwrap(), 1);
    let folders = tokio::task::block_in_place(|| bench.host.sweep(&HashSet::new()));
    assert_eq!(folders.unwrap(), 1);
    bench.assert_empty();
}

/// Starts and kills, four at a time.
async fn cycles_leave_nothing(bench: Bench) {
    let rounds = std::env::var("WARREN_TEST_CYCLES").map_or(5, |text| text.parse().unwrap());
    for _ in 0..rounds {
        let starts = (0..4).map(|_| {
            let (engine, spec) = (Arc::clone(&bench.engine), bench.spec.clone());
            tokio::spawn(async move {
                let instance = InstanceId::random();
                let sandbox = engine
                    .start(SandboxSpec { instance, ..spec })
                    .await
                    .unwrap();
                sandbox.open(StreamKind::Control).await.unwrap();
                sandbox.kill().await.unwrap();
            })
        });
        for start in starts.collect::<Vec<_>>() {
            start.await.unwrap();
        }
        bench.assert_empty();
    }
    assert_eq!(bench.engine.reap(&HashSet::new()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_place_that_is_not_empty_is_not_opened() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: mounts need root");
        return;
    }
    let (folder, host, _owner) = ground();
    host.open().unwrap();
    let again = host.open().unwrap_err().to_string();
    let run = folder.path().join("run");
    let step = format!("umount -l {}", run.display());
    assert!(again.contains(&step), "{again}");
    host.sweep(&HashSet::new()).unwrap();
    host.open().unwrap();
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
    let network = Arc::new(Network::new(owner.server.clone(), Vec::new()));
    let host = Arc::new(Host::new(run.clone(), disks.clone(), network));
    let swept = tokio::task::block_in_place(|| host.sweep(&HashSet::new()));
    assert_eq!(swept.unwrap(), 1);
    assert!(mounts::below(folder.path()).unwrap().is_empty());
    for left in [run, disks] {
        assert_eq!(std::fs::read_dir(left).unwrap().count(), 0);
    }
}
