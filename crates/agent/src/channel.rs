use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::Mode;
use rustix::process::umask;
use warren_protocol::{
    AGENT_SOCKET, FrameKind, Hello, MAX_HELLO_PAYLOAD, START_FILE, StartFile, StreamKind, VERSION,
    Welcome, encode_welcome,
};

use crate::frames::{invalid, read_frame};
use crate::readiness::wait_ready;
use crate::report::report;
use crate::supervisor::Supervisor;

/// How long a connection may take for its hello. One at a time is greeted, so a silent one must not hold up the others for long.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);

/// Between looks for a start file after a checkpoint: by polling, for nobody tells a restored sandbox of files that the host makes.
const START_PAUSE: Duration = Duration::from_millis(1);

/// Pause after `accept` failed, which it does when descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The agent's end of the channel folder: the start file's content and the listening socket.
pub(crate) struct Channel {
    start: StartFile,
    listener: UnixListener,
}

impl Channel {
    /// Takes the start file out of `folder` and binds the socket there.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let path = folder.join(START_FILE);
        let name = path.display();
        let text = fs::read(&path).map_err(|error| format!("can't read {name}: {error}"))?;
        fs::remove_file(&path).map_err(|error| format!("can't remove {name}: {error}"))?;
        // The parser's message never quotes the secret.
        let start: StartFile =
            serde_json::from_slice(&text).map_err(|error| format!("{name}: {error}"))?;
        if start.version != VERSION {
            return Err(format!(
                "{name} is of version {}, this agent speaks {VERSION}",
                start.version
            ));
        }
        let listener = bind(&folder.join(AGENT_SOCKET))?;
        Ok(Self { start, listener })
    }

    /// The same once there is a start file.
    pub(crate) fn open_when_there(folder: &Path) -> Result<Self, String> {
        let path = folder.join(START_FILE);
        while let Err(error) = fs::metadata(&path) {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(format!("can't look at {}: {error}", path.display()));
            }
            thread::sleep(START_PAUSE);
        }
        Self::open(folder)
    }

    /// Hands every connection that proves itself to the supervisor, until that is told to suspend.
    pub(crate) fn accept(&self, supervisor: &Arc<Supervisor>) -> Result<(), String> {
        loop {
            let mut fds = [
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(supervisor.suspension(), PollFlags::IN),
            ];
            wait_ready(&mut fds, None).map_err(|error| format!("waiting for the host: {error}"))?;
            if !fds[1].revents().is_empty() {
                return Ok(());
            }
            match self.listener.accept() {
                Ok((stream, _)) => match self.greet(&stream) {
                    Ok(StreamKind::Control) => supervisor.control_opened(stream),
                    Ok(StreamKind::Call) => supervisor.call_opened(stream),
                    Err(error) => report(format_args!("connection refused: {error}")),
                },
                Err(error) => {
                    report(format_args!("accept: {error}"));
                    thread::sleep(ACCEPT_PAUSE);
                }
            }
        }
    }

    fn greet(&self, stream: &UnixStream) -> io::Result<StreamKind> {
        let mut io = stream;
        stream.set_read_timeout(Some(HELLO_PATIENCE))?;
        stream.set_write_timeout(Some(HELLO_PATIENCE))?;
        let frame = read_frame(&mut io, MAX_HELLO_PAYLOAD)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if frame.kind != FrameKind::Hello {
            return Err(invalid(format!("{} in place of HELLO", frame.kind)));
        }
        let hello = Hello::parse(&frame.payload).map_err(invalid)?;
        hello.check(&self.start).map_err(invalid)?;
        let mut answer = Vec::new();
        encode_welcome(
            &mut answer,
            &Welcome::new(&self.start.secret, &hello, env!("CARGO_PKG_VERSION")),
        );
        io.write_all(&answer)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        Ok(hello.stream)
    }
}

fn bind(path: &Path) -> Result<UnixListener, String> {
    let name = path.display();
    // A socket may be left from an agent before this one in the same folder.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("can't remove {name}: {error}"));
        }
        _ => {}
    }
    // By the mask, so that there is no moment in which others could connect.
    let before = umask(Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    umask(before);
    let listener = listener.map_err(|error| format!("can't bind {name}: {error}"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
        .map_err(|error| format!("chmod {name}: {error}"))?;
    Ok(listener)
}
