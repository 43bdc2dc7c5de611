//! Names for sandboxes: what arrives at the gateway's port 53 goes to the host's own name servers, asked by this process, so that one which listens on
//! the host only serves too and is otherwise out of reach. Only questions for records are passed on. With the policy `allow` the question is read, and
//! asked anew if its name is allowed.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

use crate::{
    Containers, NetworkError,
    address::{self, GATEWAY_V4, Policy},
    askers::Askers,
    message::{self, Kind, Outcome},
    relayed::{self, Verdict},
    router::Router,
    shares::{Share, Shares},
};

const PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Questions that are under way at one time, of one sandbox and of all; more are dropped, and asked again by whoever asked.
const QUESTIONS_EACH: usize = 32;
const QUESTIONS: usize = 512;
/// Connections of sandboxes.
const CONNECTIONS_EACH: usize = 4;
const CONNECTIONS: usize = 128;
/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection may be without a whole question, and a sandbox may take to take an answer.
const IDLE: Duration = Duration::from_secs(5);
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
        let turns = Arc::new(Turns::default());
        Ok([
            tokio::spawn(datagrams(
                Arc::new(udp),
                Arc::clone(&sources),
                router,
                Arc::clone(&turns),
            )),
            tokio::spawn(connections(tcp, sources, turns)),
        ])
    }
}

/// Bounds what is asked and under way, of all sandboxes and of each.
struct Turns {
    rate: Askers,
    questions: Arc<Shares>,
    connections: Arc<Shares>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            rate: Askers::default(),
            questions: Shares::new(QUESTIONS_EACH, QUESTIONS),
            connections: Shares::new(CONNECTIONS_EACH, CONNECTIONS),
        }
    }
}

impl Turns {
    /// None: too much is asked. What is not heard is asked again.
    fn begin(&self, who: IpAddr) -> Option<Share> {
        let turn = self.questions.take(who)?;
        self.rate.heard(who, Instant::now()).then_some(turn)
    }
}

/// How a question came, and goes on.
#[derive(Debug, Clone, Copy)]
enum Transport {
    Udp,
    Tcp,
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
        match self.relay(&question, Transport::Udp).await {
            Some(answer) => message::outcome(&answer, name, kind),
            None => Outcome::Failed,
        }
    }

    /// The first name server that answers.
    async fn relay(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for server in self.name_servers() {
            let asked = async {
                match transport {
                    Transport::Udp => ask(server, question).await,
                    Transport::Tcp => ask_over_tcp(server, question).await,
                }
            };
            if let Ok(Ok(answer)) = timeout(PATIENCE, asked).await {
                return Some(answer);
            }
        }
        None
    }

    /// What a sandbox gets that may ask for every name.
    async fn answer(&self, question: &[u8], transport: Transport) -> Option<Vec<u8>> {
        match relayed::judge(question) {
            Verdict::Pass => self.relay(question, transport).await,
            Verdict::Deny(answer) => Some(answer),
            Verdict::Ignore => None,
        }
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

/// The name servers that functions' questions go to, where these are named; none: those of the host.
pub fn name_servers(named: &[IpAddr]) -> Vec<SocketAddr> {
    Sources::new(named, None).name_servers()
}

/// Whether a name server answers a question at all, whatever the answer is.
pub async fn answers(server: SocketAddr, patience: Duration) -> bool {
    let question = getrandom::u32()
        .ok()
        .and_then(|id| message::query(id as u16, "localhost", Kind::V4));
    match question {
        Some(question) => matches!(timeout(patience, ask(server, &question)).await, Ok(Ok(_))),
        None => false,
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

async fn datagrams(
    udp: Arc<UdpSocket>,
    sources: Arc<Sources>,
    router: Weak<Router>,
    turns: Arc<Turns>,
) {
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
                Some(Policy::Internet) => sources.answer(&question, Transport::Udp).await,
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
        if belongs(&answer[..length], question) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

/// The same id, and an answer (RFC 1035, 4.1.1).
fn belongs(message: &[u8], question: &[u8]) -> bool {
    message.len() > 2 && message[..2] == question[..question.len().min(2)] && message[2] & 0x80 != 0
}

/// One question over a connection of its own.
async fn ask_over_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut connection = TcpStream::connect(server).await?;
    write_message(&mut connection, question).await?;
    let answer = read_message(&mut connection, usize::from(u16::MAX)).await?;
    match belongs(&answer, question) {
        true => Ok(answer),
        false => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// A message with its length before it (RFC 1035, 4.2.2).
async fn read_message(connection: &mut TcpStream, most: usize) -> std::io::Result<Vec<u8>> {
    let length = usize::from(connection.read_u16().await?);
    if length > most {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    connection.read_exact(&mut message).await?;
    Ok(message)
}

async fn write_message(connection: &mut TcpStream, message: &[u8]) -> std::io::Result<()> {
    let length = u16::try_from(message.len()).map_err(std::io::Error::other)?;
    // In one piece: some servers read no further than the first one.
    let framed = [&length.to_be_bytes(), message].concat();
    connection.write_all(&framed).await
}

/// Sandboxes with the policy `allow` have no way here: their answers fit into a datagram.
async fn connections(tcp: TcpListener, sources: Arc<Sources>, turns: Arc<Turns>) {
    loop {
        let Ok((client, asker)) = tcp.accept().await else {
            // No descriptor left, as a rule: others are about to be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        if address::policy_of(asker.ip()) != Some(Policy::Internet) {
            continue;
        }
        let Some(connection) = turns.connections.take(asker.ip()) else {
            continue;
        };
        let (sources, turns) = (Arc::clone(&sources), Arc::clone(&turns));
        tokio::spawn(async move {
            converse(client, asker.ip(), &sources, &turns).await;
            drop(connection);
        });
    }
}

/// One question after the other, each as one that came in a datagram. Ends with the first that is not answered.
async fn converse(mut client: TcpStream, asker: IpAddr, sources: &Sources, turns: &Turns) {
    while let Ok(Ok(question)) = timeout(IDLE, read_message(&mut client, MESSAGE)).await {
        let Some(turn) = turns.begin(asker) else {
            return;
        };
        let Some(answer) = sources.answer(&question, Transport::Tcp).await else {
            return;
        };
        drop(turn);
        if !matches!(
            timeout(IDLE, write_message(&mut client, &answer)).await,
            Ok(Ok(()))
        ) {
            return;
        }
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

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    /// A question for a name that says nothing about it.
    const QUESTION: [u8; 17] = [7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1];

    #[tokio::test]
    async fn questions_of_a_connection_are_passed_on_one_by_one_and_counted() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sources = Sources {
            fixed: vec![server.local_addr().unwrap()],
            containers: None,
        };
        let answering = async {
            loop {
                let (mut asked, _) = server.accept().await.unwrap();
                let mut message = read_message(&mut asked, MESSAGE).await.unwrap();
                message[2] |= 0x80;
                write_message(&mut asked, &message).await.unwrap();
            }
        };
        let turns = Turns::default();
        let (mut client, accepted) = connected().await;
        let asking = async {
            let mut transfer = QUESTION;
            transfer[14] = 252;
            for (question, code) in [(QUESTION, 0), (transfer, 5), (QUESTION, 0)] {
                write_message(&mut client, &question).await.unwrap();
                let answer = read_message(&mut client, MESSAGE).await.unwrap();
                assert_eq!(answer[..4], [7, 9, 0x81, code]);
            }
            // Its burst is over before these are: it is not heard any more.
            let mut answered = 0;
            while answered < 100_000
                && write_message(&mut client, &transfer).await.is_ok()
                && read_message(&mut client, MESSAGE).await.is_ok()
            {
                answered += 1;
            }
            assert!(answered < 100_000);
        };
        let who = [100, 96, 0, 1].into();
        tokio::select! {
            () = answering => {}
            _ = async { tokio::join!(asking, converse(accepted, who, &sources, &turns)) } => {}
        }
    }
}
