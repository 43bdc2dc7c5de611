//! The program and its client: input, output, errors, limits. Time, memory and the count of bytes are the host's own.
//!
//! ```text
//!   running ──► killed, at a limit ──► draining ──► over
//!      └───────── it ended by itself ────► ▲
//! ```
//! While it drains, what the program had written is taken from the agent, whatever the client does.

use std::{pin::pin, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use warren_engine::{Refused, Sandbox};
use warren_model::{Config, NetworkPolicy};
use warren_protocol::{Claim, Exited, ProtocolError};

use super::{
    InputPiece, RunEvent,
    control::{self, Commands, Listener, News},
    delivery::{Delivery, Stop},
    input::Input,
    outcome::{Cause, Ended},
};
use crate::gauge::Gauge;

/// Bytes of output that are read at a time.
const PIECE: usize = 64 << 10;
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(100);
/// How long the agent may take to accept that it shall kill the program, and the program to be gone.
const KILL: Duration = Duration::from_millis(200);
/// How long the last output may take to come from the agent.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How long the client waits for what the network refused.
const REFUSALS: Duration = Duration::from_millis(500);

/// What an exchange needs.
pub(super) struct Exchange<'r> {
    pub(super) sandbox: &'r dyn Sandbox,
    pub(super) config: &'r Config,
    pub(super) delivery: &'r Delivery,
}

/// The streams to the agent.
pub(super) struct Streams {
    pub(super) control: UnixStream,
    pub(super) call: UnixStream,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Killed,
    Draining,
}

/// Why nothing more is heard on the control stream but that the program has ended.
enum Silence {
    Stopped(Stop),
    Gone,
    Broken(ProtocolError),
}

impl Exchange<'_> {
    /// Runs the program to its end, whatever that is.
    pub(super) async fn run(
        &self,
        streams: Streams,
        claim: &Claim,
        input: Input,
        refusals: &mut mpsc::UnboundedReceiver<Refused>,
    ) -> Ended {
        let begin = Instant::now();
        let mut gauge = Gauge::default();
        let (listener, mut commands) = control::split(streams.control);
        let (cause, cut) = match self.claim(&mut commands, claim).await {
            Err(cause) => (cause, false),
            Ok(()) => {
                let agent = (listener, commands, streams.call);
                self.converse(agent, begin, input, refusals, &mut gauge)
                    .await
            }
        };
        let duration = begin.elapsed();
        let used = gauge.at_call_end(self.sandbox, duration);
        let memory_killed = gauge.killed_since_begin(self.sandbox);
        if !matches!(cause, Cause::Abandoned) {
            self.last_refusals(refusals).await;
        }
        Ended {
            cause,
            memory_killed,
            cut,
            duration,
            peak_bytes: used.peak_bytes.unwrap_or(0).min(self.config.memory.bytes()),
        }
    }

    /// Starts the program.
    async fn claim(&self, commands: &mut Commands, claim: &Claim) -> Result<(), Cause> {
        let claimed = timeout(self.config.timeout.duration(), commands.claim(claim));
        tokio::select! {
            biased;
            () = self.delivery.closed() => Err(Cause::Abandoned),
            claimed = claimed => match claimed {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) => Err(Cause::Lost(format!("its agent took no claim: {error}"))),
                Err(_) => Err(Cause::Deadline),
            }
        }
    }

    /// Why it is over, and whether output may be missing at the end.
    async fn converse(
        &self,
        (mut listener, mut commands, call): (Listener, Commands, UnixStream),
        begin: Instant,
        input: Input,
        refusals: &mut mpsc::UnboundedReceiver<Refused>,
        gauge: &mut Gauge,
    ) -> (Cause, bool) {
        let (output, to_program) = call.into_split();
        let mut feeding = pin!(feed(input, to_program));
        let mut reading = pin!(self.read(output));
        let mut listening = pin!(self.listen(&mut listener));
        let (mut fed, mut read, mut heard, mut cut) = (false, false, false, false);
        let (mut exited, mut cause) = (None, None);
        let mut phase = Phase::Running;
        let mut until = begin + self.config.timeout.duration();
        let mut look = begin + LOOK;
        while !(read && heard) {
            // A limit that was met just now, and whether only the last output is missing.
            let (mut limit, mut over) = (None, false);
            tokio::select! {
                biased;
                () = self.delivery.closed() => return (Cause::Abandoned, true),
                end = &mut reading, if !read => {
                    read = true;
                    match end {
                        Ok(()) => {}
                        Err(Stop::Limit) => limit = Some(Cause::Output),
                        Err(Stop::Full) => cut = true,
                        Err(Stop::ClientGone) => return (Cause::Abandoned, true),
                    }
                }
                end = &mut listening, if !heard => {
                    heard = true;
                    match end {
                        Ok(how @ Exited::Spawn(_)) => return (Cause::Exited(how), false),
                        Ok(how) => {
                            exited = Some(how);
                            over = true;
                        }
                        Err(Silence::Stopped(Stop::Limit)) => limit = Some(Cause::Output),
                        Err(Silence::Stopped(Stop::Full)) => cut = true,
                        Err(Silence::Stopped(Stop::ClientGone)) => return (Cause::Abandoned, true),
                        Err(Silence::Gone) => over = true,
                        Err(Silence::Broken(error)) => {
                            let why = format!("its agent broke the protocol: {error}");
                            return (cause.unwrap_or(Cause::Lost(why)), true);
                        }
                    }
                }
                whole = &mut feeding, if !fed => match whole {
                    true => fed = true,
                    false => return (Cause::Abandoned, true),
                },
                Some(refused) = refusals.recv() => self.tell(&refused),
                () = sleep_until(until) => match phase {
                    Phase::Running => limit = Some(Cause::Deadline),
                    Phase::Killed => over = true,
                    Phase::Draining => {
                        cut = true;
                        break;
                    }
                },
                () = sleep_until(look) => {
                    gauge.sample(self.sandbox);
                    look = Instant::now() + LOOK;
                }
            }
            if let Some(limit) = limit {
                // One after another is told as the first.
                cut |= cause.is_some();
                cause.get_or_insert(limit);
                if phase == Phase::Running {
                    // An agent that takes no command is told by its streams, or by the time that it takes.
                    let _ = timeout(KILL, commands.kill()).await;
                    phase = Phase::Killed;
                    until = Instant::now() + KILL;
                }
            }
            if over {
                self.delivery.keep();
                phase = Phase::Draining;
                until = Instant::now() + LAST_WORDS;
            }
        }
        let cause = cause.or(exited.map(Cause::Exited));
        let gone = || Cause::Lost("its agent is gone".to_owned());
        (cause.unwrap_or_else(gone), cut)
    }

    /// Passes the standard output on.
    async fn read(&self, mut output: OwnedReadHalf) -> Result<(), Stop> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(PIECE);
            match output.read_buf(&mut buffer).await {
                // An agent that ends is told by its control stream.
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            }
            let piece = buffer.split().freeze();
            self.delivery.output(piece, RunEvent::Stdout).await?;
        }
    }

    /// Passes the standard error on until the program has ended.
    async fn listen(&self, listener: &mut Listener) -> Result<Exited, Silence> {
        loop {
            match listener.next().await {
                News::Stderr(piece) => {
                    let passed = self.delivery.output(piece, RunEvent::Stderr);
                    passed.await.map_err(Silence::Stopped)?;
                }
                News::Exited(how) => return Ok(how),
                News::Gone => return Err(Silence::Gone),
                News::Broken(error) => return Err(Silence::Broken(error)),
            }
        }
    }

    /// Tells of what the network refused and was not told yet: a short run is over before that comes by itself.
    async fn last_refusals(&self, refusals: &mut mpsc::UnboundedReceiver<Refused>) {
        if self.config.network == NetworkPolicy::None {
            return;
        }
        if timeout(REFUSALS, self.sandbox.tell_refusals())
            .await
            .is_err()
        {
            tracing::debug!(run = %self.sandbox.id(), "what a run was refused was not known in time");
        }
        while let Ok(refused) = refusals.try_recv() {
            self.tell(&refused);
        }
    }

    /// Says in the standard error what the network refused: the program sees only that a connection failed.
    fn tell(&self, refused: &Refused) {
        let line = format!("warren: {}\n", refused.explain(&self.config.network));
        self.delivery.note(line);
    }
}

/// Passes input on to its end; whether it was whole. A program that reads none of it is no fault.
async fn feed(mut input: Input, mut program: OwnedWriteHalf) -> bool {
    while let Some(piece) = input.next().await {
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
