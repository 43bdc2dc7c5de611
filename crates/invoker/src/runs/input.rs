use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::InputPiece;

/// Pieces that are taken ahead of the program, of 64 KiB or so each.
const AHEAD: usize = 8;

/// The program's input, which may break before there is a program.
#[derive(Debug)]
pub(super) struct Input {
    pieces: mpsc::Receiver<InputPiece>,
    ahead: VecDeque<InputPiece>,
}

impl Input {
    pub(super) fn new(pieces: mpsc::Receiver<InputPiece>) -> Self {
        Self {
            pieces,
            ahead: VecDeque::new(),
        }
    }

    /// Returns once the client is gone before its input was complete. Of input that is complete, or of much that waits, it is not seen. Cancel-safe.
    pub(super) async fn broken(&mut self) {
        while self.ahead.len() < AHEAD {
            match self.pieces.recv().await {
                Some(InputPiece::Broken) => return,
                Some(piece) => self.ahead.push_back(piece),
                None => break,
            }
        }
        std::future::pending().await
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Option<InputPiece> {
        match self.ahead.pop_front() {
            Some(piece) => Some(piece),
            None => self.pieces.recv().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn piece(text: &'static str) -> InputPiece {
        InputPiece::Bytes(Bytes::from_static(text.as_bytes()))
    }

    async fn rest(input: &mut Input) -> String {
        let mut all = String::new();
        while let Some(InputPiece::Bytes(bytes)) = input.next().await {
            all.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        all
    }

    #[tokio::test]
    async fn a_break_is_seen_behind_pieces_and_these_are_kept() {
        let (pieces, receiver) = mpsc::channel(2 * AHEAD);
        let mut input = Input::new(receiver);
        pieces.send(piece("a")).await.unwrap();
        assert!(input.broken().now_or_never().is_none());
        pieces.send(piece("b")).await.unwrap();
        pieces.send(InputPiece::Broken).await.unwrap();
        assert!(input.broken().now_or_never().is_some());
        drop(pieces);
        assert_eq!(rest(&mut input).await, "ab");
    }

    #[tokio::test]
    async fn what_is_complete_or_much_is_not_taken_for_broken() {
        let (pieces, receiver) = mpsc::channel(2 * AHEAD);
        let mut input = Input::new(receiver);
        for _ in 0..AHEAD + 1 {
            pieces.send(piece("x")).await.unwrap();
        }
        drop(pieces);
        assert!(input.broken().now_or_never().is_none());
        assert_eq!(input.ahead.len(), AHEAD);
        assert_eq!(rest(&mut input).await.len(), AHEAD + 1);
        assert!(input.broken().now_or_never().is_none());
    }
}
