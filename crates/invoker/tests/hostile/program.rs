//! The agent of a one-shot run that does as it should.

use std::{io, time::Duration};

use tokio::{io::AsyncWriteExt, net::UnixStream, sync::watch};
use warren_protocol::{Decoder, Exited, FrameKind, OutputStream, encode_exited, encode_log};

use crate::engine::{Told, next_frame};

/// Bytes of the standard error that are told at a time.
const PIECE: usize = 10_000;

/// A program that writes this, and then ends or waits to be killed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Program {
    /// How long each stream to its agent takes to open.
    pub(crate) opens_after: Duration,
    /// Bytes of the standard output, all of which an agent takes.
    pub(crate) stdout: usize,
    /// Bytes of the standard error.
    pub(crate) stderr: usize,
    /// Whether it ends by itself.
    pub(crate) ends: bool,
}

impl Program {
    /// The control stream: errors, and the end when the output is over.
    pub(crate) async fn control(
        self,
        stream: UnixStream,
        over: watch::Sender<Told>,
    ) -> io::Result<()> {
        let (mut commands, mut news) = stream.into_split();
        let mut decoder = Decoder::new();
        // The claim.
        next_frame(&mut commands, &mut decoder).await?;
        let errors = async {
            let mut left = self.stderr;
            while left > 0 {
                let count = left.min(PIECE);
                let mut frame = Vec::new();
                encode_log(&mut frame, OutputStream::Stderr, 0, &vec![b'e'; count], 0);
                news.write_all(&frame).await?;
                left -= count;
            }
            Ok(())
        };
        let end = async {
            if !self.ends {
                while next_frame(&mut commands, &mut decoder).await?.kind != FrameKind::Kill {}
            }
            over.send_replace(Told::Ended(0));
            Ok::<_, io::Error>(())
        };
        tokio::try_join!(errors, end)?;
        let how = match self.ends {
            true => Exited::Code(0),
            false => Exited::Signal(9),
        };
        let mut frame = Vec::new();
        encode_exited(&mut frame, &how, None);
        news.write_all(&frame).await?;
        std::future::pending().await
    }

    /// The call stream: output, open until the program is over.
    pub(crate) async fn output(
        self,
        mut stream: UnixStream,
        mut over: watch::Receiver<Told>,
    ) -> io::Result<()> {
        stream.write_all(&vec![b'o'; self.stdout]).await?;
        let over = over.wait_for(|told| matches!(told, Told::Ended(_)));
        over.await.map_err(io::Error::other)?;
        Ok(())
    }
}
