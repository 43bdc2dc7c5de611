//! A router that runs: its thread, which is in the namespace, and the tasks that keep it going.

use std::{
    collections::HashMap,
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    process::Child,
    sync::{mpsc::UnboundedSender, oneshot},
    task::{JoinHandle, block_in_place},
    time::sleep,
};
use warren_model::ServerId;

use crate::{
    NetworkError,
    address::{Policy, Slot, Slots},
    allowed::Allowed,
    forwarder, link,
    looks::Looks,
    names::Names,
    namespace,
    neighbours::Neighbours,
    netlink::Socket,
    program::{has_table, listed, nft},
    refusals::{self, Refusals, Refused},
    resolver::{Sockets, Sources},
    rules,
    shares::Shares,
    uplink,
};

/// The thread in the namespace; the kernel keeps 15 bytes of its name.
pub(crate) const THREAD: &str = "warren-router";
/// How long the uplink may take to come up; 30 to 70 ms are usual.
const UPLINK_TIME: Duration = Duration::from_secs(5);
/// Between looks whether it has.
const LOOK: Duration = Duration::from_millis(2);
/// Before an uplink that ended is started again.
const RESTART: Duration = Duration::from_millis(200);
/// Between looks whether the host has got other addresses, networks or gateways, and has its table still. The host's own addresses are closed at once, by
/// that table.
const NEIGHBOUR_LOOK: Duration = Duration::from_secs(3);

/// Between looks at what was refused.
const REFUSALS_LOOK: Duration = Duration::from_secs(3);

/// What the thread has at hand.
struct Inside {
    socket: Socket,
    router: File,
}

/// Answers whether the thread is where it was.
type Job = Box<dyn FnOnce(&Inside) -> bool + Send>;

/// A running router, until [`close`](Self::close); its thread ends with the last attachment.
pub(crate) struct Router {
    jobs: mpsc::Sender<Job>,
    slots: Mutex<Slots>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// Of sandboxes with the policy `allow`, by address.
    names: Mutex<HashMap<IpAddr, Arc<Names>>>,
    refusals: Refusals,
    /// Whether the kernel notes what the rules refuse.
    notes: AtomicBool,
    looks: Looks,
    /// Of connections to the machine.
    machine: Arc<Shares>,
    /// Whether it is closed; held while the host's table is looked after, so that it is not made anew after its removal.
    closed: Mutex<bool>,
}

/// What one sandbox has of the router.
pub(crate) struct Lease {
    slot: Slot,
    allowed: Arc<Allowed>,
    names: Arc<Names>,
    forwarders: Mutex<Vec<JoinHandle<()>>>,
}

impl Lease {
    fn forwarders(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.forwarders.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Router {
    /// Makes namespaces, rules and uplink in this folder. On an error the caller removes what there is. Some 150 ms.
    pub(crate) async fn start(
        folder: &Path,
        server: &ServerId,
        sources: Sources,
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
            names: Mutex::default(),
            refusals: Refusals::default(),
            notes: AtomicBool::new(false),
            looks: Looks::default(),
            machine: forwarder::shares(),
            closed: Mutex::default(),
        });
        let text = rules::router(&neighbours);
        let sockets = router
            .run(move |inside| {
                link::become_router(&inside.socket)?;
                nft(&text)?;
                if let Err(error) = nft(&rules::bound()) {
                    tracing::warn!(%error, "the kernel can't count connections (module nft_connlimit): one sandbox may take all that the uplink carries");
                }
                let notes = match nft(&rules::notes()) {
                    Ok(()) => true,
                    Err(error) => {
                        tracing::warn!(%error, "the kernel can't note what it refuses (module nft_limit): logs of functions don't tell of it");
                        false
                    }
                };
                Ok((Sockets::open()?, notes))
            })
            .await?;
        let (sockets, notes) = sockets;
        router.notes.store(notes, Ordering::Relaxed);
        let child = up(&router, folder).await?;
        let serving = sockets
            .serve(Arc::new(sources), Arc::downgrade(&router))
            .map_err(NetworkError::host("serve names in", folder))?;
        let weak = Arc::downgrade(&router);
        router.tasks().extend(serving);
        router.tasks().extend([
            tokio::spawn(keep_uplink(weak.clone(), folder.to_owned(), child)),
            tokio::spawn(keep_neighbours(weak.clone(), neighbours, server.clone())),
            tokio::spawn(tell_refusals(weak)),
        ]);
        Ok(router)
    }

    /// Ends its tasks and the uplink: nothing gets out any more.
    pub(crate) fn close(&self) {
        *self.closed() = true;
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

    /// Gives a sandbox, by its network namespace, a link, and what it may reach over it.
    pub(crate) async fn attach(
        &self,
        sandbox: File,
        policy: Policy,
        allowed: Arc<Allowed>,
        refused: UnboundedSender<Refused>,
    ) -> Result<Lease, NetworkError> {
        let slot = self.slots().take(policy)?;
        let lease = Lease {
            slot,
            names: Arc::new(Names::new(slot, Arc::clone(&allowed))),
            allowed,
            forwarders: Mutex::default(),
        };
        if policy == Policy::Allow {
            self.names()
                .insert(slot.v4().into(), Arc::clone(&lease.names));
        }
        self.refusals.listen(slot, refused);
        match self.open(&lease, sandbox).await {
            Ok(()) => Ok(lease),
            Err(error) => {
                // The first error is the one to tell.
                if let Err(left) = self.detach(&lease).await {
                    tracing::warn!(error = %left, "a link that could not be made is left in part");
                }
                Err(error)
            }
        }
    }

    async fn open(&self, lease: &Lease, sandbox: File) -> Result<(), NetworkError> {
        let slot = lease.slot;
        let open = rules::allowed("add", slot, &lease.allowed.openings);
        let ports = lease.allowed.machine.clone();
        let bound = self
            .run(move |inside| {
                nft(&open)?;
                link::attach(&inside.socket, &inside.router, &sandbox, slot)?;
                let bind = |port| forwarder::bind(slot, port);
                ports.into_iter().map(bind).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        for listener in bound {
            let serving = listener.serve(Arc::clone(&self.machine));
            let serving = serving.map_err(NetworkError::host("listen in", "the router"))?;
            lease.forwarders().push(serving);
        }
        Ok(())
    }

    /// Takes all of it away again, as far as it is there.
    pub(crate) async fn detach(&self, lease: &Lease) -> Result<(), NetworkError> {
        let slot = lease.slot;
        self.names().remove(&slot.v4().into());
        self.refusals.leave(slot);
        for forwarder in lease.forwarders().drain(..) {
            forwarder.abort();
        }
        let close = rules::allowed("add", slot, &lease.allowed.openings)
            + &rules::allowed("delete", slot, &lease.allowed.openings);
        let names = Arc::clone(&lease.names);
        let closed = self.run(move |inside| {
            link::detach(&inside.socket, slot)?;
            nft(&(close + &names.close()))?;
            names.forget();
            Ok(())
        });
        match closed.await {
            Ok(()) => {
                self.slots().give_back(slot);
                Ok(())
            }
            // The link went with its sandbox, and nobody gets this address again.
            Err(NetworkError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the host's table again if somebody removed it, as `flush ruleset` does. Blocking, some milliseconds.
    fn keep_host_table(&self, server: &ServerId) {
        let closed = self.closed();
        if *closed || has_table(&rules::host_table(server)) {
            return;
        }
        match nft(&rules::host(server)) {
            Ok(()) => tracing::warn!(
                "the host's table of rules was removed by somebody; it is there again"
            ),
            Err(error) => {
                tracing::error!(%error, "the host's table of rules is gone and could not be made again")
            }
        }
    }

    /// What the sandbox with this address may ask for; none if it may not.
    pub(crate) fn names_of(&self, sandbox: IpAddr) -> Option<Arc<Names>> {
        self.names().get(&sandbox).map(Arc::clone)
    }

    /// Tells the sandbox's owner that a name was not answered.
    pub(crate) fn tell_of_name(&self, sandbox: IpAddr, name: &str) {
        self.refusals.tell(sandbox, Refused::Name(name.to_owned()));
    }

    /// Tells of all that the rules have noted until now, of every sandbox. Some milliseconds, however many ask for it at one time.
    pub(crate) async fn tell_refusals(&self) {
        if !self.notes.load(Ordering::Relaxed) {
            return;
        }
        let look = async {
            for set in refusals::sets() {
                match self.run(move |_| listed(set)).await {
                    Ok(said) => self.refusals.tell_all(refusals::read(&said)),
                    Err(error) => tracing::warn!(%error, set, "what was refused could not be read"),
                }
            }
        };
        self.looks.after_now(look).await;
    }

    /// Changes the router's rules, all of it or nothing; nothing if they are for a sandbox that is closed meanwhile.
    pub(crate) async fn change_rules(
        &self,
        commands: String,
        closed: Arc<AtomicBool>,
    ) -> Result<(), NetworkError> {
        self.run(move |_| match closed.load(Ordering::Relaxed) {
            true => Err(NetworkError::Closed),
            false => nft(&commands),
        })
        .await
    }

    /// Has the thread do something, after what it was told before.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inside) -> Result<T, NetworkError> + Send + 'static,
    ) -> Result<T, NetworkError> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move |inside| {
            let outcome = work(inside);
            let astray = matches!(outcome, Err(NetworkError::Astray(_)));
            // Whoever asked may have gone away.
            let _ = tell.send(outcome);
            !astray
        });
        self.jobs.send(job).map_err(|_| NetworkError::Closed)?;
        told.await.map_err(|_| NetworkError::Closed)?
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn names(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Names>>> {
        self.names.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn closed(&self) -> MutexGuard<'_, bool> {
        self.closed.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A thread in the namespace; it ends with its sender, or when it is not there any more.
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
                    if !job(&inside) {
                        tracing::error!(
                            "the router's thread is in a sandbox's namespace and ends: no sandbox with a network starts until the server is started again"
                        );
                        break;
                    }
                }
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    };
    std::thread::Builder::new()
        .name(THREAD.to_owned())
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

/// Keeps what is near in the rules, and the host's table where it is.
async fn keep_neighbours(router: std::sync::Weak<Router>, mut known: Neighbours, server: ServerId) {
    loop {
        sleep(NEIGHBOUR_LOOK).await;
        let Some(router) = router.upgrade() else {
            return;
        };
        block_in_place(|| router.keep_host_table(&server));
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

/// Tells of what the rules noted, and lets go of those whose sandboxes are gone.
async fn tell_refusals(router: std::sync::Weak<Router>) {
    loop {
        sleep(REFUSALS_LOOK).await;
        let Some(router) = router.upgrade() else {
            return;
        };
        if router.refusals.is_empty() {
            continue;
        }
        // What these were refused is noted by now.
        let leaving = router.refusals.leaving();
        router.tell_refusals().await;
        router.refusals.forget(&leaving);
    }
}
