use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::unfold;
use http::{HeaderValue, Response, header};
use tokio::{sync::mpsc, time::timeout};
use warren_invoker::RunEvent;
use warren_model::native::{
    NOT_THE_PROGRAM, RUN_FRAME_HEADER, RUN_TYPE, RunEnd, RunFrame, RunOutcome, RunResult,
};

/// A silent answer writes something this often: only a write shows that the client is gone.
const ALIVE: Duration = Duration::from_secs(1);

/// Events as they come, in frames.
pub(super) fn frames(events: mpsc::Receiver<RunEvent>) -> Response<Body> {
    let stream = unfold(Some(events), |state| async {
        let mut events = state?;
        let (frame, more) = match timeout(ALIVE, events.recv()).await {
            Err(_) => (frame(RunFrame::Alive, &[]), true),
            Ok(Some(RunEvent::Stdout(bytes))) => (frame(RunFrame::Stdout, &bytes), true),
            Ok(Some(RunEvent::Stderr(bytes))) => (frame(RunFrame::Stderr, &bytes), true),
            Ok(Some(RunEvent::End(end))) => (frame(RunFrame::End, &json(&end)), false),
            Ok(None) => (frame(RunFrame::End, &json(&lost())), false),
        };
        Some((Ok::<_, Infallible>(frame), more.then_some(events)))
    });
    response(RUN_TYPE, Body::from_stream(stream))
}

/// All events in one JSON document; spaces before it while the program runs.
pub(super) fn document(events: mpsc::Receiver<RunEvent>) -> Response<Body> {
    let gathered = Gathered {
        events,
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    let stream = unfold(Some(gathered), |state| async {
        let mut gathered = state?;
        match timeout(ALIVE, gathered.end()).await {
            Err(_) => Some((
                Ok::<_, Infallible>(Bytes::from_static(b" ")),
                Some(gathered),
            )),
            Ok(end) => Some((Ok(json(&gathered.result(end)).into()), None)),
        }
    });
    response("application/json", Body::from_stream(stream))
}

/// What a program has written so far; its limit of output bounds it.
struct Gathered {
    events: mpsc::Receiver<RunEvent>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Gathered {
    /// Gathers to the end. Cancel-safe.
    async fn end(&mut self) -> RunEnd {
        loop {
            match self.events.recv().await {
                Some(RunEvent::Stdout(bytes)) => self.stdout.extend_from_slice(&bytes),
                Some(RunEvent::Stderr(bytes)) => self.stderr.extend_from_slice(&bytes),
                Some(RunEvent::End(end)) => return end,
                None => return lost(),
            }
        }
    }

    fn result(&mut self, end: RunEnd) -> RunResult {
        RunResult::of(std::mem::take(&mut self.stdout), &self.stderr, end)
    }
}

fn frame(kind: RunFrame, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(RUN_FRAME_HEADER + payload.len());
    bytes.put_slice(&kind.header(payload.len()));
    bytes.put_slice(payload);
    bytes.freeze()
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Texts and numbers can always be written.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The end of a run whose task ended without one.
fn lost() -> RunEnd {
    RunEnd {
        outcome: RunOutcome::Failed,
        exit_status: NOT_THE_PROGRAM,
        message: Some("Warren lost the run. Its log has the cause.".to_owned()),
        duration_ms: 0.0,
        start_ms: 0.0,
        memory_used_mb: 0,
        engine: String::new(),
        runtime: String::new(),
    }
}

fn response(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_document_keeps_bytes_that_are_no_text() {
        let (events, receiver) = mpsc::channel(4);
        let piece = |bytes: &'static [u8]| RunEvent::Stdout(Bytes::from_static(bytes));
        events.send(piece(b"a\xff")).await.unwrap();
        events
            .send(RunEvent::Stderr(Bytes::from_static(b"no")))
            .await
            .unwrap();
        drop(events);
        let body = document(receiver).into_body();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        let result: RunResult = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(result.stdout, "a\u{fffd}");
        assert_eq!(result.stdout_base64.as_deref(), Some("Yf8="));
        assert_eq!(result.stderr, "no");
        assert_eq!(result.end.outcome, RunOutcome::Failed);
    }

    #[tokio::test]
    async fn frames_end_with_the_end() {
        let (events, receiver) = mpsc::channel(4);
        events
            .send(RunEvent::Stdout(Bytes::from_static(b"hi")))
            .await
            .unwrap();
        events.send(RunEvent::End(lost())).await.unwrap();
        let body = frames(receiver).into_body();
        let bytes = axum::body::to_bytes(body, 10_000).await.unwrap();
        assert_eq!(&bytes[..11], b"\x01\0\0\0\x02hi\x04\0\0\0".as_slice());
    }
}
