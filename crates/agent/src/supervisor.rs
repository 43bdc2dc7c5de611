//! One runtime at a time:
//!
//! ```text
//!            CLAIM and call stream are there                exit, output drained, EXITED sent
//!  Waiting -----------------------------------> Running -------------------------------------> Waiting
//!     ^                                            |
//!     +--- EXITED {"spawn": why} if it can't start |  KILL, DEADLINE, end of the control stream: SIGKILL
//! ```
//! A CLAIM or a call stream that comes while a runtime runs is for the next one.
//!
//! SUSPEND lets all streams go, whatever the state, until the host connects again: after a restore, with a start file of its own. The call stream that comes
//! then is for the runtime that runs.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{read, write};
use rustix::process::{Pid, Signal, getpid, kill_process_group};
use warren_protocol::{Claim, Exited, encode_exited};

use crate::control;
use crate::deadline::Alarm;
use crate::outbox::Outbox;
use crate::report::report;
use crate::runtime::Runtime;
use crate::runtime_api::ApiServer;
use crate::signals;
use crate::stand_in::StandIn;
use crate::threads::{lock, spawn};

/// What the agent has and runs.
pub(crate) struct Supervisor {
    /// The deadline of the call in progress.
    pub(crate) alarm: Alarm,
    /// The Lambda Runtime API, for runtimes that want it.
    pub(crate) api: ApiServer,
    state: Mutex<State>,
    /// Readable once SUSPEND has come.
    suspension: OwnedFd,
    resumed: Condvar,
}

#[derive(Default)]
struct State {
    control: Option<Arc<Outbox>>,
    claim: Option<Claim>,
    call_stream: Option<UnixStream>,
    runtime: Option<Arc<Runtime>>,
    /// Between SUSPEND and the host's return.
    suspended: bool,
    /// In the control stream's place meanwhile.
    stand_in: Option<StandIn>,
    /// The next call stream is for the runtime that runs.
    restored: bool,
}

impl Supervisor {
    pub(crate) fn new() -> Result<Self, String> {
        let suspension = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| format!("eventfd: {error}"))?;
        Ok(Self {
            alarm: Alarm::default(),
            api: ApiServer::default(),
            state: Mutex::default(),
            suspension,
            resumed: Condvar::new(),
        })
    }

    /// Becomes readable when all streams are to be let go.
    pub(crate) fn suspension(&self) -> &OwnedFd {
        &self.suspension
    }

    /// Has the streams let go, and returns when the host is back.
    pub(crate) fn suspend(&self) {
        let mut state = lock(&self.state);
        state.suspended = true;
        // Only a counter at its end could refuse this.
        let _ = write(&self.suspension, &1u64.to_ne_bytes());
        while state.suspended {
            state = self
                .resumed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lets all streams go, the control stream last: by its end the host knows that nothing leads out any more.
    pub(crate) fn let_go(&self) -> Result<(), String> {
        let mut state = lock(&self.state);
        let _ = read(&self.suspension, &mut [0; 8]);
        state.call_stream = None;
        let failed = |error| format!("a stream can't be let go: {error}");
        if let Some(runtime) = &state.runtime {
            runtime.let_go().map_err(failed)?;
        }
        if let Some(control) = &state.control {
            state.stand_in = Some(control.suspend().map_err(failed)?);
        }
        Ok(())
    }

    /// Takes the control stream; a second one is closed.
    pub(crate) fn control_opened(self: &Arc<Self>, stream: UnixStream) {
        let mut state = lock(&self.state);
        let outcome = match (state.control.clone(), state.stand_in.take()) {
            (None, _) => {
                let outbox = Arc::new(Outbox::new(stream));
                state.control = Some(Arc::clone(&outbox));
                let supervisor = Arc::clone(self);
                spawn("control", move || control::serve(&outbox, &supervisor))
                    .inspect_err(|_| state.control = None)
            }
            (Some(control), Some(stand_in)) => {
                state.restored = state.runtime.is_some();
                state.suspended = false;
                self.resumed.notify_all();
                control.resume(stand_in, &stream)
            }
            (Some(_), None) => {
                report("a second control stream was refused");
                Ok(())
            }
        };
        if let Err(error) = outcome {
            report(format_args!("control stream: {error}"));
        }
    }

    /// Takes a call stream. A newer one replaces one that no runtime has taken yet: the host has connected again.
    pub(crate) fn call_opened(self: &Arc<Self>, stream: UnixStream) {
        let mut state = lock(&self.state);
        let restored = std::mem::take(&mut state.restored);
        if let (true, Some(runtime)) = (restored, &state.runtime) {
            // Without it the runtime says nothing, and the host ends the sandbox.
            if let Err(error) = runtime.resume(&stream) {
                report(format_args!("a call stream can't be handed over: {error}"));
            }
            return;
        }
        state.call_stream = Some(stream);
        drop(state);
        self.start_if_ready();
    }

    /// Takes a claim.
    pub(crate) fn claim(self: &Arc<Self>, claim: Claim) {
        lock(&self.state).claim = Some(claim);
        self.start_if_ready();
    }

    /// Notes the end of a child. Those that the runtime left behind are only reaped.
    pub(crate) fn child_exited(&self, pid: Pid, exited: Exited) {
        // The lock is held from fork until the runtime is noted, so that none is missed.
        if let Some(runtime) = &lock(&self.state).runtime
            && runtime.pid == pid
        {
            runtime.exited(exited);
        }
    }

    /// Sends SIGKILL to every process of the runtime.
    pub(crate) fn kill(&self) {
        if let Some(runtime) = &lock(&self.state).runtime {
            kill_all(runtime.pid);
        }
    }

    /// Sends SIGKILL to every process of the runtime, unless its session has been closed: it has ended then, and the next may run.
    pub(crate) fn kill_unless(&self, closed: &AtomicBool) {
        // A session is closed before the state forgets its runtime, so under the lock the flag is about the one that is killed.
        let state = lock(&self.state);
        if let Some(runtime) = &state.runtime
            && !closed.load(Ordering::SeqCst)
        {
            kill_all(runtime.pid);
        }
    }

    fn start_if_ready(self: &Arc<Self>) {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let (Some(control), None) = (&state.control, &state.runtime) else {
            return;
        };
        if state.claim.is_none() || state.call_stream.is_none() {
            return;
        }
        let (Some(claim), Some(call_stream)) = (state.claim.take(), state.call_stream.take())
        else {
            return;
        };
        let outbox = Arc::clone(control);
        match Runtime::start(&claim, call_stream, &outbox, self) {
            Ok(runtime) => state.runtime = Some(runtime),
            Err(reason) => {
                drop(guard);
                send_exited(&outbox, &Exited::Spawn(reason), None);
            }
        }
    }

    /// The end of a runtime whose output has been forwarded. `last_call` is the last call that it was given, where that is known.
    pub(crate) fn runtime_ended(
        self: &Arc<Self>,
        outbox: &Outbox,
        exited: &Exited,
        last_call: Option<u32>,
    ) {
        self.alarm.clear();
        // Before the state changes, so that nothing of the next runtime comes before it.
        send_exited(outbox, exited, last_call);
        lock(&self.state).runtime = None;
        self.start_if_ready();
    }
}

fn send_exited(outbox: &Outbox, exited: &Exited, last_call: Option<u32>) {
    let mut frame = Vec::new();
    encode_exited(&mut frame, exited, last_call);
    outbox.send_surely(&frame);
}

/// Sends SIGKILL to every process of the runtime. As PID 1 these are all others, whatever groups and sessions they have made; otherwise (in
/// tests) only its own group.
pub(crate) fn kill_all(runtime: Pid) {
    if getpid().is_init() {
        signals::kill_all_others();
    } else {
        // It may have ended already.
        let _ = kill_process_group(runtime, Signal::KILL);
    }
}
