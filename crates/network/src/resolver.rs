//! Names for sandboxes: what arrives at the gateway's port 53 goes to the host's own name servers, asked by this process, so that one which listens on
//! the host only serves too and is otherwise out of reach.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};

use crate::{NetworkError, address::GATEWAY_V4};

const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Questions that are under way at one time, of all sandboxes; more are dropped, and asked again by whoever asked.
const QUESTIONS: usize = 512;
/// How long one name server may take, and a connection may last.
const PATIENCE: Duration = Duration::from_secs(5);
const CONNECTION: Duration = Duration::from_secs(30);
/// Largest message over UDP (RFC 6891, 6.2.5 suggests 4096).
const MESSAGE: usize = 4096;

/// The sockets, opened in the router's namespace.
pub(crate) struct Sockets {
    udp: std::net::UdpSocket,
    tcp: std::net::TcpListener,
}

impl Sockets {
    /// Opens them in the namespace of the calling thread.
    pub(crate) fn open() -> Result<Self, NetworkError> {
        let address = SocketAddr::from((GATEWAY_V4, PORT));
        let open = || {
            let udp = std::net::UdpSocket::bind(address)?;
            let tcp = std::net::TcpListener::bind(address)?;
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            Ok(Self { udp, tcp })
        };
        open().map_err(NetworkError::host("listen on", address.to_string()))
    }

    /// Serves them until the tasks are aborted.
    pub(crate) fn serve(self, servers: Arc<NameServers>) -> std::io::Result<[JoinHandle<()>; 2]> {
        let udp = UdpSocket::from_std(self.udp)?;
        let tcp = TcpListener::from_std(self.tcp)?;
        let turns = Arc::new(Semaphore::new(QUESTIONS));
        Ok([
            tokio::spawn(datagrams(
                Arc::new(udp),
                Arc::clone(&servers),
                Arc::clone(&turns),
            )),
            tokio::spawn(connections(tcp, servers, turns)),
        ])
    }
}

/// Whom to ask.
#[derive(Debug, Default)]
pub(crate) struct NameServers {
    /// None: those of the host, as they are at each question.
    fixed: Vec<SocketAddr>,
}

impl NameServers {
    pub(crate) fn new(fixed: Vec<IpAddr>) -> Self {
        Self {
            fixed: fixed.into_iter().map(|ip| (ip, PORT).into()).collect(),
        }
    }

    fn list(&self) -> Vec<SocketAddr> {
        if !self.fixed.is_empty() {
            return self.fixed.clone();
        }
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        named(&text)
    }
}

/// The servers of a resolv.conf(5); without any, one on this host.
fn named(text: &str) -> Vec<SocketAddr> {
    let found: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver")?.split_whitespace().next())
        .filter_map(|word| word.parse::<IpAddr>().ok())
        .map(|ip| SocketAddr::from((ip, PORT)))
        .collect();
    match found.is_empty() {
        true => vec![(Ipv4Addr::LOCALHOST, PORT).into()],
        false => found,
    }
}

async fn datagrams(udp: Arc<UdpSocket>, servers: Arc<NameServers>, turns: Arc<Semaphore>) {
    let mut buffer = [0; MESSAGE];
    loop {
        // An error belongs to an answer that a sandbox no longer took.
        let Ok((length, asker)) = udp.recv_from(&mut buffer).await else {
            continue;
        };
        let Ok(turn) = Arc::clone(&turns).try_acquire_owned() else {
            continue;
        };
        let (udp, servers) = (Arc::clone(&udp), Arc::clone(&servers));
        let question = buffer[..length].to_vec();
        tokio::spawn(async move {
            for server in servers.list() {
                if let Ok(Ok(answer)) = timeout(PATIENCE, ask(server, &question)).await {
                    let _ = udp.send_to(&answer, asker).await;
                    break;
                }
            }
            drop(turn);
        });
    }
}

/// One question from a socket of its own: a port that nobody can guess, and answers from nobody else.
async fn ask(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: IpAddr = match server.is_ipv4() {
        true => Ipv4Addr::UNSPECIFIED.into(),
        false => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; MESSAGE];
    loop {
        let length = socket.recv(&mut answer).await?;
        // The same id, and an answer (RFC 1035, 4.1.1).
        if length > 2 && answer[..2] == question[..question.len().min(2)] && answer[2] & 0x80 != 0 {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn connections(tcp: TcpListener, servers: Arc<NameServers>, turns: Arc<Semaphore>) {
    loop {
        let Ok((mut asker, _)) = tcp.accept().await else {
            // No descriptor left, as a rule: others are about to be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(turn) = Arc::clone(&turns).try_acquire_owned() else {
            continue;
        };
        let servers = Arc::clone(&servers);
        tokio::spawn(async move {
            for server in servers.list() {
                if let Ok(Ok(mut upstream)) = timeout(PATIENCE, TcpStream::connect(server)).await {
                    let _ =
                        timeout(CONNECTION, copy_bidirectional(&mut asker, &mut upstream)).await;
                    break;
                }
            }
            drop(turn);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_those_of_the_host() {
        let text = "# c\nnameserver 192.0.2.1\nsearch example\nnameserver 2001:db8::1\nnameserver fe80::1%eth0\n";
        let found: Vec<_> = named(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.1:53", "[2001:db8::1]:53"]);
        assert_eq!(named("").len(), 1);
    }

    #[tokio::test]
    async fn an_answer_needs_the_question_s_id() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let asked = tokio::spawn(async move { ask(address, &[7, 9, 1, 0]).await.unwrap() });
        let mut buffer = [0; 16];
        let (_, asker) = server.recv_from(&mut buffer).await.unwrap();
        for answer in [[1, 9, 0x81, 1], [7, 9, 0x01, 2], [7, 9, 0x81, 3]] {
            server.send_to(&answer, asker).await.unwrap();
        }
        assert_eq!(asked.await.unwrap(), [7, 9, 0x81, 3]);
    }
}
