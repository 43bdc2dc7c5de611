//! Whether a Docker daemon answers, asked without a client library: one request of the plainest kind.

use std::{
    env,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    os::unix::net::UnixStream,
    time::Duration,
};

use super::{Check, Verdict};

const DEFAULT: &str = "unix:///var/run/docker.sock";
const PATIENCE: Duration = Duration::from_secs(3);
const PING: &[u8] = b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n";
/// The head of a pong fits.
const ENOUGH: u64 = 4096;

pub(super) fn check() -> Check {
    let address = env::var("DOCKER_HOST")
        .ok()
        .filter(|address| !address.is_empty())
        .unwrap_or_else(|| DEFAULT.to_owned());
    match ping(&address) {
        Ok(()) => Check::ok("docker daemon", address),
        Err(error) => Check::bad(
            "docker daemon",
            Verdict::Missing,
            format!("{address}: {error}"),
            match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    "run this as root, or as a user of the group 'docker'"
                }
                _ => {
                    "install and start one (Debian: apt-get install docker.io), run `make setup`, or set DOCKER_HOST"
                }
            },
        ),
    }
}

fn ping(address: &str) -> io::Result<()> {
    if let Some(path) = address.strip_prefix("unix://") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        return pong(stream);
    }
    let Some(host) = address
        .strip_prefix("tcp://")
        .or_else(|| address.strip_prefix("http://"))
    else {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "only unix:// and tcp:// can be checked here",
        ));
    };
    let target = host
        .trim_end_matches('/')
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no address"))?;
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    pong(stream)
}

fn pong(mut stream: impl Read + Write) -> io::Result<()> {
    stream.write_all(PING)?;
    let mut answer = Vec::new();
    stream.take(ENOUGH).read_to_end(&mut answer)?;
    let status = String::from_utf8_lossy(&answer);
    match status.split(' ').nth(1) {
        Some("200") => Ok(()),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what answers is no Docker daemon",
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, os::unix::net::UnixListener};

    use super::*;

    #[test]
    fn a_daemon_is_told_from_silence_and_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.sock");
        let address = format!("unix://{}", path.display());
        assert_eq!(ping(&address).unwrap_err().kind(), io::ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; PING.len()];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nOK").unwrap();
        });
        ping(&address).unwrap();
        daemon.join().unwrap();
        assert!(pong(Cursor::new(Vec::new())).is_err());
        assert!(ping("ssh://host").is_err());
    }
}
