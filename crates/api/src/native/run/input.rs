use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use warren_invoker::InputPiece;

use crate::edge;

/// Pieces that wait for the program.
const PIECES: usize = 4;

/// The rest of a request's body, whose first bytes were read already.
pub(super) fn of_body((first, rest): (Bytes, Body)) -> mpsc::Receiver<InputPiece> {
    let (pieces, input) = mpsc::channel(PIECES);
    tokio::spawn(pass_on(first, rest, pieces));
    input
}

/// Passes it on until nobody takes its pieces any more: the run is over, or was refused. Then it is read on for a while, as a connection that is closed
/// with unread bytes loses its answer.
async fn pass_on(first: Bytes, mut rest: Body, pieces: mpsc::Sender<InputPiece>) {
    let mut piece = (!first.is_empty()).then_some(InputPiece::Bytes(first));
    loop {
        if let Some(piece) = piece.take()
            && pieces.send(piece).await.is_err()
        {
            break;
        }
        let frame = tokio::select! {
            frame = rest.frame() => frame,
            () = pieces.closed() => break,
        };
        piece = match frame {
            None => return,
            Some(Ok(frame)) => frame.into_data().ok().map(InputPiece::Bytes),
            Some(Err(_)) => {
                // There is nobody to tell where the run is over.
                let _ = pieces.send(InputPiece::Broken).await;
                return;
            }
        };
    }
    edge::drain(rest).await;
}

/// Bytes that are there already.
pub(super) fn of_bytes(bytes: Bytes) -> mpsc::Receiver<InputPiece> {
    let (pieces, input) = mpsc::channel(PIECES);
    if !bytes.is_empty() {
        // There is room for one.
        let _ = pieces.try_send(InputPiece::Bytes(bytes));
    }
    input
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use futures_util::{StreamExt, stream};

    use super::*;

    #[tokio::test]
    async fn what_nobody_takes_is_read_to_its_end() {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let pieces = stream::iter(0..100).map(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(Bytes::from_static(b"y"))
        });
        drop(of_body((
            Bytes::from_static(b"x"),
            Body::from_stream(pieces),
        )));
        let all = async {
            while read.load(Ordering::SeqCst) < 100 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), all)
            .await
            .unwrap();
    }
}
