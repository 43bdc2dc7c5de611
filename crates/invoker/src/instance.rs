//! The task of one instance, from its start to its end.
//!
//! ```text
//!   starting ──► idle ◄──► in a call ──► ended
//!       │          └─────────────────────► ▲
//!       └──► (start failed)   stopped, or its runtime died
//! ```
//! A failed Init does not end the instance: as on Lambda, Init runs again inside the first call, under the function's timeout, and that call tells its caller. Any call that did not end with an answer of the runtime ends the instance.

mod ending;
mod gauge;

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Sleep, sleep, timeout, timeout_at},
};
use warren_engine::Sandbox;
use warren_model::{InstanceId, Outcome, RequestId, Timestamp, limits::INIT_LIMIT};
use warren_protocol::{Claim, Interface, InvokeMeta, StreamKind};
use warren_runtimes::{Interface as RecipeInterface, RUNTIME_GID, RUNTIME_UID, Recipe};
use warren_scheduler::{Event, Instance as Number};

use self::{
    ending::{Ending, failure},
    gauge::MemoryGauge,
};
use crate::{
    Completed,
    call_channel::{CallChannel, ChannelError, Reply},
    control::{Control, Life},
    dispatch::{Job, Order, Pool},
    environment::environment,
    invoker::Context,
    launch::chain,
    recorder::{CallReport, Recorder},
};

/// Between two looks at a running call: memory is sampled, and the first look arms the agent's own deadline.
const LOOK: Duration = Duration::from_millis(100);
/// How long the end of a runtime may take to be reported after its stream closed.
const EXIT_NEWS: Duration = Duration::from_secs(1);
/// How long output of a finished call may take to arrive before its END line is written without it.
const OUTPUT_NEWS: Duration = Duration::from_millis(100);
/// The agent's own deadline comes this much after the host's, which is the one that counts.
const AGENT_GRACE_MS: u64 = 250;
/// Open files of a runtime, as on Lambda (quota page).
const OPEN_FILES: u64 = 1024;

/// Lives the life of an instance: starts it, runs calls as ordered, ends it, and tells the scheduler of each step.
pub(crate) async fn live(
    context: Arc<Context>,
    pool: Arc<Pool>,
    number: Number,
    orders: mpsc::UnboundedReceiver<Order>,
) {
    let id = InstanceId::random();
    let function = pool.version.function.as_str();
    match Instance::start(&context, &pool, &id).await {
        Err(reason) => {
            tracing::warn!(function, instance = %id, reason, "an instance could not be started");
            context
                .dispatch
                .start_failed(&context, pool.key, number, reason);
        }
        Ok(mut instance) => {
            tracing::debug!(function, instance = %id, evidence = instance.sandbox.evidence(), "an instance is ready");
            context
                .dispatch
                .handle(&context, Event::Started { instance: number });
            instance.serve(&context, number, orders).await;
            if let Err(error) = instance.sandbox.kill().await {
                tracing::error!(instance = %id, error = chain(&error), "an ended instance could not be removed; the next start of the server will");
            }
            context.dispatch.stopped(&context, number);
        }
    }
}

struct Instance {
    pool: Arc<Pool>,
    sandbox: Arc<dyn Sandbox>,
    control: Arc<Control>,
    life: watch::Receiver<Life>,
    channel: CallChannel,
    recorder: Arc<Recorder>,
    claim: Claim,
    gauge: MemoryGauge,
    /// Whether Init has succeeded in the runtime that is there now.
    ready: bool,
    /// Duration of Init, until a REPORT line has told it.
    init: Option<Duration>,
    /// Calls so far.
    calls: u32,
    /// When to look at the running call next.
    look: Pin<Box<Sleep>>,
}

/// How a call ended, and what the REPORT line says of it.
struct Ended {
    outcome: Outcome<Bytes>,
    /// Output mark to wait for.
    mark: Option<u32>,
    reusable: bool,
    memory_killed: bool,
}

impl Instance {
    /// Starts the sandbox and runs Init. `Err` only where the platform failed.
    async fn start(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        id: &InstanceId,
    ) -> Result<Self, String> {
        let version = &pool.version;
        let launcher = &context.launcher;
        let text = |error: Box<dyn std::error::Error + Send + Sync>| chain(error.as_ref());
        let engine = launcher.engine(version.config.engine).map_err(text)?;
        let (spec, recipe) = launcher.spec(version, id).await.map_err(text)?;
        let sandbox = engine.start(spec).await.map_err(|e| chain(&e))?;
        match Self::connect(context, pool, Arc::clone(&sandbox), &recipe).await {
            Ok(mut instance) => {
                instance.first_init().await;
                Ok(instance)
            }
            Err(error) => {
                if let Err(left) = sandbox.kill().await {
                    tracing::error!(instance = %id, error = chain(&left), "a failed start could not be removed");
                }
                Err(chain(&error))
            }
        }
    }

    async fn connect(
        context: &Arc<Context>,
        pool: &Arc<Pool>,
        sandbox: Arc<dyn Sandbox>,
        recipe: &Recipe,
    ) -> Result<Self, warren_engine::EngineError> {
        let version = &pool.version;
        let log_stream = format!(
            "{}/[{}]{}",
            Timestamp::from(SystemTime::now()).log_date(),
            version.id,
            sandbox.id()
        );
        let claim = Claim {
            command: recipe.command.clone(),
            interface: match recipe.interface {
                RecipeInterface::Stream => Interface::Stream,
                RecipeInterface::RuntimeApi => Interface::RuntimeApi,
            },
            environment: environment(version, recipe, &context.account, &log_stream),
            directory: "/var/task".to_owned(),
            uid: RUNTIME_UID,
            gid: RUNTIME_GID,
            open_files: OPEN_FILES,
            processes: None,
        };
        let control = sandbox.open(StreamKind::Control).await?;
        let channel = CallChannel::new(sandbox.open(StreamKind::Call).await?);
        sandbox.seal();
        let recorder = Arc::new(Recorder::new(context.logs.clone(), version, log_stream));
        let control = Control::new(control, Arc::clone(&recorder));
        Ok(Self {
            pool: Arc::clone(pool),
            life: control.life(),
            sandbox,
            control,
            channel,
            recorder,
            claim,
            gauge: MemoryGauge::default(),
            ready: false,
            init: None,
            calls: 0,
            look: Box::pin(sleep(LOOK)),
        })
    }

    /// Init before any call: 10 s. A failure is logged and tried again inside the first call.
    async fn first_init(&mut self) {
        let begin = Instant::now();
        match self.init(begin + INIT_LIMIT).await {
            Ok(()) => {
                self.ready = true;
                self.init = Some(begin.elapsed());
            }
            Err(ending) => {
                self.recorder.init_failed(begin.elapsed(), ending.status());
            }
        }
    }

    /// Claims, and waits until the runtime is ready.
    async fn init(&mut self, deadline: Instant) -> Result<(), Ending> {
        if let Err(error) = self.control.claim(&self.claim).await {
            return Err(Ending::Channel(ChannelError::from(error)));
        }
        let mut life = self.life.clone();
        let outcome = tokio::select! {
            biased;
            ready = timeout_at(deadline, self.channel.ready()) => ready,
            // The runtime may have said why just before it ended.
            () = ended(&mut life) => {
                timeout(OUTPUT_NEWS, self.channel.ready()).await.or(Ok(Err(ChannelError::Closed)))
            }
        };
        match outcome {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => {
                self.end_runtime().await;
                Err(Ending::InitError(error))
            }
            Ok(Err(error)) => {
                let life = self.end_runtime().await;
                Err(Ending::of_channel(error, life, self.oom_killed()))
            }
            Err(_) => {
                self.end_runtime().await;
                Err(Ending::Deadline)
            }
        }
    }

    /// Init once more, inside a call, on a new call stream.
    async fn init_again(&mut self, deadline: Instant) -> Result<(), Ending> {
        self.end_runtime().await;
        match self.sandbox.open(StreamKind::Call).await {
            Ok(stream) => self.channel = CallChannel::new(stream),
            Err(error) => {
                tracing::warn!(instance = %self.sandbox.id(), error = chain(&error), "no new call stream");
                return Err(Ending::Exited(Life::Gone, self.oom_killed()));
            }
        }
        self.init(deadline).await
    }

    /// Takes orders until told to stop, or until the runtime can't take another call.
    async fn serve(
        &mut self,
        context: &Arc<Context>,
        number: Number,
        mut orders: mpsc::UnboundedReceiver<Order>,
    ) {
        let mut usable = true;
        let mut life = self.life.clone();
        loop {
            let order = tokio::select! {
                biased;
                error = self.channel.closed(), if usable && self.ready => {
                    tracing::debug!(instance = %self.sandbox.id(), %error, "an idle runtime ended");
                    None
                }
                () = ended(&mut life), if usable && self.ready => None,
                order = orders.recv() => match order {
                    None | Some(Order::Stop) => return,
                    Some(Order::Run(job)) => Some(job),
                },
            };
            match order {
                None => {
                    usable = false;
                    context
                        .dispatch
                        .handle(context, Event::Lost { instance: number });
                }
                // Not sent to any runtime yet: another instance takes it.
                Some(job) if !usable => {
                    context.dispatch.handle(
                        context,
                        Event::Finished {
                            call: job.call,
                            instance: number,
                            reusable: false,
                        },
                    );
                    context.dispatch.arrive(context, job.invocation, job.reply);
                }
                Some(job) => {
                    let call = job.call;
                    usable = self.run(job).await;
                    context.dispatch.handle(
                        context,
                        Event::Finished {
                            call,
                            instance: number,
                            reusable: usable,
                        },
                    );
                }
            }
        }
    }

    /// Runs one call, answers its caller and writes its log lines. Whether the instance can take another.
    async fn run(&mut self, job: Job) -> bool {
        let Job {
            invocation, reply, ..
        } = job;
        let begin = Instant::now();
        let timeout = self.pool.version.config.timeout.duration();
        let deadline = begin + timeout;
        let request = invocation.request_id.clone();
        self.recorder.begin(&request, invocation.tail);
        let ended = self.exchange(&invocation, begin, deadline).await;
        let duration = begin.elapsed().min(timeout);

        let answer = |outcome, log_tail| {
            // A caller that went away is no fault; its call is over all the same.
            let _ = reply.send(Ok(Completed { outcome, log_tail }));
        };
        let mut report = CallReport {
            duration,
            init: self.init.take(),
            used_bytes: 0,
            timeout,
            // Bytes are shared, not copied.
            outcome: ended.outcome.clone(),
        };
        if invocation.tail {
            let tail = self.finish(&request, &mut report, &ended).await;
            answer(ended.outcome, tail);
        } else {
            answer(ended.outcome.clone(), None);
            self.finish(&request, &mut report, &ended).await;
        }
        ended.reusable
    }

    /// Waits for output that is still on its way, takes the last memory figure, writes the closing lines.
    async fn finish(
        &mut self,
        request: &RequestId,
        report: &mut CallReport,
        ended: &Ended,
    ) -> Option<Vec<u8>> {
        if let Some(mark) = ended.mark {
            self.recorder.reached(mark, OUTPUT_NEWS).await;
        } else {
            self.end_runtime().await;
        }
        report.used_bytes = match ended.memory_killed {
            true => self.pool.version.config.memory.bytes(),
            false => self
                .gauge
                .at_call_end(self.sandbox.as_ref(), report.duration),
        };
        self.recorder.end(request, report)
    }

    async fn exchange(
        &mut self,
        invocation: &crate::Invocation,
        begin: Instant,
        deadline: Instant,
    ) -> Ended {
        let request = &invocation.request_id;
        if !self.ready {
            if let Err(ending) = self.init_again(deadline).await {
                return self.ended_early(ending, request);
            }
            self.ready = true;
        }
        self.calls = self.calls.wrapping_add(1);
        let trace = invocation
            .trace
            .clone()
            .unwrap_or_else(|| trace_header(request));
        let meta = InvokeMeta {
            id: request.as_str().into(),
            deadline: epoch_ms(begin, deadline),
            arn: invocation.arn.as_str().into(),
            trace: trace.into(),
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
                            // A dead stream shows as the runtime's end.
                            let _ = self.control.deadline(self.calls, Some(left)).await;
                        }
                        look.as_mut().reset((now + LOOK).min(deadline));
                    }
                }
            }
        };
        if armed && matches!(result, Ok(Ok(_))) {
            let _ = self.control.deadline(self.calls, None).await;
        }
        match result {
            Ok(Ok((Reply::Answer(body), mark))) => Ended {
                outcome: Outcome::Answer(body),
                mark: Some(mark),
                reusable: true,
                memory_killed: false,
            },
            Ok(Ok((Reply::Error(body), mark))) => Ended {
                outcome: Outcome::Error(body),
                mark: Some(mark),
                reusable: true,
                memory_killed: false,
            },
            Ok(Err(error)) => {
                let life = self.runtime_end().await;
                let killed = self.oom_killed();
                self.ended_early(Ending::of_channel(error, life, killed), request)
            }
            Err(()) => self.ended_early(Ending::Deadline, request),
        }
    }

    fn ended_early(&self, ending: Ending, request: &RequestId) -> Ended {
        let memory_killed = ending.memory_killed();
        let outcome = match ending {
            Ending::InitError(body) => Outcome::Error(body),
            other => Outcome::Failed(failure(&other, request, self.pool.version.config.timeout)),
        };
        Ended {
            outcome,
            mark: None,
            reusable: false,
            memory_killed,
        }
    }

    /// Kills the runtime if it lives, and waits for the news, which come after its last output.
    async fn end_runtime(&mut self) -> Life {
        if *self.life.borrow() == Life::Running {
            // A dead control stream is seen by its reader.
            let _ = self.control.kill().await;
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
        self.sandbox
            .usage()
            .is_some_and(|usage| usage.oom_kills > 0)
    }
}

/// Returns once the runtime has ended.
async fn ended(life: &mut watch::Receiver<Life>) {
    // The sender lives as long as the control stream's owner.
    let _ = life.wait_for(|life| *life != Life::Running).await;
}

/// An X-Ray header for a call that came without one: not sampled, made of the request's id.
fn trace_header(request: &RequestId) -> String {
    let digits: String = request.as_str().chars().filter(|c| *c != '-').collect();
    let (root, parent) = (digits.get(..24), digits.get(16..32));
    let seconds = Timestamp::from(SystemTime::now()).as_millis() / 1000;
    format!(
        "Root=1-{seconds:08x}-{};Parent={};Sampled=0",
        root.unwrap_or("000000000000000000000000"),
        parent.unwrap_or("0000000000000000"),
    )
}

/// The deadline by the wall clock, in milliseconds since the epoch.
fn epoch_ms(begin: Instant, deadline: Instant) -> u64 {
    let moment = SystemTime::now() + deadline.duration_since(begin) - begin.elapsed();
    u64::try_from(Timestamp::from(moment).as_millis()).unwrap_or(0)
}
