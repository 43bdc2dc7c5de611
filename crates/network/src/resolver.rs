//! Names for sandboxes: what arrives at the gateway's port 53 goes to the host's own name servers, asked by this process, so that one which listens on
//! the host only serves too and is otherwise out of reach. With the policy `allow` the question is read, and asked anew if its name is allowed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Containers, NetworkError,
    address::{self, GATEWAY_V4, Policy},
    askers::{Askers, Turn},
    message::{self, Kind, Outcome},
    router::Router,
};

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
    pub(crate) fn serve(
        self,
        sources: Arc<Sources>,
        router: Weak<Router>,
    ) -> std::io::Result<[JoinHandle<()>; 2]> {
        let udp = UdpSocket::from_std(self.udp)?;
        let tcp = TcpListener::from_std(self.tcp)?;
        let turns = Turns::default();
        Ok([
            tokio::spawn(datagrams(
                Arc::new(udp),
                Arc::clone(&sources),
                router,
                turns.clone(),
            )),
            tokio::spawn(connections(tcp, sources, turns)),
        ])
    }
}

/// Bounds what is under way, of all sandboxes and of each.
#[derive(Clone)]
struct Turns {
    all: Arc<Semaphore>,
    askers: Arc<Askers>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            all: Arc::new(Semaphore::new(QUESTIONS)),
            askers: Arc::default(),
        }
    }
}

impl Turns {
    /// None: too much is asked. What is not heard is asked again.
    fn begin(&self, who: IpAddr) -> Option<(Turn, OwnedSemaphorePermit)> {
        let own = self.askers.begin(who, Instant::now())?;
        let shared = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some((own, shared))
    }
}

/// Whom to ask.
#[derive(Default)]
pub(crate) struct Sources {
    /// None: those of the host, as they are at each question.
    fixed: Vec<SocketAddr>,
    containers: Option<Arc<dyn Containers>>,
}

impl Sources {
    pub(crate) fn new(fixed: &[IpAddr], containers: Option<Arc<dyn Containers>>) -> Self {
        Self {
            fixed: fixed.iter().map(|ip| (*ip, PORT).into()).collect(),
            containers,
        }
    }

    fn name_servers(&self) -> Vec<SocketAddr> {
        if !self.fixed.is_empty() {
            return self.fixed.clone();
        }
        let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        named(&text)
    }

    /// Asks the name servers for addresses.
    pub(crate) async fn ask(&self, name: &str, kind: Kind) -> Outcome {
        let Ok(id) = getrandom::u32() else {
            return Outcome::Failed;
        };
        let Some(question) = message::query(id as u16, name, kind) else {
            return Outcome::Unknown;
        };
        match self.relay(&question).await {
            Some(answer) => message::outcome(&answer, name, kind),
            None => Outcome::Failed,
        }
    }

    /// The first name server that answers.
    async fn relay(&self, question: &[u8]) -> Option<Vec<u8>> {
        for server in self.name_servers() {
            if let Ok(Ok(answer)) = timeout(PATIENCE, ask(server, question)).await {
                return Some(answer);
            }
        }
        None
    }

    pub(crate) async fn container(&self, name: &str) -> Result<Vec<IpAddr>, String> {
        match &self.containers {
            Some(containers) => containers.of_container(name).await,
            None => Err("nobody knows containers here".to_owned()),
        }
    }

    /// With the network on which it was found.
    pub(crate) async fn on_networks(
        &self,
        networks: &[String],
        name: &str,
    ) -> (Result<Vec<IpAddr>, String>, String) {
        let Some(containers) = &self.containers else {
            return (
                Err("nobody knows containers here".to_owned()),
                String::new(),
            );
        };
        for network in networks {
            match containers.on_network(network, name).await {
                Ok(found) if found.is_empty() => {}
                outcome => return (outcome, network.clone()),
            }
        }
        (Ok(Vec::new()), String::new())
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

async fn datagrams(udp: Arc<UdpSocket>, sources: Arc<Sources>, router: Weak<Router>, turns: Turns) {
    let mut buffer = [0; MESSAGE];
    loop {
        // An error belongs to an answer that a sandbox no longer took.
        let Ok((length, asker)) = udp.recv_from(&mut buffer).await else {
            continue;
        };
        let Some(turn) = turns.begin(asker.ip()) else {
            continue;
        };
        let (udp, sources, router) = (Arc::clone(&udp), Arc::clone(&sources), Weak::clone(&router));
        let question = buffer[..length].to_vec();
        tokio::spawn(async move {
            let answer = match address::policy_of(asker.ip()) {
                Some(Policy::Internet) => sources.relay(&question).await,
                Some(Policy::Allow) => filtered(asker.ip(), &question, &sources, &router).await,
                None => None,
            };
            if let Some(answer) = answer {
                let _ = udp.send_to(&answer, asker).await;
            }
            drop(turn);
        });
    }
}

/// For a sandbox that may know some names only.
async fn filtered(
    asker: IpAddr,
    question: &[u8],
    sources: &Sources,
    router: &Weak<Router>,
) -> Option<Vec<u8>> {
    let router = router.upgrade()?;
    let names = router.names_of(asker)?;
    names.answer(question, sources, &router).await
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

/// Sandboxes with the policy `allow` have no way here: their answers fit into a datagram.
async fn connections(tcp: TcpListener, sources: Arc<Sources>, turns: Turns) {
    loop {
        let Ok((mut client, asker)) = tcp.accept().await else {
            // No descriptor left, as a rule: others are about to be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let internet = address::policy_of(asker.ip()) == Some(Policy::Internet);
        let Some(turn) = turns.begin(asker.ip()).filter(|_| internet) else {
            continue;
        };
        let sources = Arc::clone(&sources);
        tokio::spawn(async move {
            for server in sources.name_servers() {
                if let Ok(Ok(mut upstream)) = timeout(PATIENCE, TcpStream::connect(server)).await {
                    let _ =
                        timeout(CONNECTION, copy_bidirectional(&mut client, &mut upstream)).await;
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
