//! One runtime at a time:
//!
//! ```text
//!            CLAIM and call stream are there                exit, output drained, EXITED sent
//!  Waiting -----------------------------------> Running -------------------------------------> Waiting
//!     ^                                            |
//!     +--- EXITED {"spawn": why} if it can't start |  KILL, DEADLINE, end of the control stream: SIGKILL
//! ```
//! A CLAIM or a call stream that comes while a runtime runs is for the next one.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, getpid, kill_process_group};
use warren_protocol::{Claim, Exited, encode_exited};

use crate::control;
use crate::deadline::Alarm;
use crate::outbox::Outbox;
use crate::report::report;
use crate::runtime::Runtime;
use crate::runtime_api::ApiServer;
use crate::signals;
use crate::threads::{lock, spawn};

/// What the agent has and runs.
pub(crate) struct Supervisor {
    /// The deadline of the call in progress.
    pub(crate) alarm: Alarm,
    /// The Lambda Runtime API, for runtimes that want it.
    pub(crate) api: ApiServer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    control: Option<Arc<Outbox>>,
    claim: Option<Claim>,
    call_stream: Option<UnixStream>,
    runtime: Option<Arc<Runtime>>,
}

impl Supervisor {
    pub(crate) fn new() -> Self {
        Self {
            alarm: Alarm::default(),
            api: ApiServer::default(),
            state: Mutex::default(),
        }
    }

    /// Takes the control stream; a second one is closed.
    pub(crate) fn control_opened(self: &Arc<Self>, stream: UnixStream) {
        let mut state = lock(&self.state);
        if state.control.is_some() {
            report("a second control stream was refused");
            return;
        }
        let outcome = stream.try_clone().and_then(|reader| {
            let outbox = Arc::new(Outbox::new(stream));
            state.control = Some(Arc::clone(&outbox));
            let supervisor = Arc::clone(self);
            spawn("control", move || {
                control::serve(reader, &outbox, &supervisor)
            })
        });
        if let Err(error) = outcome {
            report(format_args!("control stream: {error}"));
            state.control = None;
        }
    }

    /// Takes a call stream. A newer one replaces one that no runtime has taken yet: the host has connected again.
    pub(crate) fn call_opened(self: &Arc<Self>, stream: UnixStream) {
        lock(&self.state).call_stream = Some(stream);
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
