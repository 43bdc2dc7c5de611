//! A sandbox that could be claimed: its agent has answered on both streams, and nothing of an owner is in it yet.

use std::{path::Path, sync::Arc};

use futures_util::FutureExt;
use tokio::{io::AsyncWriteExt, net::UnixStream, sync::mpsc, time::timeout};
use warren_engine::{Engine, EngineError, Refused, Sandbox, SandboxSpec, Tenant};
use warren_model::limits::INIT_LIMIT;
use warren_protocol::{Claim, StreamKind, encode_claim};

use crate::{
    BusyPoll,
    call_channel::{CallChannel, ChannelError},
    held::Held,
};

/// A sandbox and the streams to its agent.
pub(crate) struct Opened {
    pub(crate) sandbox: Held,
    pub(crate) control: UnixStream,
    pub(crate) call: UnixStream,
}

/// A start that failed.
pub(crate) struct OpenError {
    pub(crate) error: EngineError,
    /// What was started all the same. Its room is free once it is removed, which is the caller's to do.
    pub(crate) left: Option<Held>,
}

/// Starts a sandbox and opens both streams to its agent.
pub(crate) async fn open(engine: &dyn Engine, spec: SandboxSpec) -> Result<Opened, OpenError> {
    connect(engine.start(spec).await).await
}

async fn connect(started: Result<Arc<dyn Sandbox>, EngineError>) -> Result<Opened, OpenError> {
    let sandbox = started.map_err(|error| OpenError { error, left: None })?;
    let sandbox = Held::new(sandbox);
    let streams = async {
        let control = sandbox.open(StreamKind::Control).await?;
        let call = sandbox.open(StreamKind::Call).await?;
        sandbox.seal()?;
        Ok((control, call))
    };
    match streams.await {
        Ok((control, call)) => Ok(Opened {
            sandbox,
            control,
            call,
        }),
        Err(error) => Err(OpenError {
            error,
            left: Some(sandbox),
        }),
    }
}

pub(crate) struct Booted {
    pub(crate) sandbox: Held,
    pub(crate) control: UnixStream,
    pub(crate) channel: CallChannel,
    /// What its network refuses it.
    pub(crate) refusals: mpsc::UnboundedReceiver<Refused>,
    /// Whether a runtime was started ahead in it, which waits for INIT.
    pub(crate) standby: bool,
}

impl Booted {
    /// Starts a sandbox from an image, its tenant's from then on; on an error it is removed, soon if not at once.
    pub(crate) async fn restore(
        engine: &dyn Engine,
        spec: SandboxSpec,
        tenant: &Tenant,
        image: &Path,
        refusals: mpsc::UnboundedReceiver<Refused>,
        busy_poll: &BusyPoll,
    ) -> Result<Self, EngineError> {
        let restored = engine.restore(spec, tenant, image).await;
        Self::of(connect(restored).await, refusals, busy_poll).await
    }

    /// Starts the sandbox; on an error it is removed, in the background if that takes long.
    pub(crate) async fn start(
        engine: &dyn Engine,
        spec: SandboxSpec,
        refusals: mpsc::UnboundedReceiver<Refused>,
        busy_poll: &BusyPoll,
    ) -> Result<Self, EngineError> {
        Self::of(open(engine, spec).await, refusals, busy_poll).await
    }

    async fn of(
        opened: Result<Opened, OpenError>,
        refusals: mpsc::UnboundedReceiver<Refused>,
        busy_poll: &BusyPoll,
    ) -> Result<Self, EngineError> {
        match opened {
            Ok(opened) => Ok(Self {
                sandbox: opened.sandbox,
                control: opened.control,
                channel: CallChannel::new(opened.call, busy_poll),
                refusals,
                standby: false,
            }),
            Err(OpenError { error, left }) => {
                if let Some(sandbox) = left {
                    sandbox.remove_soon().await;
                }
                Err(error)
            }
        }
    }

    /// Starts a runtime that waits for INIT, and returns once it does.
    pub(crate) async fn start_runtime(&mut self, claim: &Claim) -> Result<(), ChannelError> {
        let mut bytes = Vec::new();
        encode_claim(&mut bytes, claim);
        self.control.write_all(&bytes).await?;
        timeout(INIT_LIMIT, self.channel.standby())
            .await
            .map_err(|_| ChannelError::Closed)??;
        self.standby = true;
        Ok(())
    }

    /// Whether its runtime, if one waits, is still there: it has nothing to say, and says so by its end.
    pub(crate) fn is_well(&mut self) -> bool {
        self.channel.closed().now_or_never().is_none()
    }

    /// Ends it, however long that takes.
    pub(crate) async fn end(self) {
        self.sandbox.remove().await;
    }
}
