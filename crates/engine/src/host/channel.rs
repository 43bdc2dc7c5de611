//! The channel folder of an instance: where its agent listens. Contract: docs/decisions/0001, points 5 and 7.

use std::{
    fs,
    io::{self, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat},
    mount::{MountFlags, mount, mount_remount},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, sleep, timeout_at},
};
use warren_model::InstanceId;
use warren_protocol::{
    AGENT_SOCKET, Decoder, FrameKind, Hello, START_FILE, Secret, StartFile, StreamKind, VERSION,
    Welcome, encode_hello,
};

use crate::EngineError;

/// Caps of the folder's tmpfs: a start file and a socket need a page and two inodes.
const OPTIONS: &str = "size=64k,nr_inodes=8,mode=0700";
/// Between looks for the agent's socket while it starts.
const POLL: Duration = Duration::from_millis(1);

/// The host's side of one channel.
#[derive(Debug)]
pub struct Channel {
    folder: PathBuf,
    instance: InstanceId,
    secret: Secret,
    /// The socket itself, found once: later connections don't look at the folder again.
    socket: OnceLock<OwnedFd>,
}

impl Channel {
    /// Mounts the folder at `parent/channel` and lays the start file. On an error the caller removes `parent`. Blocking.
    pub fn create(parent: &Path, instance: &InstanceId) -> Result<Self, EngineError> {
        let folder = parent.join("channel");
        fs::create_dir(&folder).map_err(EngineError::host("create the folder", &folder))?;
        let options = std::ffi::CString::new(OPTIONS).unwrap_or_default();
        mount(
            "warren",
            &folder,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            options.as_c_str(),
        )
        .map_err(|errno| EngineError::host("mount a tmpfs at", &folder)(errno.into()))?;

        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| {
            EngineError::host("get random bytes for", &folder)(io::Error::other(error))
        })?;
        let secret = Secret::new(bytes);
        let start = StartFile {
            version: VERSION,
            instance: instance.as_str().to_owned(),
            secret: secret.clone(),
        };
        let file = folder.join(START_FILE);
        let text = serde_json::to_vec(&start)
            .map_err(|e| EngineError::host("write", &file)(io::Error::other(e)))?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&file)
            .and_then(|mut open| open.write_all(&text))
            .map_err(EngineError::host("write", &file))?;
        Ok(Self {
            folder,
            instance: instance.clone(),
            secret,
            socket: OnceLock::new(),
        })
    }

    /// The folder, for the engine to mount.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder and what is in it a sandbox's own, whose user 0 has this id on the host. Before the sandbox starts.
    pub fn give_to(&self, owner: u32) -> Result<(), EngineError> {
        for path in [&self.folder, &self.folder.join(START_FILE)] {
            std::os::unix::fs::lchown(path, Some(owner), Some(owner))
                .map_err(EngineError::host("change the owner of", path))?;
        }
        Ok(())
    }

    /// Connects and exchanges hellos. Waits for the agent to listen, within `limit`.
    pub async fn open(&self, kind: StreamKind, limit: Duration) -> Result<UnixStream, EngineError> {
        let deadline = Instant::now() + limit;
        let mut stream = loop {
            match self.connect().await {
                Ok(stream) => break stream,
                Err(EngineError::Stream(error))
                    if Instant::now() < deadline
                        && matches!(
                            error.kind(),
                            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                        ) =>
                {
                    sleep(POLL).await;
                }
                Err(EngineError::Stream(error)) if Instant::now() >= deadline => {
                    tracing::debug!(%error, "the agent's socket did not appear");
                    return Err(EngineError::AgentSilent(limit));
                }
                Err(error) => return Err(error),
            }
        };
        timeout_at(deadline, self.hello(&mut stream, kind))
            .await
            .map_err(|_| EngineError::AgentSilent(limit))??;
        Ok(stream)
    }

    /// Makes the file system of the folder read-only, for the sandbox as well: nothing can be put in the socket's place.
    pub fn seal(&self) -> Result<(), EngineError> {
        mount_remount(
            &self.folder,
            MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
            "",
        )
        .map_err(|errno| EngineError::host("seal the channel folder", &self.folder)(errno.into()))
    }

    /// Connects without following what the sandbox may have put there: the folder and the socket are opened by descriptor, and the connection goes through the descriptor.
    async fn connect(&self) -> Result<UnixStream, EngineError> {
        let socket = match self.socket.get() {
            Some(socket) => socket,
            None => {
                let found = self.find_socket()?;
                self.socket.get_or_init(|| found)
            }
        };
        UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd()))
            .await
            .map_err(EngineError::Stream)
    }

    fn find_socket(&self) -> Result<OwnedFd, EngineError> {
        let failed = |errno: rustix::io::Errno| EngineError::Stream(errno.into());
        let folder = openat(
            CWD,
            &self.folder,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed)?;
        let socket = openat(
            &folder,
            AGENT_SOCKET,
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(failed)?;
        let found = statat(&socket, "", AtFlags::EMPTY_PATH).map_err(failed)?;
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Socket => Ok(socket),
            _ => Err(EngineError::NotASocket),
        }
    }

    async fn hello(&self, stream: &mut UnixStream, kind: StreamKind) -> Result<(), EngineError> {
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce)
            .map_err(|error| EngineError::Stream(io::Error::other(error)))?;
        let hello = Hello::new(
            &self.secret,
            kind,
            self.instance.as_str(),
            &hex::encode(nonce),
        );
        let mut bytes = Vec::new();
        encode_hello(&mut bytes, &hello);
        stream
            .write_all(&bytes)
            .await
            .map_err(EngineError::Stream)?;

        // Reads exactly one frame: what follows belongs to the stream's user.
        let mut decoder = Decoder::new();
        let mut piece = [0; 512];
        loop {
            if let Some(frame) = decoder.next_frame().map_err(EngineError::Hello)? {
                if frame.kind != FrameKind::Welcome {
                    return Err(EngineError::Hello(
                        warren_protocol::ProtocolError::Unexpected {
                            kind: frame.kind,
                            state: "waiting for WELCOME",
                        },
                    ));
                }
                return Welcome::parse(&frame.payload)
                    .and_then(|welcome| welcome.check(&self.secret, &hello))
                    .map_err(EngineError::Hello);
            }
            let missing = decoder.missing().min(piece.len());
            let read = stream
                .read(&mut piece[..missing])
                .await
                .map_err(EngineError::Stream)?;
            if read == 0 {
                return Err(EngineError::Stream(io::ErrorKind::UnexpectedEof.into()));
            }
            decoder.push(&piece[..read]);
        }
    }
}
