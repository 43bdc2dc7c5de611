use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use warren_invoker::InputPiece;

/// Pieces that wait for the program.
const PIECES: usize = 4;

/// The rest of a request's body, whose first bytes were read already.
pub(super) fn of_body((first, rest): (Bytes, Body)) -> mpsc::Receiver<InputPiece> {
    let (pieces, input) = mpsc::channel(PIECES);
    tokio::spawn(pass_on(first, rest.into_data_stream(), pieces));
    input
}

/// Ends when nobody takes its pieces any more: the program or the run is over.
async fn pass_on(first: Bytes, mut rest: BodyDataStream, pieces: mpsc::Sender<InputPiece>) {
    if !first.is_empty() && pieces.send(InputPiece::Bytes(first)).await.is_err() {
        return;
    }
    loop {
        let piece = tokio::select! {
            piece = rest.next() => piece,
            () = pieces.closed() => return,
        };
        let piece = match piece {
            None => return,
            Some(Ok(bytes)) => InputPiece::Bytes(bytes),
            Some(Err(_)) => InputPiece::Broken,
        };
        if pieces.send(piece).await.is_err() {
            return;
        }
    }
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
