//! Names for one sandbox with the policy `allow`: only what is allowed is answered, and what is answered is open from then on, for a while.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    NetworkError,
    address::{MACHINE_V4, Slot},
    allowed::{Allowed, Named, Source},
    link::has_ipv6,
    message::{Kind, Outcome, Question},
    resolver::Sources,
    router::Router,
    rules::{self, Pin, PinSet},
};

/// How long an address stays open for new connections at least: a client may look at its answer for longer than the answer lives.
const OPEN: Duration = Duration::from_secs(60);
/// And at most, whatever a name server says.
const OPEN_MOST: Duration = Duration::from_secs(3600);
/// Addresses of containers change hands quickly.
const OPEN_CONTAINER: Duration = Duration::from_secs(10);
/// Time to live of answers about containers, in seconds.
const CONTAINER_TTL: u32 = 1;
/// Of the machine's own address, in seconds.
const MACHINE_TTL: u32 = 60;
/// Elements that one sandbox may have in the sets at one time.
const PINS: usize = 256;

/// One sandbox's names.
pub(crate) struct Names {
    slot: Slot,
    allowed: Arc<Allowed>,
    /// What is open, and until when.
    pins: Mutex<HashMap<Pin, Instant>>,
    /// Held while something is opened.
    pinning: tokio::sync::Mutex<()>,
    /// The sandbox is gone. Set by the router's thread, which also opens: nothing is opened after it.
    closed: Arc<AtomicBool>,
}

impl Names {
    pub(crate) fn new(slot: Slot, allowed: Arc<Allowed>) -> Self {
        Self {
            slot,
            allowed,
            pins: Mutex::default(),
            pinning: tokio::sync::Mutex::default(),
            closed: Arc::default(),
        }
    }

    /// Answers a question, in bytes; what is none gets no answer.
    pub(crate) async fn answer(
        &self,
        bytes: &[u8],
        sources: &Sources,
        router: &Router,
    ) -> Option<Vec<u8>> {
        let question = Question::read(bytes)?;
        let outcome = self.look_up(&question.name, question.kind, sources, router);
        let outcome = outcome.await;
        question.answer(&outcome)
    }

    async fn look_up(&self, name: &str, kind: Kind, sources: &Sources, router: &Router) -> Outcome {
        let Some(Named { source, ports }) = self.allowed.find(name) else {
            if kind != Kind::Other {
                router.tell_of_name(self.slot.v4().into(), name);
            }
            return Outcome::Unknown;
        };
        let absent = kind == Kind::Other || kind == Kind::V6 && !has_ipv6();
        if absent && !matches!(source, Source::Networks(_)) {
            return Outcome::nothing();
        }
        let (outcome, ports, set, least) = match source {
            Source::Machine => {
                return match kind {
                    Kind::V4 => Outcome::Found {
                        addresses: vec![MACHINE_V4.into()],
                        ttl: MACHINE_TTL,
                    },
                    _ => Outcome::nothing(),
                };
            }
            Source::PrivateName => (sources.ask(name, kind).await, ports, PinSet::Own, OPEN),
            Source::PublicName => (sources.ask(name, kind).await, ports, PinSet::Public, OPEN),
            Source::Container(name) => {
                let found = sources.container(&name).await;
                (of(found, kind), ports, PinSet::Own, OPEN_CONTAINER)
            }
            Source::Networks(networks) => {
                let (found, network) = sources.on_networks(&networks, name).await;
                let ports = self.allowed.ports_of_network(&network);
                (of(found, kind), ports, PinSet::Own, OPEN_CONTAINER)
            }
        };
        let Outcome::Found { addresses, ttl } = &outcome else {
            return outcome;
        };
        let open = Duration::from_secs((*ttl).into()).clamp(least, OPEN_MOST);
        match self.pin(addresses, &ports, set, open, router).await {
            Ok(()) => outcome,
            Err(error) => {
                tracing::warn!(name, %error, "an allowed name could not be opened");
                Outcome::Failed
            }
        }
    }

    /// Opens addresses at these ports, unless they still are for long enough.
    async fn pin(
        &self,
        addresses: &[IpAddr],
        ports: &BTreeSet<u16>,
        set: PinSet,
        open: Duration,
        router: &Router,
    ) -> Result<(), NetworkError> {
        // One at a time: who finds a pin may answer, and it must be open by then.
        let _turn = self.pinning.lock().await;
        let now = Instant::now();
        let wanted: Vec<Pin> = {
            let mut pins = self.pins();
            pins.retain(|_, until| *until > now);
            let of_address = |address: &IpAddr| {
                let address = *address;
                ports.iter().map(move |port| Pin {
                    set,
                    address,
                    port: *port,
                })
            };
            // Half of the time must be left: the answer may be used that late.
            let short = |pin: &Pin| pins.get(pin).is_none_or(|until| *until < now + open / 2);
            addresses
                .iter()
                .flat_map(of_address)
                .filter(short)
                .collect()
        };
        if wanted.is_empty() {
            return Ok(());
        }
        if self.pins().len() + wanted.len() > PINS {
            return Err(NetworkError::Refused(format!(
                "its names came to more than {PINS} addresses and ports within an hour; allow ranges in their place"
            )));
        }
        let text = rules::pin(self.slot, &wanted, open);
        // Known before it is open, so that whatever happens it is closed with the sandbox.
        self.pins()
            .extend(wanted.iter().map(|pin| (*pin, now + open)));
        let opened = router.change_rules(text, Arc::clone(&self.closed)).await;
        if opened.is_err() {
            self.pins().retain(|pin, _| !wanted.contains(pin));
        }
        opened
    }

    /// The commands that close all; nothing is opened any more. For the router's thread.
    pub(crate) fn close(&self) -> String {
        self.closed.store(true, Ordering::Relaxed);
        let open: Vec<Pin> = self.pins().keys().copied().collect();
        rules::unpin(self.slot, &open)
    }

    /// After those commands were done: nothing is open.
    pub(crate) fn forget(&self) {
        self.pins().clear();
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<Pin, Instant>> {
        self.pins.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Addresses of containers as an answer; no container is no name.
fn of(found: Result<Vec<IpAddr>, String>, kind: Kind) -> Outcome {
    match found {
        Ok(addresses) if addresses.is_empty() => Outcome::Unknown,
        Ok(mut addresses) => {
            addresses.retain(|address| kind.fits(address));
            Outcome::Found {
                addresses,
                ttl: CONTAINER_TTL,
            }
        }
        Err(error) => {
            tracing::warn!(error, "a container's addresses could not be asked for");
            Outcome::Failed
        }
    }
}
