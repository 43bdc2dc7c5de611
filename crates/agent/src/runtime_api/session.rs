use std::io::{self, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags};
use warren_protocol::{ErrorObject, HEADER_LEN, InvokeMeta};

use crate::frames::invalid;
use crate::output::Output;
use crate::readiness::wait_ready;
use crate::report::report;
use crate::runtime_api::answer::Answer;
use crate::runtime_api::fault::Fault;
use crate::runtime_api::http::Head;
use crate::runtime_api::late::{LateError, PATIENCE};
use crate::runtime_api::relay::{Invocation, PIECE, Relay};
use crate::runtime_api::server::Request;
use crate::runtime_api::state::{RuntimeState, Target};
use crate::supervisor::Supervisor;
use crate::threads::lock;

/// Most bytes of an answer: Lambda's 6 MiB and the 100 bytes that it adds to them.
const ANSWER_LIMIT: u64 = 6_291_556;

/// Most bytes of a streamed answer, as Lambda has it.
const STREAMED_ANSWER_LIMIT: u64 = 200 * 1024 * 1024;

/// The error of a runtime that can't be restored; the host reads it.
const NOT_RESTORABLE: &str = "Runtime.NotRestorable";
const NOT_RESTORABLE_TEXT: &str = "the runtime asked for its first call without GET /runtime/restore/next before it: its client does not know of snapshots";

/// One runtime's use of the API, from its start to its end.
pub(crate) struct Session {
    state: Mutex<RuntimeState>,
    /// Held by the connection that waits for the next call or reads its body.
    turn: Mutex<()>,
    relay: Relay,
    late: LateError,
    /// The runtime has ended; what its connections find broken now says nothing about the next one.
    closed: AtomicBool,
    /// Where a runtime waits to be restored; none if no checkpoint is taken.
    restore: Option<Restore>,
    supervisor: Arc<Supervisor>,
}

/// Whether the restore has come, or will not come any more.
#[derive(Default)]
struct Restore {
    over: Mutex<bool>,
    changed: Condvar,
}

impl Restore {
    fn wait(&self) {
        let mut over = lock(&self.over);
        while !*over {
            over = self
                .changed
                .wait(over)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        *lock(&self.over) = true;
        self.changed.notify_all();
    }
}

/// What comes after an answer on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// A request that was sent unasked.
    Request,
    /// What the client likes.
    Wait,
    /// Its end.
    Close,
}

/// What became of a request for the next call.
pub(crate) enum Next {
    /// It was given out.
    Delivered,
    /// It was refused; the answer is still to be written.
    Refused(Answer),
    /// The connection is of no use any more.
    Gone,
}

impl Session {
    /// A session of a runtime that is about to start; with `snapshot`, one of which a checkpoint is taken after Init.
    pub(crate) fn new(
        call_stream: UnixStream,
        snapshot: bool,
        output: Arc<Output>,
        supervisor: Arc<Supervisor>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            turn: Mutex::default(),
            relay: Relay::new(call_stream, output),
            late: LateError::default(),
            closed: AtomicBool::new(false),
            restore: snapshot.then(Restore::default),
            supervisor,
        }
    }

    /// Ends the call stream: the runtime has ended. Gives the number of the last call that it was given, 0 if there was none.
    pub(crate) fn close(&self) -> u32 {
        self.closed.store(true, Ordering::SeqCst);
        if let Some(restore) = &self.restore {
            restore.end();
        }
        // A host that takes nothing any more must be told of the runtime's end all the same.
        self.relay.limit_writes(PATIENCE);
        if self.late.is_quiet_in_time() {
            self.tell_late(None);
        }
        let given = lock(&self.state).end();
        self.relay.close();
        given
    }

    /// Lets the call stream go.
    pub(crate) fn let_go(&self) -> io::Result<()> {
        self.relay.let_go()
    }

    /// Goes on with another call stream: the runtime has been restored.
    pub(crate) fn resume(&self, call_stream: &UnixStream) -> io::Result<()> {
        self.relay.resume(call_stream)?;
        if let Some(restore) = &self.restore {
            restore.end();
        }
        Ok(())
    }

    /// `GET /runtime/invocation/next`; `head` is that of the request.
    pub(crate) fn next(&self, head: &Head, client: &TcpStream) -> Next {
        self.tell_late(None);
        if self.restore.is_some() && lock(&self.state).is_started() {
            // It would not know that it was restored, and each of its clones would go on with the same random numbers.
            let error = ErrorObject::new(NOT_RESTORABLE, NOT_RESTORABLE_TEXT);
            // The host ends the sandbox, told or not.
            let _ = self.relay.send_init_error(&error.to_json());
            return Next::Gone;
        }
        let first = lock(&self.state).next();
        match first {
            Err(refusal) => return Next::Refused(refusal.into()),
            Ok(true) if self.relay.send_ready().is_err() => {
                return self.lost("READY can't be sent");
            }
            Ok(_) => {}
        }
        let _turn = lock(&self.turn);
        // Another connection may have got the call meanwhile.
        if let Err(refusal) = lock(&self.state).check_waiting() {
            return Next::Refused(refusal.into());
        }
        match self.relay.wait_for_call(client).and_then(|call| {
            call.map(|call| self.deliver(call, head, client))
                .transpose()
        }) {
            Ok(Some(true)) => Next::Delivered,
            Ok(_) => Next::Gone,
            Err(error) => self.lost(error),
        }
    }

    /// Hands a call to the runtime; gives whether all of it could be written. The body is read to its end in any case.
    fn deliver(
        &self,
        mut invocation: Invocation,
        head: &Head,
        mut client: &TcpStream,
    ) -> io::Result<bool> {
        let meta = invocation.meta()?;
        if lock(&self.state)
            .invoked(&meta.id, invocation.number)
            .is_err()
        {
            return Err(invalid("the runtime ended before its call"));
        }
        let mut bytes = event_head(&meta);
        if head.close {
            bytes.extend_from_slice(b"Connection: close\r\n");
        }
        // An event without a body is `{}` to the runtime.
        let chunked = match invocation.body_length() {
            Some(0) => {
                bytes.extend_from_slice(b"Content-Length: 2\r\n\r\n{}");
                return Ok(client.write_all(&bytes).is_ok());
            }
            Some(length) => {
                bytes.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
                false
            }
            // HTTP/1.0 has no chunks: the end of the connection is the end of the event.
            None if head.old => {
                bytes.extend_from_slice(b"\r\n");
                false
            }
            None => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                true
            }
        };
        let mut piece = vec![0; PIECE];
        let mut total = 0;
        let mut written = Ok(());
        loop {
            let count = self.relay.read_body(&mut invocation, &mut piece)?;
            total += count;
            match (count, chunked) {
                (0, false) if total == 0 => bytes.extend_from_slice(b"{}"),
                (0, false) => {}
                (0, true) if total == 0 => bytes.extend_from_slice(b"2\r\n{}\r\n0\r\n\r\n"),
                (0, true) => bytes.extend_from_slice(b"0\r\n\r\n"),
                (_, false) => bytes.extend_from_slice(&piece[..count]),
                (_, true) => {
                    bytes.extend_from_slice(format!("{count:x}\r\n").as_bytes());
                    bytes.extend_from_slice(&piece[..count]);
                    bytes.extend_from_slice(b"\r\n");
                }
            }
            // Head and first piece go together: one packet, one wake-up of the runtime.
            written = written.and_then(|()| client.write_all(&bytes));
            bytes.clear();
            if count == 0 {
                return Ok(written.is_ok());
            }
        }
    }

    /// `POST /runtime/invocation/{id}/response`
    pub(crate) fn response(&self, id: &str, request: &mut Request<'_, '_>) -> Answer {
        let call = match lock(&self.state).answer(id, Target::Response) {
            Ok(call) => call,
            Err(refusal) => return refusal.into(),
        };
        let outcome = match request.head.response_mode.as_deref() {
            None => self.relay_answer(call, request, ANSWER_LIMIT, false),
            Some("streaming") => self.relay_answer(call, request, STREAMED_ANSWER_LIMIT, true),
            Some(_) => Ok(Err(Fault::response_mode())),
        };
        match outcome {
            Ok(Ok(())) => {
                lock(&self.state).answered();
                Answer::accepted()
            }
            Ok(Err(fault)) => self.failed(call, fault, request),
            Err(error) => self.unreachable(error),
        }
    }

    /// Ends a call with an error: at once if the runtime is told that all is well, otherwise when its reaction is known.
    fn failed(&self, call: u32, fault: Fault, request: &mut Request<'_, '_>) -> Answer {
        if !fault.answer.is_accepted() {
            self.late.keep(call, fault.error);
            request.refused = Some(call);
            return fault.answer;
        }
        let outcome = self.relay.send_error(call, &fault.error);
        lock(&self.state).answered();
        outcome.map_or_else(|error| self.unreachable(error), |()| fault.answer)
    }

    /// Waits for the runtime's reaction to the refused answer of this call, and tells the host. `client` is the connection that it came on.
    pub(crate) fn settle(&self, call: u32, client: &TcpStream, then: After) {
        let goes_on = match then {
            After::Request => true,
            After::Wait => {
                let mut fds = [PollFd::new(client, PollFlags::IN | PollFlags::RDHUP)];
                let waited = wait_ready(&mut fds, Some(PATIENCE));
                waited.is_ok() && !fds[0].revents().contains(PollFlags::RDHUP)
            }
            After::Close => false,
        };
        if !goes_on {
            self.late.wait(call);
        }
        self.tell_late(Some(call));
    }

    /// Tells the host the error that it was not told yet, where a call is named only of that one.
    fn tell_late(&self, only: Option<u32>) {
        self.late.tell(only, |call, error| {
            if let Err(error) = self.relay.send_error(call, error) {
                self.lost(error);
            }
            lock(&self.state).answered();
        });
    }

    /// Passes an answer on; the outer error is the host's connection, the inner one the runtime's doing.
    fn relay_answer(
        &self,
        call: u32,
        request: &mut Request<'_, '_>,
        limit: u64,
        streamed: bool,
    ) -> io::Result<Result<(), Fault>> {
        if request
            .head
            .content_length
            .is_some_and(|length| length > limit)
        {
            return Ok(Err(Fault::too_large(limit)));
        }
        let mut frame = vec![0; HEADER_LEN + PIECE];
        let mut total = 0;
        loop {
            let mut filled = HEADER_LEN;
            // A streamed answer goes out as it comes; another one in as few frames as can be.
            while filled < frame.len() && !request.body.is_done() {
                match request.read(&mut frame[filled..]) {
                    Ok(0) => {}
                    Ok(count) => {
                        filled += count;
                        total += count as u64;
                        if streamed {
                            break;
                        }
                    }
                    Err(error) => return Ok(Err(Fault::truncated(&error))),
                }
            }
            if total > limit {
                return Ok(Err(Fault::too_large(limit)));
            }
            if !request.body.is_done() {
                self.relay.send_part(call, &mut frame[..filled])?;
                continue;
            }
            if request.body.error_type.is_some() || request.body.error_body.is_some() {
                return Ok(Err(Fault::trailers(request)));
            }
            self.relay.send_last(call, &mut frame[..filled])?;
            return Ok(Ok(()));
        }
    }

    /// `POST /runtime/invocation/{id}/error`
    pub(crate) fn error(&self, id: &str, request: &mut Request<'_, '_>) -> Answer {
        let call = match lock(&self.state).answer(id, Target::ErrorResponse) {
            Ok(call) => call,
            Err(refusal) => return refusal.into(),
        };
        let fault = Fault::read(request);
        self.failed(call, fault, request)
    }

    /// `POST /runtime/init/error`
    pub(crate) fn init_error(&self, request: &mut Request<'_, '_>) -> Answer {
        if let Err(refusal) = lock(&self.state).init_error() {
            return refusal.into();
        }
        self.init_failed(request)
    }

    /// `GET /runtime/restore/next`. Where no checkpoint is taken it goes on at once, with its hooks; else Init is over, and it goes on in each restored sandbox.
    pub(crate) fn restore_next(&self) -> Answer {
        if let Err(refusal) = lock(&self.state).restore_next() {
            return refusal.into();
        }
        if let Some(restore) = &self.restore {
            if let Err(error) = self.relay.send_ready() {
                return self.unreachable(error);
            }
            restore.wait();
        }
        Answer::restored()
    }

    /// `POST /runtime/restore/error`; to the host Init has failed.
    pub(crate) fn restore_error(&self, request: &mut Request<'_, '_>) -> Answer {
        if let Err(refusal) = lock(&self.state).restore_error() {
            return refusal.into();
        }
        self.init_failed(request)
    }

    fn init_failed(&self, request: &mut Request<'_, '_>) -> Answer {
        let told = Fault::read(request);
        self.relay
            .send_init_error(&told.error)
            .map_or_else(|error| self.unreachable(error), |()| told.answer)
    }

    /// Ends the runtime: without its call stream it is of no use.
    fn lost(&self, why: impl std::fmt::Display) -> Next {
        if !self.closed.load(Ordering::SeqCst) {
            report(format_args!("call stream: {why}"));
        }
        self.supervisor.kill_unless(&self.closed);
        Next::Gone
    }

    fn unreachable(&self, error: io::Error) -> Answer {
        self.lost(error);
        Answer::error(500, "InternalServerError", "Internal Server Error")
    }
}

fn event_head(meta: &InvokeMeta<'_>) -> Vec<u8> {
    let deadline = meta.deadline.to_string();
    let headers = [
        ("Aws-Request-Id", Some(&*meta.id)),
        ("Deadline-Ms", Some(deadline.as_str())),
        ("Invoked-Function-Arn", Some(&*meta.arn)),
        ("Trace-Id", Some(&*meta.trace)),
        ("Client-Context", meta.client.as_deref()),
        ("Cognito-Identity", meta.identity.as_deref()),
    ];
    let mut head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n".to_vec();
    for (name, value) in headers {
        let Some(value) = value.filter(|value| !value.is_empty()) else {
            continue;
        };
        head.extend_from_slice(format!("Lambda-Runtime-{name}: ").as_bytes());
        // A line end in JSON text is a space; anywhere else it would be a header of the caller's making.
        head.extend(
            value
                .bytes()
                .map(|byte| if byte.is_ascii_control() { b' ' } else { byte }),
        );
        head.extend_from_slice(b"\r\n");
    }
    head
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::outbox::Outbox;

    #[test]
    fn a_host_that_takes_nothing_does_not_hold_up_the_end() {
        let (agent, mut host) = UnixStream::pair().unwrap();
        agent.set_nonblocking(true).unwrap();
        while (&agent).write(&[0; 4096]).is_ok() {}
        agent.set_nonblocking(false).unwrap();
        let (control, _held) = UnixStream::pair().unwrap();
        let (output, _pipes) =
            Output::new(Arc::new(Outbox::new(control)), crate::output::HOST_PATIENCE).unwrap();
        let session = Session::new(
            agent,
            false,
            Arc::new(output),
            Arc::new(Supervisor::new().unwrap()),
        );
        session.late.keep(1, vec![0; 1 << 20]);
        let (ended, end) = mpsc::channel();
        thread::spawn(move || ended.send(session.close()));
        assert_eq!(end.recv_timeout(Duration::from_secs(30)), Ok(0));
        host.read_to_end(&mut Vec::new()).unwrap();
    }

    #[test]
    fn event_headers_are_those_of_lambda() {
        let meta = InvokeMeta {
            id: "r-1".into(),
            deadline: 17,
            arn: "arn:f".into(),
            trace: "".into(),
            client: Some("{\r\n\"a\":1}".into()),
            identity: None,
        };
        let head = String::from_utf8(event_head(&meta)).unwrap();
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLambda-Runtime-Aws-Request-Id: r-1\r\n\
             Lambda-Runtime-Deadline-Ms: 17\r\nLambda-Runtime-Invoked-Function-Arn: arn:f\r\n\
             Lambda-Runtime-Client-Context: {  \"a\":1}\r\n"
        );
    }
}
