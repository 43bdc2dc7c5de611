//! A real agent as PID 1 of its own namespaces, and the host's side of it.

// Each test program uses its own part of this.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use warren_protocol::{
    AGENT_SOCKET, CallEvent, CallStream, Claim, ControlEvent, Decoder, ErrorObject, Exited, Frame,
    FrameKind, Hello, Interface, InvokeMeta, OutputStream, START_FILE, Secret, StartFile,
    StreamKind, Welcome, encode_claim, encode_empty, encode_hello, encode_invoke,
};

/// No step of a test takes this long unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The runtime's user and group.
pub(crate) const UID: u32 = 65_534;

const INSTANCE: &str = "i-test";
const NONCE: &str = "00112233445566778899aabbccddeeff";

/// A stream of frames to the agent.
pub(crate) struct Stream {
    pub(crate) socket: UnixStream,
    decoder: Decoder,
}

impl Stream {
    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self
                .decoder
                .next_frame()
                .expect("the agent speaks the protocol")
            {
                return Some(frame);
            }
            let mut buffer = [0; 65_536];
            let count = self
                .socket
                .read(&mut buffer)
                .expect("the agent answers in time");
            if count == 0 {
                assert!(
                    self.decoder.is_between_frames(),
                    "the stream ended inside a frame"
                );
                return None;
            }
            self.decoder.push(&buffer[..count]);
        }
    }

    pub(crate) fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.socket.write_all(&bytes).expect("the agent reads");
    }
}

/// An answer to a call.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) body: Vec<u8>,
    pub(crate) is_error: bool,
    pub(crate) mark: u32,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        assert!(!self.is_error, "{}", String::from_utf8_lossy(&self.body));
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap()
    }

    pub(crate) fn error(&self) -> ErrorObject {
        assert!(self.is_error);
        ErrorObject::parse(&self.body).unwrap()
    }
}

/// The host's end of a call stream.
pub(crate) struct Calls {
    pub(crate) stream: Stream,
    state: CallStream,
    /// Pieces in which the last answer came.
    pub(crate) pieces: usize,
}

impl Calls {
    /// Waits for the end of Init.
    pub(crate) fn ready(&mut self) {
        let frame = self.stream.next_frame().expect("READY");
        assert_eq!(self.state.accept(frame), Ok(CallEvent::Ready));
    }

    pub(crate) fn init_error(&mut self) -> ErrorObject {
        let frame = self.stream.next_frame().expect("INIT_ERROR");
        match self.state.accept(frame) {
            Ok(CallEvent::InitError(error)) => ErrorObject::parse(&error).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn begin(&mut self, id: &str, body: &[u8]) {
        let meta = InvokeMeta {
            id: id.into(),
            deadline: 1_900_000_000_000,
            arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
            trace: "Root=1-2-3".into(),
            client: Some("{\"custom\":1}".into()),
            identity: None,
        };
        let number = self.state.begin().expect("the call before has ended");
        // From another thread: the runtime may answer before it has read all.
        let mut socket = self.stream.socket.try_clone().unwrap();
        let mut bytes = Vec::new();
        encode_invoke(&mut bytes, number, &meta, body);
        std::thread::spawn(move || socket.write_all(&bytes));
    }

    pub(crate) fn finish(&mut self) -> Answer {
        let mut all = Vec::new();
        self.pieces = 0;
        loop {
            let frame = self.stream.next_frame().expect("an answer");
            self.pieces += 1;
            match self.state.accept(frame).expect("in order") {
                CallEvent::Part(piece) => all.extend_from_slice(&piece),
                CallEvent::Answer { body, mark } => {
                    all.extend_from_slice(&body);
                    return Answer {
                        body: all,
                        is_error: false,
                        mark,
                    };
                }
                CallEvent::Error { error, mark } => {
                    return Answer {
                        body: error.to_vec(),
                        is_error: true,
                        mark,
                    };
                }
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn call(&mut self, body: impl AsRef<[u8]>) -> Answer {
        self.begin("r-1", body.as_ref());
        self.finish()
    }

    /// Runs Python source in a runtime on the Runtime API.
    pub(crate) fn run(&mut self, id: &str, source: &str) -> Answer {
        self.begin(
            id,
            serde_json::json!({ "run": source }).to_string().as_bytes(),
        );
        self.finish()
    }
}

/// Output that came on the control stream.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Bytes, as the last LOG frame says.
    pub(crate) mark: u32,
}

impl Logs {
    fn take(&mut self, event: ControlEvent) -> Option<ControlEvent> {
        match event {
            ControlEvent::Log { record, mark } => {
                let text = String::from_utf8_lossy(&record.output);
                match record.stream {
                    OutputStream::Stdout => self.stdout.push_str(&text),
                    OutputStream::Stderr => self.stderr.push_str(&text),
                }
                assert!(record.time_us > 1_600_000_000_000_000);
                self.mark = mark;
                None
            }
            other => Some(other),
        }
    }
}

/// An agent in its own namespaces.
pub(crate) struct Sandbox {
    process: Child,
    /// The agent's process id as this test sees it.
    pub(crate) agent: u32,
    pub(crate) folder: TempDir,
    secret: Secret,
    control: Option<Stream>,
    /// As the last EXITED says it.
    pub(crate) last_call: Option<u32>,
}

impl Sandbox {
    /// Starts an agent and opens its control stream. `None` where namespaces can't be made.
    pub(crate) fn start() -> Option<Self> {
        let mut sandbox = Self::start_unconnected()?;
        sandbox.control = Some(sandbox.connect(StreamKind::Control));
        Some(sandbox)
    }

    /// As [`start`](Self::start), with no more capabilities than an engine gives.
    pub(crate) fn start_with_three_capabilities() -> Option<Self> {
        let drop_others = [
            "/usr/bin/setpriv",
            "--bounding-set=-all,+setuid,+setgid,+kill",
        ];
        let mut sandbox = Self::start_under(&drop_others)?;
        sandbox.control = Some(sandbox.connect(StreamKind::Control));
        Some(sandbox)
    }

    /// Starts an agent without its control stream.
    pub(crate) fn start_unconnected() -> Option<Self> {
        Self::start_under(&[])
    }

    fn start_under(wrapper: &[&str]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: needs root to make namespaces");
            return None;
        }
        let folder = TempDir::new().unwrap();
        let secret = Secret::new([7; 32]);
        write_start_file(folder.path(), &secret);
        let process = Command::new("/usr/bin/unshare")
            .args(["--pid", "--net", "--mount-proc", "--fork", "--kill-child"])
            .args(wrapper)
            .arg(env!("CARGO_BIN_EXE_warren-agent"))
            .arg(folder.path())
            .env("NOT_FOR_THE_RUNTIME", "1")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let socket = folder.path().join(AGENT_SOCKET);
        eventually("the agent binds", || {
            socket.exists() && UnixStream::connect(&socket).is_ok()
        });
        let children = format!("/proc/{0}/task/{0}/children", process.id());
        let agent = fs::read_to_string(children)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        Some(Self {
            process,
            agent,
            folder,
            secret,
            control: None,
            last_call: None,
        })
    }

    /// Has the agent let all streams go, and waits until nothing of it leads out any more.
    pub(crate) fn suspend(&mut self) {
        self.command_empty(FrameKind::Suspend);
        assert_eq!(self.next_event(), None, "the control stream ends");
        let inodes = self.host_sockets();
        assert_eq!(inodes, 0, "sockets of the host are open");
        self.control = None;
    }

    /// Sockets with a name in the channel folder, the listening one and those accepted from it, as the host's kernel lists them.
    fn host_sockets(&self) -> usize {
        let sockets = fs::read_to_string(format!("/proc/{}/net/unix", self.agent)).unwrap();
        let folder = self.folder.path().to_str().unwrap();
        sockets.lines().filter(|line| line.contains(folder)).count()
    }

    /// Comes back, as to a sandbox that was restored: with another secret.
    pub(crate) fn resume(&mut self) {
        self.secret = Secret::new([9; 32]);
        write_start_file(self.folder.path(), &self.secret);
        let start = self.folder.path().join(START_FILE);
        eventually("the agent takes the start file", || !start.exists());
        let socket = self.folder.path().join(AGENT_SOCKET);
        eventually("the agent binds again", || {
            UnixStream::connect(&socket).is_ok()
        });
        self.control = Some(self.connect(StreamKind::Control));
    }

    /// A hello of the host.
    pub(crate) fn hello(&self, kind: StreamKind) -> Hello {
        Hello::new(&self.secret, kind, INSTANCE, NONCE)
    }

    pub(crate) fn open_socket(&self) -> UnixStream {
        let socket = UnixStream::connect(self.folder.path().join(AGENT_SOCKET)).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    /// Sends these bytes on a new connection; gives what comes back.
    pub(crate) fn greet(&self, hello: &Hello) -> Option<Stream> {
        let mut stream = Stream {
            socket: self.open_socket(),
            decoder: Decoder::new(),
        };
        stream.send(|out| encode_hello(out, hello));
        let frame = stream.next_frame()?;
        assert_eq!(frame.kind, FrameKind::Welcome);
        let welcome = Welcome::parse(&frame.payload).unwrap();
        assert_eq!(welcome.check(&self.secret, hello), Ok(()));
        assert_ne!(welcome.check(&Secret::new([8; 32]), hello), Ok(()));
        Some(stream)
    }

    pub(crate) fn connect(&self, kind: StreamKind) -> Stream {
        self.greet(&self.hello(kind))
            .expect("a good hello is welcome")
    }

    pub(crate) fn calls(&self) -> Calls {
        Calls {
            stream: self.connect(StreamKind::Call),
            state: CallStream::new(),
            pieces: 0,
        }
    }

    pub(crate) fn control(&mut self) -> &mut Stream {
        self.control.as_mut().expect("the control stream is open")
    }

    pub(crate) fn close_control(&mut self) {
        self.control = None;
    }

    /// A claim of a Python runtime.
    pub(crate) fn python(interface: Interface) -> Claim {
        let source = match interface {
            Interface::Stream => include_str!("../runtimes/stream.py"),
            Interface::RuntimeApi => include_str!("../runtimes/runtime_api.py"),
            Interface::Program => "import sys; sys.stdout.write(sys.stdin.read())",
        };
        Self::command(interface, &["/usr/bin/python3", "-c", source])
    }

    pub(crate) fn command(interface: Interface, command: &[&str]) -> Claim {
        Claim {
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            interface,
            environment: BTreeMap::from([
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), String::new()),
            ]),
            directory: "/tmp".to_owned(),
            uid: UID,
            gid: UID,
            open_files: 200,
            processes: Some(500),
            snapshot: false,
        }
    }

    /// Claims and opens the call stream.
    pub(crate) fn run(&mut self, claim: &Claim) -> Calls {
        let calls = self.calls();
        self.control().send(|out| encode_claim(out, claim));
        calls
    }

    /// Starts a Python runtime and waits until it is ready.
    pub(crate) fn ready(&mut self, interface: Interface) -> Calls {
        let mut calls = self.run(&Self::python(interface));
        calls.ready();
        calls
    }

    pub(crate) fn command_empty(&mut self, kind: FrameKind) {
        self.control().send(|out| encode_empty(out, kind));
    }

    /// The next event on the control stream; `None` at its end.
    pub(crate) fn next_event(&mut self) -> Option<ControlEvent> {
        self.control()
            .next_frame()
            .map(|frame| ControlEvent::parse(frame).unwrap())
    }

    /// Reads output until there are `mark` bytes of it.
    pub(crate) fn logs(&mut self, mark: u32) -> Logs {
        let mut logs = Logs::default();
        while logs.mark < mark {
            let event = self.next_event().expect("more output");
            assert_eq!(logs.take(event), None);
        }
        assert_eq!(logs.mark, mark);
        logs
    }

    /// Reads output until the runtime has ended.
    pub(crate) fn exited(&mut self) -> (Exited, Logs) {
        let mut logs = Logs::default();
        loop {
            match logs.take(self.next_event().expect("EXITED")) {
                None => {}
                Some(ControlEvent::Exited { exited, last_call }) => {
                    self.last_call = last_call;
                    return (exited, logs);
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    /// Waits for the end of the agent.
    pub(crate) fn agent_status(&mut self) -> i32 {
        let mut status = None;
        eventually("the agent ends", || {
            status = self.process.try_wait().unwrap();
            status.is_some()
        });
        let status = status.unwrap();
        status
            .code()
            .unwrap_or_else(|| -status.signal().unwrap_or(0))
    }

    /// Resident memory of the agent in KiB: now, and the most it ever was.
    pub(crate) fn resident_kib(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent)).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (field("VmRSS:"), field("VmHWM:"))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The agent first, and with it its namespace, so that `unshare` is there to reap it.
        if let (Ok(None), Some(agent)) = (self.process.try_wait(), Pid::from_raw(self.agent as i32))
        {
            let _ = kill_process(agent, Signal::KILL);
        }
        let _ = self.process.wait();
    }
}

/// Waits for a state.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process with this in its command line runs on this machine.
pub(crate) fn is_running(marker: &str) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else {
        return false;
    };
    entries.flatten().any(|entry| {
        let command = fs::read(Path::new(&entry.path()).join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command)
            .split('\0')
            .any(|argument| argument == marker)
    })
}

fn write_start_file(folder: &Path, secret: &Secret) {
    let start = StartFile {
        version: 1,
        instance: INSTANCE.to_owned(),
        secret: secret.clone(),
    };
    // Whole from its first moment: the agent may be waiting for it.
    let unfinished = folder.join("start.new");
    fs::write(&unfinished, serde_json::to_vec(&start).unwrap()).unwrap();
    fs::rename(unfinished, folder.join(START_FILE)).unwrap();
}
