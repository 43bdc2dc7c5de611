use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use warren_protocol::RUNTIME_API_ADDRESS;

use crate::loopback;
use crate::report::report;
use crate::runtime_api::answer::Answer;
use crate::runtime_api::body::Body;
use crate::runtime_api::http::{Head, HttpError, read_head};
use crate::runtime_api::route::Route;
use crate::runtime_api::session::{After, Next, Session};
use crate::threads::{lock, spawn};

/// Most connections at a time. A client has one or two; each costs a thread.
const CONNECTION_LIMIT: usize = 16;

/// Most bytes of a body that are read only to get to the next request.
const DISCARD_LIMIT: usize = 64 * 1024 * 1024;

/// How long, and for how many bytes more than the sockets' buffers hold, a client may go on sending after an answer that ends its connection.
const LINGER_TIME: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 16 * 1024 * 1024;

/// Read buffer of a connection.
const READ_BUFFER: usize = 4 * 1024;

/// Pause after `accept` failed, which it does when descriptors or memory are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The listener, which stays from the first runtime that wants it on.
#[derive(Default)]
pub(crate) struct ApiServer {
    listening: Mutex<bool>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whose connections are accepted now.
    session: Mutex<Option<Arc<Session>>>,
    connections: AtomicUsize,
}

impl ApiServer {
    /// Serves this session from now on.
    ///
    /// # Errors
    /// The address can't be bound; why, for the host.
    pub(crate) fn serve(&self, session: Arc<Session>) -> Result<(), String> {
        let mut listening = lock(&self.listening);
        *lock(&self.shared.session) = Some(session);
        if *listening {
            return Ok(());
        }
        loopback::bring_up();
        let describe =
            |error| format!("the Runtime API can't be served on {RUNTIME_API_ADDRESS}: {error}");
        let listener = TcpListener::bind(RUNTIME_API_ADDRESS).map_err(describe)?;
        let shared = Arc::clone(&self.shared);
        spawn("runtime-api", move || accept(&listener, &shared)).map_err(describe)?;
        *listening = true;
        Ok(())
    }

    /// Accepts no more connections for the session that has ended.
    pub(crate) fn stop(&self) {
        *lock(&self.shared.session) = None;
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                report(format_args!("Runtime API: accept: {error}"));
                thread::sleep(ACCEPT_PAUSE);
                continue;
            }
        };
        let Some(session) = lock(&shared.session).clone() else {
            continue;
        };
        let place = Place::take(shared);
        // Closed without a word: a runtime must not be able to fill the engine's logs.
        if place.is_none() {
            continue;
        }
        // Without a thread the connection closes, which a client sees at once.
        if let Err(error) = spawn("api-connection", move || {
            let _place = place;
            serve(&stream, &session);
        }) {
            report(format_args!("Runtime API: can't start a thread: {error}"));
        }
    }
}

/// One of the [`CONNECTION_LIMIT`] connections.
struct Place(Arc<Shared>);

impl Place {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let place = Self(Arc::clone(shared));
        // Dropping the place takes it back.
        (shared.connections.fetch_add(1, Ordering::Relaxed) < CONNECTION_LIMIT).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request whose body is still in the connection.
pub(crate) struct Request<'a, 's> {
    pub(crate) head: Head,
    pub(crate) body: Body,
    /// The call whose answer came with this request and was refused: its error is to be told.
    pub(crate) refused: Option<u32>,
    reader: &'a mut BufReader<&'s TcpStream>,
}

impl Request<'_, '_> {
    /// Reads some bytes of the body; 0 only at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        if self.head.expects_continue {
            self.head.expects_continue = false;
            let mut stream: &TcpStream = self.reader.get_ref();
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        self.body.read(self.reader, buffer)
    }

    /// Reads what is left of the body, so that the client sees the answer and the next request can follow. Gives whether it can.
    fn discard(&mut self) -> bool {
        // A client that still waits for "100 Continue" may or may not send the body now.
        if self.body.is_done() || self.head.expects_continue {
            return self.body.is_done();
        }
        let mut buffer = vec![0; READ_BUFFER];
        let mut total = 0;
        while !self.body.is_done() {
            match self.read(&mut buffer) {
                Ok(count) => total += count,
                Err(_) => return false,
            }
            if total > DISCARD_LIMIT {
                return false;
            }
        }
        true
    }
}

/// Serves one connection to its end.
fn serve(stream: &TcpStream, session: &Session) {
    // Answers are single writes; without this a client's next request could wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let mut writer = stream;
    let mut reader = BufReader::with_capacity(READ_BUFFER, stream);
    loop {
        let head = match read_head(&mut reader) {
            Ok(Some(head)) => head,
            Ok(None) | Err(HttpError::Io) => return,
            Err(HttpError::Bad { status, message }) => {
                // The connection ends here in any case.
                let _ = Answer::error(status, "InvalidRequest", message).write(&mut writer, true);
                linger(stream);
                return;
            }
        };
        let body = Body::new(&head);
        let mut request = Request {
            head,
            body,
            refused: None,
            reader: &mut reader,
        };
        let answer = match Route::of(&request.head.method, &request.head.path) {
            Route::Next => match session.next(&request.head, stream) {
                Next::Delivered if request.discard() && !request.head.close => continue,
                Next::Delivered | Next::Gone => return,
                Next::Refused(answer) => answer,
            },
            Route::Response(id) => session.response(&id, &mut request),
            Route::Error(id) => session.error(&id, &mut request),
            Route::InitError => session.init_error(&mut request),
            Route::RestoreNext => session.restore_next(),
            Route::RestoreError => session.restore_error(&mut request),
            Route::Off(endpoint) => endpoint.answer(&request.head),
            Route::Refused(answer) => answer,
        };
        let unread = !request.discard();
        let last = unread || request.head.close;
        let refused = request.refused;
        if answer.write(&mut writer, last).is_err() || last {
            if unread {
                linger(stream);
            }
            if let Some(call) = refused {
                // The client may be waiting for this before it does anything else.
                let _ = stream.shutdown(Shutdown::Both);
                session.settle(call, stream, After::Close);
            }
            return;
        }
        let Some(call) = refused else {
            continue;
        };
        let then = match reader.buffer() {
            [] => After::Wait,
            _ => After::Request,
        };
        session.settle(call, stream, then);
    }
}

/// Lets the client read its answer before the connection ends: closed with bytes unread, it would be reset, and the answer lost.
fn linger(stream: &TcpStream) {
    // Where the client is gone already each of these fails, and there is nothing to wait for.
    let _ = stream.shutdown(Shutdown::Write);
    let end = Instant::now() + LINGER_TIME;
    let mut buffer = vec![0; READ_BUFFER];
    let mut left = LINGER_BYTES;
    let mut stream = stream;
    while left > 0 {
        let rest = end.saturating_duration_since(Instant::now());
        if rest.is_zero() || stream.set_read_timeout(Some(rest)).is_err() {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => left = left.saturating_sub(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
