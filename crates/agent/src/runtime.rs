use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use rustix::process::Pid;
use warren_protocol::{Claim, Exited, Interface};

use crate::launch::{Launch, Stdio};
use crate::outbox::Outbox;
use crate::output::Output;
use crate::report::report;
use crate::runtime_api::Session;
use crate::supervisor::{Supervisor, kill_all};
use crate::threads::{lock, spawn};

/// A runtime that was started.
pub(crate) struct Runtime {
    /// Its first process, also its group and session.
    pub(crate) pid: Pid,
    output: Arc<Output>,
    status: Mutex<Option<Exited>>,
}

impl Runtime {
    /// Starts what `claim` says, with `call_stream` as its descriptor 3 or behind the Runtime API, and the thread that forwards its output
    /// and announces its end.
    ///
    /// # Errors
    /// Why it can't be started, for the host.
    pub(crate) fn start(
        claim: &Claim,
        call_stream: UnixStream,
        outbox: &Arc<Outbox>,
        supervisor: &Arc<Supervisor>,
    ) -> Result<Arc<Self>, String> {
        let launch = Launch::new(claim)?;
        let (output, [stdout, stderr]) =
            Output::new(Arc::clone(outbox)).map_err(|error| format!("pipe: {error}"))?;
        let output = Arc::new(output);
        let (call, session) = match claim.interface {
            Interface::Stream => (Some(OwnedFd::from(call_stream)), None),
            Interface::RuntimeApi => {
                let session =
                    Session::new(call_stream, Arc::clone(&output), Arc::clone(supervisor));
                let session = Arc::new(session);
                supervisor.api.serve(Arc::clone(&session))?;
                (None, Some(session))
            }
        };
        let stdin = File::open("/dev/null")
            .map_err(|error| format!("/dev/null: {error}"))?
            .into();
        let pid = launch
            .spawn(Stdio {
                stdin,
                stdout,
                stderr,
                call,
            })
            .inspect_err(|_| supervisor.api.stop())?;
        let runtime = Arc::new(Self {
            pid,
            output,
            status: Mutex::new(None),
        });

        let watched = Arc::clone(&runtime);
        let (outbox, supervisor) = (Arc::clone(outbox), Arc::clone(supervisor));
        let started = spawn("output", move || {
            watched.watch(session.as_deref(), &outbox, &supervisor)
        });
        if let Err(error) = started {
            kill_all(pid);
            return Err(format!("can't start a thread: {error}"));
        }
        Ok(runtime)
    }

    /// Notes how the first process ended.
    pub(crate) fn exited(&self, exited: Exited) {
        *lock(&self.status) = Some(exited);
        self.output.runtime_exited();
    }

    fn watch(&self, session: Option<&Session>, outbox: &Outbox, supervisor: &Arc<Supervisor>) {
        self.output.pump();
        // What it left behind must not live beside the next runtime.
        kill_all(self.pid);
        self.output.drain();
        // Only where the agent hands calls out it knows.
        let last_call = session.map(|session| {
            supervisor.api.stop();
            session.close()
        });
        let exited = lock(&self.status).take().unwrap_or_else(|| {
            report("the output ended before the runtime");
            Exited::Signal(libc::SIGKILL)
        });
        supervisor.runtime_ended(outbox, &exited, last_call);
    }
}
