//! One-shot runs: a program in a fresh sandbox, once, with its input and output as streams. No function is made and nothing is kept.
//!
//! ```text
//!   request ─► code checked, tree and engine ready ─► place ─► code unpacked, sandbox started ─► program ─► end
//!                        refused ◄─────────────────────┴────────────┘                                  ├─► the rest of the output
//!                                                                                                      └─► sandbox, code, place given back
//! ```
//! All of it is a task of its own. It ends early when nobody listens to its events any more.

mod code;
mod control;
mod delivery;
mod exchange;
mod input;
mod live;
mod outcome;
mod program;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use warren_model::{Config, chain, native::RunEnd};
use warren_registry::{Refusal, RegistryError};

use self::{input::Input, live::Live};
use crate::{InvokeError, Invoker};

/// Events that wait for the client, of 64 KiB at most each; the program waits when they are as many.
const EVENTS: usize = 8;

/// A program to run.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// Runtime, engine, limits and network. Its variables are those of `environment`, not its own.
    pub config: Config,
    /// The code.
    pub zip: Bytes,
    /// The file in it that is run.
    pub entry: String,
    /// Arguments of the program.
    pub args: Vec<String>,
    /// Variables of the program, besides those of its runtime.
    pub environment: BTreeMap<String, String>,
    /// Most output, both streams together, in bytes.
    pub max_output: u64,
}

/// A piece of the program's input; the end of the pieces is the end of the input.
#[derive(Debug)]
pub enum InputPiece {
    /// Bytes.
    Bytes(Bytes),
    /// The client is gone before its input was complete: the run ends.
    Broken,
}

/// What happens in a run.
#[derive(Debug)]
pub enum RunEvent {
    /// Bytes of the standard output.
    Stdout(Bytes),
    /// Bytes of the standard error.
    Stderr(Bytes),
    /// The end, after which nothing comes.
    End(RunEnd),
}

/// A run whose sandbox has started.
#[derive(Debug)]
pub struct Run {
    /// What happens. Dropping it ends the run. The program waits for a reader who is slow.
    pub events: mpsc::Receiver<RunEvent>,
}

/// Why a run did not begin.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The request is not in order, or can't be served here.
    #[error(transparent)]
    Refused(#[from] RegistryError),
    /// There is no room.
    #[error(transparent)]
    NoRoom(InvokeError),
    /// The client went away before there was room.
    #[error("the client went away while its run waited for room")]
    Abandoned,
    /// The platform failed. The message is for the owner of the server.
    #[error("{0}")]
    Failed(String),
}

impl RunError {
    fn field(field: &str, reason: impl Into<String>) -> Self {
        Self::Refused(RegistryError::Refused(Refusal {
            field: field.to_owned(),
            reason: reason.into(),
        }))
    }

    fn failed(error: &(dyn std::error::Error + 'static)) -> Self {
        Self::Failed(chain(error))
    }
}

impl Invoker {
    /// Begins a run and answers when its sandbox has started; the program's input comes by `input`. The run ends by itself, or when [`Run`] is dropped,
    /// also while it is yet to begin.
    pub async fn run(
        &self,
        mut request: RunRequest,
        input: mpsc::Receiver<InputPiece>,
    ) -> Result<Run, RunError> {
        let context = Arc::clone(&self.context);
        let (mut begun, answer) = oneshot::channel();
        tokio::spawn(async move {
            let since = Instant::now();
            let mut input = Input::new(input);
            let gone = async {
                tokio::select! {
                    () = begun.closed() => {}
                    () = input.broken() => {}
                }
            };
            match Live::begin(&context, &mut request, gone).await {
                Err(error) => {
                    // Who gave up waiting needs no answer.
                    let _ = begun.send(Err(error));
                }
                Ok(live) => {
                    let (events, receiver) = mpsc::channel(EVENTS);
                    if begun.send(Ok(Run { events: receiver })).is_err() {
                        live.remove().await;
                        return;
                    }
                    live.serve(&request, since, input, events).await;
                }
            }
        });
        answer
            .await
            .unwrap_or_else(|_| Err(RunError::Failed("the task of a run panicked".to_owned())))
    }
}
