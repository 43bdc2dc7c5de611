//! What stands between sockets and handlers on both addresses: limits on connections, headers, bodies and slow clients, and the accept loop.

mod budget;
mod patient;

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body as AnyBody;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use hyper::{body::Body, body::Incoming, server::conn::http1, service::HttpService};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use rustix::net::sockopt::set_tcp_user_timeout;
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::Instant,
};

pub(crate) use budget::Budget;
use patient::Patient;
use warren_invoker::BusyPoll;

/// Longest wait for a request's headers, an idle connection's next request included.
const HEADER_TIME: Duration = Duration::from_secs(60);
/// Largest request head; a larger one, or one with more than 100 headers, is answered 431 by hyper. Also the size of the read buffer.
const HEAD_LIMIT: usize = 128 * 1024;
/// Longest pause within a body.
const BODY_PAUSE: Duration = Duration::from_secs(30);
/// Longest time for a whole body: 70 MB at 0.6 Mbit/s.
const BODY_TIME: Duration = Duration::from_secs(900);
/// How long and how much of a refused body is read on, so that a client that is still sending gets to read the refusal.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_BYTES: usize = 128 * 1024 * 1024;
/// Longest time in which a client takes nothing of its answer, or its machine acknowledges nothing of what was sent to it.
const WRITE_PAUSE: Duration = Duration::from_secs(60);
/// Connections of one listener; more wait to be accepted.
pub(crate) const CONNECTIONS: usize = 2_000;
/// When a client that found the memory for bodies used up may try again, in seconds.
pub(crate) const BUSY_RETRY_AFTER_S: u32 = 1;
/// Longest wait for calls under way when the server stops.
const STOP_TIME: Duration = Duration::from_secs(30);
/// Wait after a failed accept (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a request's body could not be read.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// More than the limit.
    #[error("the request body is larger than {0} bytes")]
    TooLarge(usize),
    /// It did not arrive in time.
    #[error("the request body did not arrive in time")]
    Slow,
    /// Other bodies have used up the memory for bodies.
    #[error("too many request bodies are under way")]
    Busy,
    /// The connection broke.
    #[error("the request body ended early")]
    Broken,
}

/// Reads a body of at most `limit` bytes, showing each piece to `each`. The body counts in the budget as long as any clone of it lives.
pub(crate) async fn read_body<B>(
    budget: &Budget,
    headers: &HeaderMap,
    mut body: B,
    limit: usize,
    mut each: impl FnMut(&[u8]),
) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        drain(body).await;
        return Err(BodyError::TooLarge(limit));
    }
    let deadline = Instant::now() + BODY_TIME;
    let mut whole = Whole::default();
    let mut share = budget.share();
    loop {
        let until = deadline.min(Instant::now() + BODY_PAUSE);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => return Ok(share.bind(whole.finish())),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(piece) = frame.into_data() else {
            continue;
        };
        if whole.len() + piece.len() > limit {
            drain(body).await;
            return Err(BodyError::TooLarge(limit));
        }
        if !share.grow(piece.len()) {
            // What this one has so far is given back first.
            drop((share, whole, piece));
            drain(body).await;
            return Err(BodyError::Busy);
        }
        each(&piece);
        whole.push(piece, declared);
    }
}

/// Reads the first line of a body, of at most `limit` bytes; gives it without its end, what came with it, and the rest. A body without an end of a line is
/// that line. The line counts in the budget as long as any clone of it lives.
pub(crate) async fn read_line(
    budget: &Budget,
    mut body: AnyBody,
    limit: usize,
) -> Result<(Bytes, (Bytes, AnyBody)), BodyError> {
    let deadline = Instant::now() + BODY_TIME;
    let mut line = BytesMut::new();
    let mut share = budget.share();
    loop {
        let until = deadline.min(Instant::now() + BODY_PAUSE);
        let mut piece = match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return Err(BodyError::Slow),
            Ok(None) => return Ok((share.bind(line.freeze()), (Bytes::new(), body))),
            Ok(Some(Err(_))) => return Err(BodyError::Broken),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => piece,
                Err(_) => continue,
            },
        };
        let end = piece.iter().position(|byte| *byte == b'\n');
        let rest = end.map(|end| piece.split_off(end).split_off(1));
        if line.len() + piece.len() > limit {
            drain(body).await;
            return Err(BodyError::TooLarge(limit));
        }
        if !share.grow(piece.len()) {
            drop((share, line, piece));
            drain(body).await;
            return Err(BodyError::Busy);
        }
        line.extend_from_slice(&piece);
        if let Some(rest) = rest {
            return Ok((share.bind(line.freeze()), (rest, body)));
        }
    }
}

/// A body put together; one that came in one piece is not copied.
#[derive(Default)]
struct Whole {
    first: Bytes,
    joined: BytesMut,
}

/// Most memory that is set aside on a client's word alone.
const TRUSTED_LENGTH: usize = 1024 * 1024;

impl Whole {
    fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    fn push(&mut self, piece: Bytes, declared: Option<usize>) {
        if self.len() == 0 {
            self.first = piece;
            return;
        }
        if !self.first.is_empty() {
            self.joined
                .reserve(declared.unwrap_or_default().min(TRUSTED_LENGTH));
            self.joined.extend_from_slice(&self.first);
            self.first = Bytes::new();
        }
        self.joined.extend_from_slice(&piece);
    }

    fn finish(self) -> Bytes {
        match self.joined.is_empty() {
            true => self.first,
            false => self.joined.freeze(),
        }
    }
}

/// Reads a body to its end, within bounds of time and bytes.
pub(crate) async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let reading = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // A body that is not over by then is cut off with its connection.
    let _ = tokio::time::timeout(DRAIN_TIME, reading).await;
}

/// Serves HTTP/1.1 on a socket until `shutdown`, then lets the requests under way end; this many connections at a time. `make` gives the service of a
/// connection from an address.
pub(crate) async fn serve<S, F, B>(
    listener: TcpListener,
    most: usize,
    busy_poll: BusyPoll,
    make: impl Fn(SocketAddr) -> S,
    shutdown: impl Future<Output = ()>,
) where
    S: hyper::service::Service<
            Request<Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future = F,
        > + HttpService<Incoming, ResBody = B, Error = Infallible, Future = F>
        + Send
        + 'static,
    F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: std::error::Error + Send + Sync,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(HEAD_LIMIT)
        // A caller that closes its sending half still waits for the answer. Hyper then reads nothing while a request is served, which busy polling counts on.
        .half_close(true);
    let connections = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(most));
    tokio::pin!(shutdown);
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = &mut shutdown => break,
        };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "can't accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
            () = &mut shutdown => break,
        };
        tune(&stream);
        let stream = TokioIo::new(busy_poll.caller(Patient::new(stream, WRITE_PAUSE)));
        let connection = connections.watch(http.serve_connection(stream, make(peer)));
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIME, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(
            seconds = STOP_TIME.as_secs(),
            "requests still under way are cut off"
        );
    }
}

/// Options of an accepted socket; one that refuses them still works.
fn tune(stream: &TcpStream) {
    // Without it small answers wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    // Without it what is written to a machine that is gone without a word counts as on its way for a quarter of an hour. A silent connection loses nothing:
    // only what was sent is waited for.
    let pause = u32::try_from(WRITE_PAUSE.as_millis()).unwrap_or(u32::MAX);
    let _ = set_tcp_user_timeout(stream, pause);
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::{Empty, Full, StreamBody};
    use hyper::body::Frame;
    use rustix::net::sockopt::tcp_user_timeout;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn read(pieces: &[&'static str], limit: usize) -> Result<(Bytes, String), BodyError> {
        let frames: VecDeque<_> = pieces
            .iter()
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from_static(piece.as_bytes()))))
            .collect();
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut seen = String::new();
        let whole = read_body(
            &Budget::default(),
            &HeaderMap::new(),
            body,
            limit,
            |piece| {
                seen.push_str(std::str::from_utf8(piece).unwrap());
            },
        )
        .await?;
        Ok((whole, seen))
    }

    #[tokio::test]
    async fn bodies_are_joined_up_to_the_limit() {
        for pieces in [&[][..], &["ab"], &["a", "", "b"], &["", "a", "b"]] {
            let (whole, seen) = read(pieces, 2).await.unwrap();
            assert_eq!(
                (&whole[..], seen),
                (pieces.concat().as_bytes(), pieces.concat())
            );
        }
        assert!(matches!(
            read(&["ab", "c"], 2).await,
            Err(BodyError::TooLarge(2))
        ));
    }

    #[tokio::test]
    async fn a_declared_length_is_enough_to_refuse() {
        let budget = Budget::default();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, "3".parse().unwrap());
        let read = read_body(&budget, &headers, Full::new(Bytes::new()), 2, |_| {}).await;
        assert!(matches!(read, Err(BodyError::TooLarge(2))));
        let read = read_body(&budget, &headers, Empty::<Bytes>::new(), 3, |_| {}).await;
        assert!(read.unwrap().is_empty());
    }
    #[tokio::test]
    async fn bodies_beyond_the_budget_are_refused_until_others_are_gone() {
        let budget = Budget::new(5);
        let headers = HeaderMap::new();
        let read = async || {
            let body = Full::new(Bytes::from_static(b"abc"));
            read_body(&budget, &headers, body, 9, |_| {}).await
        };
        let first = read().await.unwrap();
        assert!(matches!(read().await, Err(BodyError::Busy)));
        drop(first);
        assert_eq!(&read().await.unwrap()[..], b"abc");
    }

    #[tokio::test]
    async fn a_client_whose_machine_is_gone_is_given_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        assert_eq!(tcp_user_timeout(&stream), Ok(0));
        tune(&stream);
        assert_eq!(tcp_user_timeout(&stream), Ok(60_000));
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn the_next_request_of_a_quick_caller_is_polled_for() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let make = |_| {
            hyper::service::service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"end"))))
            })
        };
        let busy_poll = BusyPoll::new(Duration::from_secs(60));
        let server = tokio::spawn(serve(
            listener,
            1,
            busy_poll.clone(),
            make,
            std::future::pending(),
        ));
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        for _ in 0..3 {
            let request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
            client.write_all(request).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"end") {
                assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
            }
            // The wait for the next request has begun.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let polls = busy_poll.polls();
        assert_eq!((polls.won, polls.lost), (1, 0), "the first wait was asleep");
        server.abort();
    }

    #[tokio::test]
    async fn a_connection_beyond_the_limit_waits_for_another_to_end() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let make = |_| {
            hyper::service::service_fn(async |_: Request<Incoming>| {
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            })
        };
        let busy_poll = BusyPoll::new(Duration::ZERO);
        let server = tokio::spawn(serve(listener, 1, busy_poll, make, std::future::pending()));
        let ask = async || {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            client
        };
        let mut answer = [0; 8];
        let mut first = ask().await;
        first.read_exact(&mut answer).await.unwrap();
        let mut second = ask().await;
        let early = Duration::from_millis(200);
        let waited = tokio::time::timeout(early, second.read_exact(&mut answer)).await;
        assert!(waited.is_err());
        drop(first);
        second.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1");
        server.abort();
    }
}
