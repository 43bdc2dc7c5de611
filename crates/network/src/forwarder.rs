//! The machine itself for sandboxes that may reach it: listeners in the router, for one sandbox each, and connections of this process to the machine's
//! loopback.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use rustix::net::sockopt::set_socket_linger;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpSocket, TcpStream},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    NetworkError,
    address::{MACHINE_V4, Slot},
    shares::Shares,
};

/// Connections of one sandbox at one time, and of all: each costs this process two descriptors.
const CONNECTIONS_EACH: usize = 64;
const CONNECTIONS: usize = 1024;
/// Of clients that are not accepted yet.
const BACKLOG: u32 = 64;
/// How long the machine's service may take to accept.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener that is bound in the router and does not listen yet.
pub(crate) struct Bound {
    socket: TcpSocket,
    port: u16,
    sandbox: IpAddr,
}

/// What all listeners of a router share.
pub(crate) fn shares() -> Arc<Shares> {
    Shares::new(CONNECTIONS_EACH, CONNECTIONS)
}

/// Binds one for a sandbox whose link is there, in the namespace of the calling thread.
pub(crate) fn bind(slot: Slot, port: u16) -> Result<Bound, NetworkError> {
    let address = SocketAddr::from((MACHINE_V4, port));
    let open = || {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        // Only what comes through this sandbox's link is its.
        socket.bind_device(Some(slot.link().as_bytes()))?;
        socket.bind(address)?;
        Ok(Bound {
            socket,
            port,
            sandbox: slot.v4().into(),
        })
    };
    open().map_err(NetworkError::host("listen on", address.to_string()))
}

impl Bound {
    /// Forwards until the task is aborted; its connections end with it.
    pub(crate) fn serve(self, shares: Arc<Shares>) -> io::Result<JoinHandle<()>> {
        let listener = self.socket.listen(BACKLOG)?;
        Ok(tokio::spawn(accept(
            listener,
            self.port,
            self.sandbox,
            shares,
        )))
    }
}

async fn accept(listener: TcpListener, port: u16, sandbox: IpAddr, shares: Arc<Shares>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // No descriptor left, as a rule: others are about to be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        match shares.take(sandbox) {
            None => reset(client),
            Some(share) => {
                connections.spawn(async move {
                    forward(client, port).await;
                    drop(share);
                });
            }
        }
    }
}

async fn forward(mut client: TcpStream, port: u16) {
    let Some(mut service) = dial(port).await else {
        return reset(client);
    };
    // Whatever ends it, both ends see that it ended.
    let _ = copy_bidirectional(&mut client, &mut service).await;
}

async fn dial(port: u16) -> Option<TcpStream> {
    let loopbacks: [SocketAddr; 2] = [
        (Ipv4Addr::LOCALHOST, port).into(),
        (Ipv6Addr::LOCALHOST, port).into(),
    ];
    for address in loopbacks {
        if let Ok(Ok(service)) = timeout(PATIENCE, TcpStream::connect(address)).await {
            // Questions of a database are small and waited for.
            let _ = service.set_nodelay(true);
            return Some(service);
        }
    }
    None
}

/// Ends a connection as a closed port does.
fn reset(client: TcpStream) {
    let _ = set_socket_linger(&client, Some(Duration::ZERO));
}
