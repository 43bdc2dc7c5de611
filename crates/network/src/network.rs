use std::{
    net::{IpAddr, UdpSocket},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Instant,
};

use tokio::{
    runtime::Handle,
    sync::{Mutex as AsyncMutex, mpsc::UnboundedSender},
    task::block_in_place,
};
use warren_model::{NetworkPolicy, ServerId, chain};

use crate::{
    Containers, NetworkError,
    address::{GATEWAY_V4, Policy},
    allowed::Allowed,
    destination::{self, Destination, MACHINE, Place},
    namespace, program,
    refusals::Refused,
    resolver::Sources,
    router::{Lease, Router},
};

/// Where routers are, one folder for each server: cleared by a restart of the host, as they are.
pub(crate) const RUN: &str = "/run/warren";

/// The network of one server's sandboxes.
pub struct Network {
    server: ServerId,
    folder: PathBuf,
    /// Name servers that are asked; none: the host's.
    name_servers: Vec<IpAddr>,
    /// Who knows containers, for the policy `allow`.
    containers: OnceLock<Arc<dyn Containers>>,
    state: Mutex<State>,
}

enum State {
    /// Not tried, or ended.
    Down,
    Up(Arc<Router>),
    /// Why it can't be.
    Unusable(String),
}

/// A sandbox's link to the router. [`remove`](Self::remove) takes it away; so does dropping it, in the background.
pub struct Attachment {
    router: Arc<Router>,
    lease: Arc<Lease>,
    /// Whether it was taken away; held while it is.
    removed: AsyncMutex<bool>,
}

impl Attachment {
    /// Tells now of what the sandbox was refused until now, which else takes some seconds.
    pub async fn tell_refusals(&self) {
        self.router.tell_refusals().await;
    }

    /// Takes the link away, if it did not go with its sandbox. Repeating does nothing: its address may be another sandbox's by then.
    pub async fn remove(&self) -> Result<(), NetworkError> {
        let mut removed = self.removed.lock().await;
        if !*removed {
            self.router.detach(&self.lease).await?;
            *removed = true;
        }
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if *self.removed.get_mut() {
            return;
        }
        // Without a runtime the server ends, and its network with it.
        if let Ok(runtime) = Handle::try_current() {
            let (router, lease) = (Arc::clone(&self.router), Arc::clone(&self.lease));
            runtime.spawn(async move {
                if let Err(error) = router.detach(&lease).await {
                    tracing::warn!(error = chain(&error), "a link that nobody uses is left");
                }
            });
        }
    }
}

impl Network {
    /// Nothing is made yet. Name servers are asked in this order; without any, those of the host.
    pub fn new(server: ServerId, name_servers: Vec<IpAddr>) -> Self {
        Self {
            folder: PathBuf::from(RUN).join(server.as_str()),
            server,
            name_servers,
            containers: OnceLock::new(),
            state: Mutex::new(State::Down),
        }
    }

    /// Whom to ask for containers from the next start on; the first one stays.
    pub fn set_containers(&self, containers: Arc<dyn Containers>) {
        let _ = self.containers.set(containers);
    }

    /// Makes the router, unless there is one. An error says why policies that need it are refused from now on, until it is tried again. Some 150 ms.
    pub async fn start(&self) -> Result<(), NetworkError> {
        if self.is_up() {
            return Ok(());
        }
        let started = self.try_start().await;
        *self.state() = match &started {
            Ok(router) => State::Up(Arc::clone(router)),
            Err(error) => {
                if let Err(left) = block_in_place(|| Router::remove(&self.folder, &self.server)) {
                    tracing::warn!(error = %left, "a failed router could not be cleaned up; the next start of the server will");
                }
                State::Unusable(chain(error))
            }
        };
        started.map(drop)
    }

    async fn try_start(&self) -> Result<Arc<Router>, NetworkError> {
        let missing = program::missing();
        if !missing.is_empty() {
            return Err(NetworkError::Refused(format!(
                "this machine lacks {}; `make setup` installs what can be installed",
                missing.join(", ")
            )));
        }
        block_in_place(|| Router::remove(&self.folder, &self.server))?;
        let sources = Sources::new(&self.name_servers, self.containers.get().cloned());
        let router = Router::start(&self.folder, &self.server, sources).await?;
        let path = self.resolv_conf();
        std::fs::write(&path, format!("nameserver {GATEWAY_V4}\n"))
            .map_err(NetworkError::host("write", path))?;
        Ok(router)
    }

    /// Ends the router and removes all that this server has or had on the host. Blocking, some ten milliseconds.
    pub fn remove(&self) -> Result<(), NetworkError> {
        let before = std::mem::replace(&mut *self.state(), State::Down);
        if let State::Up(router) = before {
            router.close();
        }
        Router::remove(&self.folder, &self.server)
    }

    /// Whether there is a router.
    pub fn is_up(&self) -> bool {
        matches!(*self.state(), State::Up(_))
    }

    /// What a new function gets that does not say: the internet where that can be enforced, otherwise nothing.
    pub fn default_policy(&self) -> NetworkPolicy {
        match *self.state() {
            State::Up(_) => NetworkPolicy::Internet,
            State::Down | State::Unusable(_) => NetworkPolicy::None,
        }
    }

    /// Whether a function may be given this policy: it is enforced here, and all that it names can be meant. Otherwise a sentence that says why not and
    /// what to choose.
    pub fn admit(&self, policy: &NetworkPolicy) -> Result<(), String> {
        if let NetworkPolicy::Allow(named) = policy {
            named.iter().try_for_each(|one| destination::check(one))?;
        }
        self.enforces(policy)
    }

    /// Whether a policy is enforced here, as [`admit`](Self::admit) says it; for functions that have it already.
    pub fn enforces(&self, policy: &NetworkPolicy) -> Result<(), String> {
        let state = self.state();
        let why = match (policy, &*state) {
            (NetworkPolicy::None, _) | (NetworkPolicy::Internet, State::Up(_)) => return Ok(()),
            (NetworkPolicy::Allow(named), State::Up(_)) => {
                return Allowed::read(named).map(drop);
            }
            (_, State::Down) => "the server is stopping",
            (_, State::Unusable(reason)) => reason,
        };
        Err(format!(
            "The network policy '{policy}' can't be enforced: {why}. Warren does not run a function with less isolation than it was asked for; choose 'none' to run it without a network."
        ))
    }

    /// What a policy names and nobody reaches as things are: containers and Docker networks that may come later, and addresses that are the machine's
    /// own. Each a sentence with the next step; nothing about Docker where the daemon does not answer.
    pub async fn out_of_reach(&self, policy: &NetworkPolicy) -> Vec<String> {
        let mut found = Vec::new();
        if let NetworkPolicy::Allow(named) = policy {
            for text in named {
                let why = match text.parse() {
                    Ok(Destination { place, port }) => self.why_out_of_reach(&place, port).await,
                    Err(_) => None,
                };
                found.extend(why.map(|why| format!("--allow {text}: {why}.")));
            }
        }
        found
    }

    async fn why_out_of_reach(&self, place: &Place, port: u16) -> Option<String> {
        let later = "the function reaches nothing there until there is one";
        let containers = self.containers.get();
        let asked = match (place, containers) {
            (Place::Range(prefix), _) => {
                return (prefix.is_single() && is_own(prefix.address)).then(|| {
                    format!(
                        "that is the server's own machine, whose addresses stay closed. Write --allow host:{port}; functions reach it as {MACHINE}"
                    )
                });
            }
            (Place::Container(name), Some(containers)) => {
                let found = containers.of_container(name).await;
                found.map(|found| {
                    let absent = found.is_empty();
                    absent.then(|| format!("no running container is called '{name}' (`docker ps` lists them); {later}"))
                })
            }
            (Place::DockerNetwork(name), Some(containers)) => {
                let found = containers.has_network(name).await;
                found.map(|found| {
                    (!found).then(|| format!("the Docker daemon has no network '{name}' (`docker network ls` lists them); {later}"))
                })
            }
            _ => return None,
        };
        asked.unwrap_or_else(|error| {
            tracing::warn!(
                error,
                "the Docker daemon could not be asked for what a function is allowed"
            );
            None
        })
    }

    /// What a sandbox of this policy has for its `/etc/resolv.conf`, as a file on the host; none if it has no network.
    pub fn resolv_conf_of(&self, policy: &NetworkPolicy) -> Option<PathBuf> {
        (*policy != NetworkPolicy::None).then(|| self.resolv_conf())
    }

    fn resolv_conf(&self) -> PathBuf {
        self.folder.join("resolv.conf")
    }

    /// Gives a sandbox, which has a network namespace without any link, what its policy says; `pid` is a process in it. To be done before anything in the
    /// sandbox runs that expects it. `refused` is told what the policy refuses it, each thing once and within seconds. A few milliseconds.
    pub async fn attach(
        &self,
        policy: &NetworkPolicy,
        pid: u32,
        refused: UnboundedSender<Refused>,
    ) -> Result<Option<Attachment>, NetworkError> {
        if *policy == NetworkPolicy::None {
            return Ok(None);
        }
        self.enforces(policy).map_err(NetworkError::Refused)?;
        let router = match &*self.state() {
            State::Up(router) => Arc::clone(router),
            State::Down | State::Unusable(_) => return Err(NetworkError::Closed),
        };
        let begin = Instant::now();
        let (policy, allowed) = match policy {
            NetworkPolicy::None | NetworkPolicy::Internet => (Policy::Internet, Allowed::default()),
            NetworkPolicy::Allow(named) => (
                Policy::Allow,
                Allowed::read(named).map_err(NetworkError::Refused)?,
            ),
        };
        let sandbox = namespace::of_process(pid)?;
        // To its end, even if nobody waits for it any more: half of it could not be taken back.
        let attached = tokio::spawn(async move {
            let lease = router
                .attach(sandbox, policy, Arc::new(allowed), refused)
                .await?;
            Ok(Attachment {
                router,
                lease: Arc::new(lease),
                removed: AsyncMutex::default(),
            })
        });
        let attachment = attached.await.unwrap_or(Err(NetworkError::Closed))?;
        tracing::debug!(pid, elapsed = ?begin.elapsed(), "a sandbox got its link");
        Ok(Some(attachment))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Whether an address is this machine's: others can't be bound.
fn is_own(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[test]
    fn only_what_is_enforced_is_admitted() {
        let network = Network::new(ServerId::new("test"), Vec::new());
        assert!(network.admit(&NetworkPolicy::None).is_ok());
        assert_eq!(network.default_policy(), NetworkPolicy::None);
        *network.state() = State::Unusable("this machine lacks nft".to_owned());
        let refusal = network.admit(&NetworkPolicy::Internet).unwrap_err();
        assert!(refusal.contains("lacks nft"), "{refusal}");
        assert!(refusal.contains("'none'"), "{refusal}");
        assert_eq!(network.default_policy(), NetworkPolicy::None);
        let allow = NetworkPolicy::Allow(vec!["10.0.0.1:1".to_owned()]);
        assert!(network.admit(&allow).unwrap_err().contains("lacks nft"));
    }

    /// A process in a network namespace of its own, until it is dropped.
    struct Sandbox(std::process::Child);

    impl Sandbox {
        async fn start() -> Self {
            let command = ["--net", "sleep", "60"];
            let child = std::process::Command::new("unshare").args(command).spawn();
            let sandbox = Self(child.unwrap());
            while namespace::of_process(sandbox.0.id()).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            sandbox
        }
    }

    impl Drop for Sandbox {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_link_is_taken_away_once_and_by_itself_if_nobody_has_it() {
        let network = Network::new(ServerId::random(), Vec::new());
        if let Err(error) = network.start().await {
            println!("SKIPPED: no network here: {}", chain(&error));
            return;
        }
        let router = match &*network.state() {
            State::Up(router) => Arc::clone(router),
            State::Down | State::Unusable(_) => panic!("it is up"),
        };
        let settled = async || {
            while router.slots().counts() != (0, 1) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let (one, other) = (Sandbox::start().await, Sandbox::start().await);
        let (refused, _told) = tokio::sync::mpsc::unbounded_channel();
        let attach = |sandbox: &Sandbox| {
            network.attach(&NetworkPolicy::Internet, sandbox.0.id(), refused.clone())
        };
        // Whoever asked goes away.
        assert!(timeout(Duration::ZERO, attach(&one)).await.is_err());
        settled().await;
        // The address that was given back is the other's by now.
        router.slots().wrap();
        let first = attach(&one).await.unwrap().unwrap();
        first.remove().await.unwrap();
        router.slots().wrap();
        let second = attach(&other).await.unwrap().unwrap();
        first.remove().await.unwrap();
        drop(first);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(router.slots().counts(), (1, 1));
        drop(second);
        settled().await;
        block_in_place(|| network.remove()).unwrap();
    }
}
