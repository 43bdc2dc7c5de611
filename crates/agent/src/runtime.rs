use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Pid;
use warren_protocol::{Claim, Exited, Interface};

use crate::descriptors::hand_over;
use crate::launch::{Launch, Stdio};
use crate::outbox::Outbox;
use crate::output::{HOST_PATIENCE, Output};
use crate::program;
use crate::report::report;
use crate::runtime_api::Session;
use crate::supervisor::{Supervisor, kill_all};
use crate::threads::{lock, spawn};

/// How long a program that is run once waits for a host that does not take its standard error: longer than any run, so that it is as with a pipe.
const RUN_PATIENCE: Duration = Duration::from_secs(3600);

/// A runtime that was started.
pub(crate) struct Runtime {
    /// Its first process, also its group and session.
    pub(crate) pid: Pid,
    output: Arc<Output>,
    /// If the agent hands out its calls.
    session: Option<Arc<Session>>,
    /// Over which it gets its next call stream, if it is to be restored.
    handover: Option<UnixStream>,
    status: Mutex<Option<Exited>>,
}

impl Runtime {
    /// Starts what `claim` says, with `call_stream` as its descriptor 3, behind the Runtime API, or behind its standard input and output, and the thread that forwards its output
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
        let pipe_failed = |error| format!("pipe: {error}");
        let patience = match claim.interface {
            Interface::Program => RUN_PATIENCE,
            Interface::Stream | Interface::RuntimeApi => HOST_PATIENCE,
        };
        let (output, [mut stdout, stderr]) =
            Output::new(Arc::clone(outbox), patience).map_err(pipe_failed)?;
        let output = Arc::new(output);
        let mut stdin = None;
        let (mut handover, mut next) = (None, None);
        let (call, session) = match claim.interface {
            Interface::Stream => {
                if claim.snapshot {
                    let (ours, theirs) =
                        UnixStream::pair().map_err(|error| format!("socketpair: {error}"))?;
                    (handover, next) = (Some(ours), Some(OwnedFd::from(theirs)));
                }
                (Some(OwnedFd::from(call_stream)), None)
            }
            Interface::Program => {
                let ends = program::relay(call_stream).map_err(pipe_failed)?;
                stdin = Some(ends.stdin);
                stdout = ends.stdout;
                (None, None)
            }
            Interface::RuntimeApi => {
                let session = Session::new(
                    call_stream,
                    claim.snapshot,
                    Arc::clone(&output),
                    Arc::clone(supervisor),
                );
                let session = Arc::new(session);
                supervisor.api.serve(Arc::clone(&session))?;
                (None, Some(session))
            }
        };
        let stdin = match stdin {
            Some(stdin) => stdin,
            None => File::open("/dev/null")
                .map_err(|error| format!("/dev/null: {error}"))?
                .into(),
        };
        let pid = launch
            .spawn(Stdio {
                stdin,
                stdout,
                stderr,
                call,
                handover: next,
            })
            .inspect_err(|_| supervisor.api.stop())?;
        let runtime = Arc::new(Self {
            pid,
            output,
            session,
            handover,
            status: Mutex::new(None),
        });

        let watched = Arc::clone(&runtime);
        let (outbox, supervisor) = (Arc::clone(outbox), Arc::clone(supervisor));
        let started = spawn("output", move || watched.watch(&outbox, &supervisor));
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

    /// Lets go of the call stream, if it is the agent's.
    pub(crate) fn let_go(&self) -> io::Result<()> {
        self.session
            .as_ref()
            .map_or(Ok(()), |session| session.let_go())
    }

    /// Goes on with another call stream, after a restore.
    pub(crate) fn resume(&self, call_stream: &UnixStream) -> io::Result<()> {
        match (&self.session, &self.handover) {
            (Some(session), _) => session.resume(call_stream),
            (None, Some(handover)) => hand_over(handover, call_stream),
            (None, None) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn watch(&self, outbox: &Outbox, supervisor: &Arc<Supervisor>) {
        self.output.pump();
        // What it left behind must not live beside the next runtime.
        kill_all(self.pid);
        self.output.drain();
        // Only where the agent hands calls out it knows.
        let last_call = self.session.as_ref().map(|session| {
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
