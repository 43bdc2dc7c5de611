//! One call: sent, watched, ended.

use std::time::SystemTime;

use tokio::time::{Instant, timeout};
use warren_model::{Outcome, RequestId, Timestamp, TraceHeader};
use warren_protocol::InvokeMeta;
use warren_telemetry::report::Status;

use super::{
    Ended, Instance, LOOK, OUTPUT_NEWS, ended,
    ending::{Ending, failure},
};
use crate::{
    Invocation,
    call_channel::{ChannelError, Reply},
    control::Life,
};

/// The agent's own deadline comes this much after the host's, which is the one that counts.
const AGENT_GRACE_MS: u64 = 250;

/// A call that surely reached no runtime.
pub(super) struct NotTaken;

impl Instance {
    pub(super) async fn exchange(
        &mut self,
        invocation: &Invocation,
        begin: Instant,
        deadline: Instant,
    ) -> Result<Ended, NotTaken> {
        let request = &invocation.request_id;
        if !self.ready {
            let again = self.init_again(deadline).await;
            self.init_again = Some(begin.elapsed());
            if let Err(ending) = again {
                return Ok(self.ended_early(ending, request));
            }
        }
        self.gauge.begin();
        self.calls = self.calls.wrapping_add(1);
        let trace = invocation.trace.clone().unwrap_or_else(|| {
            TraceHeader::of_request(request, epoch_ms(SystemTime::now()) / 1000)
        });
        let meta = InvokeMeta {
            id: request.as_str().into(),
            deadline: epoch_ms(
                SystemTime::now() + deadline.duration_since(begin) - begin.elapsed(),
            ),
            arn: invocation.arn.as_str().into(),
            trace: trace.as_str().into(),
            client: invocation.client_context.as_deref().map(Into::into),
            identity: None,
        };
        let body: &[u8] = match invocation.payload.is_empty() {
            true => b"{}",
            false => &invocation.payload,
        };
        let mut life = self.life.clone();
        let mut armed = false;
        // One timer for the instance's life: moving it later costs nothing, a new one would wake the driver at each call.
        let look = &mut self.look;
        look.as_mut().reset((begin + LOOK).min(deadline));
        let result = {
            let call = self.channel.call(&meta, body);
            tokio::pin!(call);
            loop {
                tokio::select! {
                    biased;
                    result = &mut call => break Ok(result),
                    () = ended(&mut life) => {
                        // The answer may have been sent just before the end.
                        break Ok(timeout(OUTPUT_NEWS, &mut call).await.unwrap_or(Err(ChannelError::Closed)));
                    }
                    () = look.as_mut() => {
                        let now = Instant::now();
                        if now >= deadline {
                            break Err(());
                        }
                        self.gauge.sample(self.sandbox.as_ref());
                        if !armed {
                            armed = true;
                            let left = (deadline - now).as_millis() as u64 + AGENT_GRACE_MS;
                            self.control.deadline(self.calls, Some(left));
                        }
                        look.as_mut().reset((now + LOOK).min(deadline));
                    }
                }
            }
        };
        if armed && matches!(result, Ok(Ok(_))) {
            self.control.deadline(self.calls, None);
        }
        Ok(match result {
            Ok(Ok((Reply::Answer(body), mark))) => Ended {
                outcome: Outcome::Answer(body),
                mark: Some(mark),
                reusable: true,
                memory_killed: false,
                status: Status::Success,
            },
            Ok(Ok((Reply::Error(body), mark))) => Ended {
                outcome: Outcome::Error(body),
                mark: Some(mark),
                reusable: true,
                memory_killed: false,
                status: Status::Success,
            },
            Ok(Err(error)) => {
                // A runtime that broke its stream may live, and is ended after its caller was told.
                let life = match error {
                    ChannelError::Closed | ChannelError::Unread | ChannelError::Io(_) => {
                        self.runtime_end().await
                    }
                    ChannelError::Protocol(_) | ChannelError::TooLarge => Life::Running,
                };
                if self.is_not_taken(&error, &life) {
                    return Err(NotTaken);
                }
                let ending = Ending::of_channel(error, life, self.oom_killed());
                self.ended_early(ending, request)
            }
            Err(()) => self.ended_early(Ending::Deadline, request),
        })
    }

    /// Whether the runtime ended without the call that was sent to it. Only one that had answered before is believed, so that a call whose every new
    /// instance ends so is not passed on for ever.
    fn is_not_taken(&self, error: &ChannelError, life: &Life) -> bool {
        let call = self.channel.last_call();
        let later = matches!(life, Life::Exited { last_call: Some(last), .. } if *last < call);
        call > 1 && (later || matches!(error, ChannelError::Unread))
    }

    fn ended_early(&self, ending: Ending, request: &RequestId) -> Ended {
        let memory_killed = ending.memory_killed();
        let status = ending.status();
        let outcome = match ending {
            Ending::InitError(body) => Outcome::Error(body),
            other => Outcome::Failed(failure(&other, request, self.pool.version.config.timeout)),
        };
        Ended {
            outcome,
            mark: None,
            reusable: false,
            memory_killed,
            status,
        }
    }
}

/// In milliseconds since the epoch.
fn epoch_ms(moment: SystemTime) -> u64 {
    u64::try_from(Timestamp::from(moment).as_millis()).unwrap_or(0)
}
