//! The machine itself for sandboxes that may reach it: listeners in the router, for one sandbox each, and connections of this process to the machine's
//! loopback.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
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
};

/// Connections of one sandbox to one port at one time: each costs this process two descriptors.
const CONNECTIONS: usize = 64;
/// Of clients that are not accepted yet.
const BACKLOG: u32 = 64;
/// How long the machine's service may take to accept.
const PATIENCE: Duration = Duration::from_secs(5);

/// A listener that is bound in the router and does not listen yet.
pub(crate) struct Bound {
    socket: TcpSocket,
    port: u16,
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
        Ok(Bound { socket, port })
    };
    open().map_err(NetworkError::host("listen on", address.to_string()))
}

impl Bound {
    /// Forwards until the task is aborted; its connections end with it.
    pub(crate) fn serve(self) -> io::Result<JoinHandle<()>> {
        let listener = self.socket.listen(BACKLOG)?;
        Ok(tokio::spawn(accept(listener, self.port)))
    }
}

async fn accept(listener: TcpListener, port: u16) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((client, _)) = listener.accept().await else {
            // No descriptor left, as a rule: others are about to be free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if connections.len() >= CONNECTIONS {
            reset(client);
        } else {
            connections.spawn(forward(client, port));
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
