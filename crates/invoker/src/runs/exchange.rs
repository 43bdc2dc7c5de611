//! The program and its client: input, output, errors, limits. Time, memory and the count of bytes are the host's own.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    sync::mpsc,
    time::{Instant, sleep_until},
};
use warren_engine::{Refused, Sandbox};
use warren_model::{Config, chain};
use warren_protocol::{Claim, Exited, StreamKind};

use super::{
    InputPiece, RunEvent,
    control::{self, Listener, News},
    outcome::{Cause, Ended},
};

/// Bytes of output that are read at a time.
const PIECE: usize = 64 << 10;
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(100);
/// How long the last output may take to arrive after the program was ended at its time limit.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long a client may take for the rest of the output of a program that has ended: some hundred KiB at most.
const REST: Duration = Duration::from_secs(60);

/// What an exchange needs.
pub(super) struct Exchange<'r> {
    pub(super) sandbox: Arc<dyn Sandbox>,
    pub(super) config: &'r Config,
    pub(super) max_output: u64,
    pub(super) events: &'r mpsc::Sender<RunEvent>,
}

/// Bytes of output that may still come, over both streams.
struct Allowance(AtomicU64);

/// Why a stream of output is not read any more.
enum OutputEnd {
    Over,
    Limit,
    ClientGone,
}

impl Exchange<'_> {
    /// Runs the program to its end, whatever that is.
    pub(super) async fn run(
        &self,
        claim: Claim,
        input: mpsc::Receiver<InputPiece>,
        refusals: &mut mpsc::UnboundedReceiver<Refused>,
    ) -> Ended {
        let begin = Instant::now();
        let mut figures = Figures::default();
        let (cause, cut) = match self.connect(&claim).await {
            Err(why) => (Cause::Lost(why), false),
            Ok(streams) => {
                self.converse(streams, begin, input, refusals, &mut figures)
                    .await
            }
        };
        let duration = begin.elapsed();
        figures.last_look(self.sandbox.as_ref());
        Ended {
            cause,
            memory_killed: figures.oom_kills > 0,
            cut,
            duration,
            peak_bytes: figures.peak_bytes.min(self.config.memory.bytes()),
        }
    }

    async fn connect(&self, claim: &Claim) -> Result<Streams, String> {
        let sandbox = &self.sandbox;
        let open = |kind| async move { sandbox.open(kind).await.map_err(|error| chain(&error)) };
        let control = open(StreamKind::Control).await?;
        let call = open(StreamKind::Call).await?;
        sandbox.seal().map_err(|error| chain(&error))?;
        let (listener, mut commands) = control::split(control);
        let claimed = commands.claim(claim).await;
        claimed.map_err(|error| format!("its agent took no claim: {error}"))?;
        let (output, input) = call.into_split();
        Ok(Streams {
            listener,
            commands,
            output,
            input,
        })
    }

    /// Why it is over, and whether output is missing at the end.
    async fn converse(
        &self,
        streams: Streams,
        begin: Instant,
        input: mpsc::Receiver<InputPiece>,
        refusals: &mut mpsc::UnboundedReceiver<Refused>,
        figures: &mut Figures,
    ) -> (Cause, bool) {
        let Streams {
            mut listener,
            mut commands,
            output,
            input: to_program,
        } = streams;
        let allowance = Allowance(AtomicU64::new(self.max_output));
        let mut feeding = pin!(feed(input, to_program));
        let mut reading = pin!(self.read(output, &allowance));
        let mut listening = pin!(self.listen(&mut listener, &allowance));
        let (mut fed, mut read, mut exited) = (false, false, None);
        let mut timed_out = false;
        let mut until = begin + self.config.timeout.duration();
        let mut look = begin + LOOK;
        loop {
            if read && let Some(how) = exited.take() {
                return match timed_out {
                    true => (Cause::Deadline, false),
                    false => (Cause::Exited(how), false),
                };
            }
            tokio::select! {
                biased;
                () = self.events.closed() => return (Cause::Abandoned, true),
                end = &mut reading, if !read => match end {
                    OutputEnd::Over => read = true,
                    OutputEnd::Limit => return (Cause::Output, true),
                    OutputEnd::ClientGone => return (Cause::Abandoned, true),
                },
                end = &mut listening, if exited.is_none() => match end {
                    Ok(how @ Exited::Spawn(_)) => return (Cause::Exited(how), false),
                    Ok(how) => {
                        exited = Some(how);
                        until = Instant::now() + if timed_out { LAST_WORDS } else { REST };
                    }
                    Err(Cause::Lost(_)) if timed_out => return (Cause::Deadline, true),
                    Err(cause) => return (cause, true),
                },
                whole = &mut feeding, if !fed => match whole {
                    true => fed = true,
                    false => return (Cause::Abandoned, true),
                },
                Some(refused) = refusals.recv() => self.tell(&refused),
                () = sleep_until(until) => match exited.take() {
                    Some(how) if !timed_out => return (Cause::Exited(how), true),
                    None if !timed_out => {
                        timed_out = true;
                        until = Instant::now() + LAST_WORDS;
                        if commands.kill().await.is_err() {
                            return (Cause::Deadline, true);
                        }
                    }
                    _ => return (Cause::Deadline, true),
                },
                () = sleep_until(look) => {
                    figures.look(self.sandbox.as_ref());
                    look = Instant::now() + LOOK;
                }
            }
        }
    }

    /// Passes the standard output on.
    async fn read(&self, mut output: OwnedReadHalf, allowance: &Allowance) -> OutputEnd {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match output.read_buf(&mut buffer).await {
                // An agent that ends is told by its control stream.
                Ok(0) | Err(_) => return OutputEnd::Over,
                Ok(_) => {}
            }
            let (piece, whole) = allowance.take(buffer.split().freeze());
            if self.events.send(RunEvent::Stdout(piece)).await.is_err() {
                return OutputEnd::ClientGone;
            }
            if !whole {
                return OutputEnd::Limit;
            }
        }
    }

    /// Passes the standard error on until the program has ended.
    async fn listen(
        &self,
        listener: &mut Listener,
        allowance: &Allowance,
    ) -> Result<Exited, Cause> {
        loop {
            match listener.next().await {
                News::Stderr(bytes) => {
                    let (piece, whole) = allowance.take(bytes);
                    if self.events.send(RunEvent::Stderr(piece)).await.is_err() {
                        return Err(Cause::Abandoned);
                    }
                    if !whole {
                        return Err(Cause::Output);
                    }
                }
                News::Exited(how) => return Ok(how),
                News::Gone => return Err(Cause::Lost("its agent is gone".to_owned())),
                News::Broken(error) => {
                    return Err(Cause::Lost(format!(
                        "its agent broke the protocol: {error}"
                    )));
                }
            }
        }
    }

    /// Says in the standard error what the network refused: the program sees only that a connection failed. Not worth any wait.
    fn tell(&self, refused: &Refused) {
        let line = format!("warren: {}\n", refused.explain(&self.config.network));
        let _ = self.events.try_send(RunEvent::Stderr(line.into()));
    }
}

struct Streams {
    listener: Listener,
    commands: control::Commands,
    output: OwnedReadHalf,
    input: OwnedWriteHalf,
}

impl Allowance {
    /// As much of a piece as may pass, and whether that is all.
    fn take(&self, mut piece: Bytes) -> (Bytes, bool) {
        let left = self.0.load(Ordering::Relaxed);
        let length = piece.len() as u64;
        // Only one task takes, so nothing happens between the two.
        self.0.store(left.saturating_sub(length), Ordering::Relaxed);
        match usize::try_from(left) {
            Ok(left) if left < piece.len() => {
                piece.truncate(left);
                (piece, false)
            }
            _ => (piece, true),
        }
    }
}

/// Passes input on to its end; whether it was whole. A program that reads none of it is no fault.
async fn feed(mut input: mpsc::Receiver<InputPiece>, mut program: OwnedWriteHalf) -> bool {
    while let Some(piece) = input.recv().await {
        match piece {
            InputPiece::Broken => return false,
            InputPiece::Bytes(bytes) => {
                if program.write_all(&bytes).await.is_err() {
                    return true;
                }
            }
        }
    }
    // The program may have ended by now.
    let _ = program.shutdown().await;
    true
}

/// What was seen of the sandbox's memory.
#[derive(Debug, Default)]
struct Figures {
    peak_bytes: u64,
    oom_kills: u64,
}

impl Figures {
    fn look(&mut self, sandbox: &dyn Sandbox) {
        if let Some(usage) = sandbox.usage() {
            self.peak_bytes = self.peak_bytes.max(usage.memory_bytes);
            self.oom_kills = self.oom_kills.max(usage.oom_kills);
        }
    }

    /// The kernel keeps bursts of processes that live.
    fn last_look(&mut self, sandbox: &dyn Sandbox) {
        self.look(sandbox);
        self.peak_bytes = self.peak_bytes.max(sandbox.peak_bytes().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_cut_at_its_limit_and_not_before() {
        let allowance = Allowance(AtomicU64::new(5));
        assert_eq!(
            allowance.take(Bytes::from_static(b"abc")),
            ("abc".into(), true)
        );
        assert_eq!(
            allowance.take(Bytes::from_static(b"de")),
            ("de".into(), true)
        );
        assert_eq!(allowance.take(Bytes::from_static(b"f")), ("".into(), false));
        let allowance = Allowance(AtomicU64::new(5));
        assert_eq!(
            allowance.take(Bytes::from_static(b"abcdefg")),
            ("abcde".into(), false)
        );
    }
}
