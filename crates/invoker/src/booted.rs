//! A sandbox that could be claimed: its agent has answered on both streams, and nothing of a function is in it yet.

use std::sync::Arc;

use futures_util::FutureExt;
use tokio::{io::AsyncWriteExt, net::UnixStream, sync::mpsc, time::timeout};
use warren_engine::{Engine, EngineError, Refused, Sandbox, SandboxSpec};
use warren_model::limits::INIT_LIMIT;
use warren_protocol::{Claim, StreamKind, encode_claim};

use crate::{
    BusyPoll,
    call_channel::{CallChannel, ChannelError},
    instance::remove,
};

pub(crate) struct Booted {
    pub(crate) sandbox: Arc<dyn Sandbox>,
    pub(crate) control: UnixStream,
    pub(crate) channel: CallChannel,
    /// What its network refuses it.
    pub(crate) refusals: mpsc::UnboundedReceiver<Refused>,
    /// Whether a runtime was started ahead in it, which waits for INIT.
    pub(crate) standby: bool,
}

/// What a start needs besides [`SandboxSpec`], for `refused` of which it gives the sender.
pub(crate) fn refusals() -> (
    mpsc::UnboundedSender<Refused>,
    mpsc::UnboundedReceiver<Refused>,
) {
    mpsc::unbounded_channel()
}

impl Booted {
    /// Starts the sandbox; on an error it is removed, soon if not at once.
    pub(crate) async fn start(
        engine: &dyn Engine,
        spec: SandboxSpec,
        refusals: mpsc::UnboundedReceiver<Refused>,
        busy_poll: &BusyPoll,
    ) -> Result<Self, EngineError> {
        let sandbox = engine.start(spec).await?;
        let opened = async {
            let control = sandbox.open(StreamKind::Control).await?;
            let call = sandbox.open(StreamKind::Call).await?;
            sandbox.seal()?;
            Ok((control, call))
        };
        match opened.await {
            Ok((control, call)) => Ok(Self {
                sandbox,
                control,
                channel: CallChannel::new(call, busy_poll),
                refusals,
                standby: false,
            }),
            Err(error) => {
                tokio::spawn(async move { remove(sandbox.as_ref()).await });
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
        remove(self.sandbox.as_ref()).await;
    }
}
