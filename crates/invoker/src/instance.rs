//! The task of one instance, from its start to its end.
//!
//! ```text
//!   starting ──► idle ◄──► in a call ──► ended
//!       │          └─────────────────────► ▲
//!       └──► (start failed)   stopped, or its runtime died
//! ```
//! A failed Init does not end the instance: as on Lambda, Init runs again inside the first call, under the function's timeout, and that call tells its caller. Any call that did not end with an answer of the runtime ends the instance.

mod call;
mod ending;
mod init;
mod opening;
mod recording;
mod snapshot;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    iter,
    ops::RangeInclusive,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep, timeout},
};
use warren_engine::Sandbox;
use warren_model::{CallRecord, CallSource, InstanceId, Outcome, Wait, chain};
use warren_protocol::{Claim, Interface};
use warren_scheduler::{CallId, Event, Instance as Number};
use warren_telemetry::{Records, report::Status};

use self::opening::Opening;
use crate::{
    BusyPoll, Completed, InvokeError,
    arrival::micros,
    call_channel::CallChannel,
    control::{Control, Life},
    dispatch::{Job, Order, Pool},
    gauge::Gauge,
    held::Held,
    invoker::Context,
    recorder::{Closing, Recorder},
};

/// Between two looks at a running call: memory is sampled, and the first look arms the agent's own deadline.
const LOOK: Duration = Duration::from_millis(100);
/// How long the end of a runtime may take to be reported after its stream closed.
const EXIT_NEWS: Duration = Duration::from_secs(1);
/// How long output of a finished call may take to arrive before its END line is written without it.
const OUTPUT_NEWS: Duration = Duration::from_millis(100);

/// Most calls of an instance whose runtime speaks the Runtime API, by instance, so that those that began together do not end together. AWS's own
/// clients set the environment variable `_X_AMZN_TRACE_ID` anew for each call, which glibc never frees: 110 to 170 bytes a call, so at most 19 MB before
/// a new instance takes over.
const RUNTIME_API_CALLS: RangeInclusive<u32> = 90_000..=110_000;

/// Pauses between tries to remove an ended instance, the last one for as long as it takes; its resources count as used meanwhile.
const REMOVAL_PAUSES_S: [u64; 6] = [1, 2, 5, 10, 30, 60];

/// Lives the life of an instance: starts it, runs calls as ordered, ends it, and tells the scheduler of each step. A panic ends the instance and nothing else.
pub(crate) async fn live(
    context: Arc<Context>,
    pool: Arc<Pool>,
    number: Number,
    orders: mpsc::UnboundedReceiver<Order>,
) {
    let function = pool.version.function.as_str();
    let started = AssertUnwindSafe(Instance::start(&context, &pool))
        .catch_unwind()
        .await
        .unwrap_or_else(|_| Err("the start of an instance panicked".to_owned()));
    let mut instance = match started {
        Ok(instance) => instance,
        Err(reason) => {
            tracing::warn!(function, reason, "an instance could not be started");
            let engine = pool.version.config.engine;
            let reason = match context.launcher.unavailable(engine).await {
                Some(reason) => InvokeError::EngineUnavailable { engine, reason },
                None => InvokeError::Unavailable(reason),
            };
            context
                .dispatch
                .start_failed(&context, pool.key, number, reason);
            return;
        }
    };
    let id = instance.sandbox.id().clone();
    tracing::debug!(function, instance = %id, evidence = instance.sandbox.evidence(), "an instance is ready");
    context
        .dispatch
        .handle(&context, Event::Started { instance: number });
    let served = AssertUnwindSafe(instance.serve(&context, number, orders))
        .catch_unwind()
        .await;
    if served.is_err() {
        tracing::error!(function, instance = %id, "the task of an instance panicked");
        let event = match instance.running.take() {
            Some(call) => Event::Finished {
                call,
                instance: number,
                reusable: false,
            },
            None => Event::Lost { instance: number },
        };
        context.dispatch.handle(&context, event);
    }
    instance.sandbox.remove().await;
    context.dispatch.stopped(&context, number);
}

/// Removes a sandbox, however long that takes.
pub(crate) async fn remove(sandbox: &dyn Sandbox) {
    let id = sandbox.id();
    let [.., last_s] = REMOVAL_PAUSES_S;
    for pause_s in REMOVAL_PAUSES_S.into_iter().chain(iter::repeat(last_s)) {
        let Err(error) = sandbox.kill().await else {
            return;
        };
        tracing::warn!(instance = %id, error = chain(&error), pause_s, "an ended instance could not be removed yet");
        sleep(Duration::from_secs(pause_s)).await;
    }
}

struct Instance {
    pool: Arc<Pool>,
    busy_poll: BusyPoll,
    sandbox: Held,
    control: Arc<Control>,
    life: watch::Receiver<Life>,
    channel: CallChannel,
    recorder: Arc<Recorder>,
    claim: Claim,
    records: Records,
    /// What the records of its calls have in common.
    source: Arc<CallSource>,
    /// How it came to take its next call; none once that call has it in its record. A start, claim, restore or thaw leaves one.
    opening: Option<Opening>,
    gauge: Gauge,
    /// Whether a runtime waits for INIT.
    standby: bool,
    /// Whether Init has succeeded in the runtime that is there now.
    ready: bool,
    /// Duration of Init, until a REPORT line has told it.
    init: Option<Duration>,
    /// Duration of an Init that ran again inside the running call.
    init_again: Option<Duration>,
    /// Calls so far.
    calls: u32,
    /// The call in progress.
    running: Option<CallId>,
    /// When to look at the running call next.
    look: Pin<Box<Sleep>>,
}

/// What became of an instance with a call.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once a call; a box would be an allocation for each"
)]
enum Ran {
    /// It can take another.
    Usable,
    /// It can not.
    Ended,
    /// It ended before the call reached its runtime; another instance shall take it.
    NotTaken(Job),
}

/// How a call ended, and what the REPORT line says of it.
struct Ended {
    outcome: Outcome<Bytes>,
    /// Output mark to wait for.
    mark: Option<u32>,
    reusable: bool,
    memory_killed: bool,
    status: Status,
}

impl Instance {
    /// Takes orders until told to stop, or until the runtime can't take another call.
    async fn serve(
        &mut self,
        context: &Arc<Context>,
        number: Number,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut usable = true;
        let most_calls = most_calls(self.claim.interface, self.sandbox.id());
        let mut life = self.life.clone();
        let mut idle_since = Instant::now();
        let mut frozen = false;
        // Looks again when it is due: a call costs it nothing.
        let freeze_after = context.freeze_after;
        let freeze = sleep(freeze_after);
        tokio::pin!(freeze);
        loop {
            let order = tokio::select! {
                biased;
                error = self.channel.closed(), if usable && self.ready => {
                    tracing::debug!(instance = %self.sandbox.id(), %error, "an idle runtime ended");
                    None
                }
                () = ended(&mut life), if usable && self.ready => None,
                // Before the timer: a call that is there need not wait for a freeze and a thaw.
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => return,
                    Some(Order::Run(job)) => Some(job),
                },
                () = &mut freeze, if usable && !frozen && !freeze_after.is_zero() => {
                    let due = idle_since + freeze_after;
                    if Instant::now() < due {
                        freeze.as_mut().reset(due);
                    } else {
                        frozen = self.freeze().await;
                        freeze.as_mut().reset(Instant::now() + freeze_after);
                    }
                    continue;
                }
            };
            if frozen && order.is_some() {
                frozen = false;
                usable &= self.thaw().await;
            }
            match order {
                None => {
                    usable = false;
                    context
                        .dispatch
                        .handle(context, Event::Lost { instance: number });
                }
                // Not sent to any runtime yet: another instance takes it.
                Some(job) if !usable => context.dispatch.returned(context, job, number),
                Some(job)
                    if idle_since.elapsed() >= context.ping_after
                        && !self.control.is_alive().await =>
                {
                    tracing::warn!(instance = %self.sandbox.id(), "an idle instance did not answer, and is replaced");
                    usable = false;
                    context.dispatch.returned(context, job, number);
                }
                Some(job) => {
                    let call = job.call;
                    self.running = Some(call);
                    let ran = self.run(job).await;
                    self.running = None;
                    usable = match ran {
                        Ran::Usable => most_calls.is_none_or(|most| self.calls < most),
                        Ran::Ended => false,
                        Ran::NotTaken(job) => {
                            usable = false;
                            context.dispatch.returned(context, job, number);
                            continue;
                        }
                    };
                    context.dispatch.handle(
                        context,
                        Event::Finished {
                            call,
                            instance: number,
                            reusable: usable,
                        },
                    );
                    idle_since = Instant::now();
                }
            }
        }
    }

    /// Whether it is frozen from now on.
    async fn freeze(&self) -> bool {
        let frozen = self.sandbox.freeze().await;
        if let Err(error) = &frozen {
            tracing::warn!(instance = %self.sandbox.id(), error = chain(error), "an idle instance could not be frozen");
        }
        frozen.is_ok()
    }

    /// Whether it goes on.
    async fn thaw(&mut self) -> bool {
        let begun = Instant::now();
        let thawed = self.sandbox.thaw().await;
        if let Err(error) = &thawed {
            tracing::warn!(instance = %self.sandbox.id(), error = chain(error), "a frozen instance could not be thawed, and is replaced");
        }
        let there = Instant::now();
        self.opening = Some(Opening {
            kind: Wait::Thaw,
            begun,
            there,
            ready: there,
        });
        thawed.is_ok()
    }

    /// Runs one call, answers its caller, writes its log lines and keeps its record.
    async fn run(&mut self, mut job: Job) -> Ran {
        let begin = Instant::now();
        job.arrival.attempts += 1;
        let timeout = self.pool.version.config.timeout.duration();
        let deadline = begin + timeout;
        self.recorder
            .begin(&job.invocation.request_id, job.invocation.tail);
        let Ok(ended) = self.exchange(&job.invocation, begin, deadline).await else {
            self.recorder.not_taken(&job.invocation.request_id);
            return Ran::NotTaken(job);
        };
        let Job {
            invocation,
            arrival,
            reply,
            ..
        } = job;
        let mut record = self.record(&arrival, &invocation, begin, &ended);
        let records = self.records.clone();
        let answer = |record: &CallRecord, outcome, log_tail| {
            records.answered(record, arrival.received.elapsed());
            // A caller that went away is no fault; its call is over all the same.
            let _ = reply.send(Ok(Completed { outcome, log_tail }));
        };
        let answered = Instant::now();
        if invocation.tail {
            let tail = self.finish(&mut record, &ended).await;
            answer(&record, ended.outcome, tail);
        } else {
            // Bytes are shared, not copied.
            answer(&record, ended.outcome.clone(), None);
            self.finish(&mut record, &ended).await;
        }
        record.closing_us = micros(answered.elapsed());
        self.records.keep(record);
        match ended.reusable {
            true => Ran::Usable,
            false => Ran::Ended,
        }
    }

    /// Waits for output that is still on its way, takes the last figures, writes the closing lines.
    async fn finish(&mut self, record: &mut CallRecord, ended: &Ended) -> Option<Vec<u8>> {
        if let Some(mark) = ended.mark {
            self.recorder.reached(mark, OUTPUT_NEWS).await;
        } else {
            self.end_runtime().await;
        }
        self.measure(record, ended);
        let closing = Closing {
            record,
            timeout: self.pool.version.config.timeout.duration(),
            outcome: &ended.outcome,
            status: ended.status.clone(),
        };
        self.recorder.end(&closing)
    }

    /// Kills the runtime if it lives, and waits for the news, which come after its last output.
    async fn end_runtime(&mut self) -> Life {
        if *self.life.borrow() == Life::Running {
            self.control.kill();
        }
        self.runtime_end().await
    }

    /// How the runtime ended, once that is known, within a bound.
    async fn runtime_end(&mut self) -> Life {
        // In doubt it counts as still running, and the sandbox is killed next.
        let _ = timeout(EXIT_NEWS, ended(&mut self.life)).await;
        self.life.borrow().clone()
    }

    fn oom_killed(&self) -> bool {
        self.gauge.killed_since_begin(self.sandbox.as_ref())
    }
}

/// After how many calls this instance is better replaced than called again, if its interface is one that wears out.
fn most_calls(interface: Interface, id: &InstanceId) -> Option<u32> {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    let (least, most) = (*RUNTIME_API_CALLS.start(), *RUNTIME_API_CALLS.end());
    // Below the range's size, so it fits.
    let more = (hasher.finish() % u64::from(most - least + 1)) as u32;
    (interface == Interface::RuntimeApi).then_some(least + more)
}

/// Returns once the runtime has ended.
async fn ended(life: &mut watch::Receiver<Life>) {
    // The sender lives as long as the control stream's owner.
    let _ = life.wait_for(|life| *life != Life::Running).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runtimes_of_others_wear_out_each_at_its_own_time() {
        let most = |_| most_calls(Interface::RuntimeApi, &InstanceId::random()).unwrap();
        let mut all: Vec<u32> = (0..1_000).map(most).collect();
        assert!(all.iter().all(|most| RUNTIME_API_CALLS.contains(most)));
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 900, "{}", all.len());
        assert!(all[0] < 92_000 && all[all.len() - 1] > 108_000);
        let id = InstanceId::random();
        assert_eq!(
            most_calls(Interface::RuntimeApi, &id),
            most_calls(Interface::RuntimeApi, &id)
        );
        assert_eq!(most_calls(Interface::Stream, &id), None);
    }
}
