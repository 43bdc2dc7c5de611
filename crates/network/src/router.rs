//! A router that runs: its thread, which is in the namespace, and the tasks that keep it going.

use std::{
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    process::Child,
    sync::oneshot,
    task::{JoinHandle, block_in_place},
    time::sleep,
};
use warren_model::ServerId;

use crate::{
    NetworkError,
    address::{Kind, Slot, Slots},
    destination::Destination,
    link, namespace,
    neighbours::Neighbours,
    netlink::Socket,
    program::nft,
    resolver::{NameServers, Sockets},
    rules, uplink,
};

/// How long the uplink may take to come up; 30 to 70 ms are usual.
const UPLINK_TIME: Duration = Duration::from_secs(5);
/// Between looks whether it has.
const LOOK: Duration = Duration::from_millis(2);
/// Before an uplink that ended is started again.
const RESTART: Duration = Duration::from_millis(200);
/// Between looks whether the host has got other addresses, networks or gateways. The host's own addresses are closed at once, by the host's table.
const NEIGHBOUR_LOOK: Duration = Duration::from_secs(3);

/// What the thread has at hand.
struct Inside {
    socket: Socket,
    router: File,
}

type Job = Box<dyn FnOnce(&Inside) + Send>;

/// A running router, until [`close`](Self::close); its thread ends with the last attachment.
pub(crate) struct Router {
    jobs: mpsc::Sender<Job>,
    slots: Mutex<Slots>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Router {
    /// Makes namespaces, rules and uplink in this folder. On an error the caller removes what there is. Some 150 ms.
    pub(crate) async fn start(
        folder: &Path,
        server: &ServerId,
        name_servers: Vec<IpAddr>,
    ) -> Result<Arc<Self>, NetworkError> {
        uplink::tap_works().map_err(NetworkError::host("open", crate::program::TUN))?;
        // The rules are there before there is a way out.
        let neighbours = block_in_place(|| {
            namespace::create(folder)?;
            nft(&rules::host(server))?;
            Neighbours::find()
        })?;
        let router = Arc::new(Self {
            jobs: thread(&folder.join("net"))?,
            slots: Mutex::default(),
            tasks: Mutex::default(),
        });
        let text = rules::router(&neighbours);
        let sockets = router
            .run(move |inside| {
                link::become_router(&inside.socket)?;
                nft(&text)?;
                Sockets::open()
            })
            .await?;
        let child = up(&router, folder).await?;
        let serving = sockets
            .serve(Arc::new(NameServers::new(name_servers)))
            .map_err(NetworkError::host("serve names in", folder))?;
        let weak = Arc::downgrade(&router);
        router.tasks().extend(serving);
        router.tasks().extend([
            tokio::spawn(keep_uplink(weak.clone(), folder.to_owned(), child)),
            tokio::spawn(keep_neighbours(weak, neighbours)),
        ]);
        Ok(router)
    }

    /// Ends its tasks and the uplink: nothing gets out any more.
    pub(crate) fn close(&self) {
        for task in self.tasks().drain(..) {
            task.abort();
        }
    }

    /// Removes what routers of this server left or have; none of them may be in use. Blocking.
    pub(crate) fn remove(folder: &Path, server: &ServerId) -> Result<(), NetworkError> {
        if !folder.exists() {
            return Ok(());
        }
        uplink::reap(folder)?;
        nft(&rules::remove_host(server))?;
        // Last: as long as it is there, the next start tries again.
        namespace::remove(folder)
    }

    /// Gives a sandbox a link. Destinations count for the kind `Allow` only.
    pub(crate) async fn attach(
        &self,
        pid: u32,
        kind: Kind,
        destinations: &[Destination],
    ) -> Result<Slot, NetworkError> {
        let sandbox = namespace::of_process(pid)?;
        let slot = self.slots().take(kind)?;
        let open = rules::allowed("add", slot, destinations);
        let close = rules::allowed("delete", slot, destinations);
        let outcome = self
            .run(move |inside| {
                nft(&open)?;
                let attached = link::attach(&inside.socket, &inside.router, &sandbox, slot);
                if attached.is_err() {
                    nft(&close)?;
                }
                attached
            })
            .await;
        match outcome {
            Ok(()) => Ok(slot),
            Err(error) => {
                self.slots().give_back(slot);
                Err(error)
            }
        }
    }

    /// Takes it away again.
    pub(crate) async fn detach(
        &self,
        slot: Slot,
        destinations: &[Destination],
    ) -> Result<(), NetworkError> {
        let close = rules::allowed("delete", slot, destinations);
        self.run(move |inside| {
            link::detach(&inside.socket, slot)?;
            nft(&close)
        })
        .await?;
        self.slots().give_back(slot);
        Ok(())
    }

    /// Has the thread do something, after what it was told before.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inside) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |inside| {
            // Whoever asked may have gone away.
            let _ = tell.send(work(inside));
        });
        self.jobs.send(job).map_err(|_| NetworkError::Closed)?;
        told.await.map_err(|_| NetworkError::Closed)?
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A thread in the namespace; it ends with its sender.
fn thread(namespace: &Path) -> Result<mpsc::Sender<Job>, NetworkError> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let (tell, told) = mpsc::channel();
    let router = File::open(namespace).map_err(NetworkError::host("open", namespace))?;
    let work = move || {
        let inside = namespace::enter(&router)
            .and_then(|()| Socket::open())
            .map(|socket| Inside { socket, router });
        match inside {
            Ok(inside) => {
                let _ = tell.send(Ok(()));
                for job in queue {
                    job(&inside);
                }
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    };
    std::thread::Builder::new()
        .name("warren-router".to_owned())
        .spawn(work)
        .map_err(NetworkError::host("start a thread for", namespace))?;
    block_in_place(|| told.recv().map_err(|_| NetworkError::Closed))??;
    Ok(jobs)
}

/// Starts the uplink and waits until it carries.
async fn up(router: &Router, folder: &Path) -> Result<Child, NetworkError> {
    let mut child = uplink::start(folder)?;
    let deadline = Instant::now() + UPLINK_TIME;
    loop {
        if router.run(|_| Ok(uplink::is_up())).await? {
            return Ok(child);
        }
        let ended = child.try_wait().ok().flatten();
        if ended.is_some() || Instant::now() >= deadline {
            let _ = child.start_kill();
            let mut said = String::new();
            if let Some(mut output) = child.stderr.take() {
                let _ = output.read_to_string(&mut said).await;
            }
            let how = ended.map_or("it does not answer".to_owned(), |status| status.to_string());
            return Err(NetworkError::Uplink(format!("{how}. {}", said.trim())));
        }
        sleep(LOOK).await;
    }
}

/// Starts an uplink that ends again. Sandboxes keep their links; open connections are lost.
async fn keep_uplink(router: std::sync::Weak<Router>, folder: PathBuf, mut child: Child) {
    loop {
        match child.wait().await {
            Ok(status) => tracing::warn!(%status, "the uplink ended; it is started again"),
            Err(error) => tracing::warn!(%error, "the uplink can't be waited for"),
        }
        child = loop {
            sleep(RESTART).await;
            let Some(router) = router.upgrade() else {
                return;
            };
            match up(&router, &folder).await {
                Ok(child) => break child,
                Err(error) => tracing::error!(%error, "the uplink could not be started again"),
            }
        };
    }
}

/// Keeps what is near in the rules.
async fn keep_neighbours(router: std::sync::Weak<Router>, mut known: Neighbours) {
    loop {
        sleep(NEIGHBOUR_LOOK).await;
        let Some(router) = router.upgrade() else {
            return;
        };
        let found = match block_in_place(Neighbours::find) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "the host's networks could not be listed");
                continue;
            }
        };
        if found == known {
            continue;
        }
        let text = rules::near(&found);
        match router.run(move |_| nft(&text)).await {
            Ok(()) => known = found,
            Err(error) => tracing::error!(%error, "the host's networks could not be denied"),
        }
    }
}
