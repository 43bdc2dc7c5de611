//! The life of one-shot runs: how they wait for room, start, fail and end, and what their client is told.

use std::time::Duration;

use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use warren_invoker::{InputPiece, Run, RunError, RunEvent, RunRequest};
use warren_model::{
    NetworkPolicy,
    native::{RunEnd, RunOutcome},
};
use warren_package::zip_inline;

use crate::{
    engine::Agent,
    program::Program,
    world::{World, config},
};

/// What the engine is told in place of a function's name.
const LABEL: &str = "warren-run";
/// Longer than any of these runs may take.
const PATIENCE: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

/// A run of at most so many seconds.
fn request(timeout_s: u16) -> RunRequest {
    RunRequest {
        config: config(timeout_s),
        zip: zip_inline(&[("main.py", "")]).unwrap().into(),
        entry: "main.py".to_owned(),
        args: Vec::new(),
        environment: Default::default(),
        max_output: 10_000_000,
    }
}

fn set_agent(world: &World, agent: Agent) {
    let agents = &world.engine.agents;
    agents.lock().unwrap().insert(LABEL.to_owned(), agent);
}

/// Begins a run that has no input.
async fn begin(world: &World, request: RunRequest) -> Result<Run, RunError> {
    let (_, input) = mpsc::channel(1);
    timeout(PATIENCE, world.invoker.run(request, input))
        .await
        .unwrap()
}

/// Reads a run to its end: both streams, and the end.
async fn read(run: &mut Run) -> (String, String, Option<RunEnd>) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let end = loop {
        match timeout(PATIENCE, run.events.recv()).await.unwrap() {
            Some(RunEvent::Stdout(piece)) => stdout.extend_from_slice(&piece),
            Some(RunEvent::Stderr(piece)) => stderr.extend_from_slice(&piece),
            Some(RunEvent::End(end)) => break Some(end),
            None => break None,
        }
    };
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), end)
}

async fn wait_until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, wait).await.unwrap();
}

async fn wait_nothing_left(world: &World) {
    wait_until(|| world.run_code() == 0 && world.invoker.counts().memory_mb == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_start_is_over_when_the_agent_answers_and_takes_none_of_the_program_s_time() {
    let world = World::start().await;
    set_agent(
        &world,
        Agent::Runs(Program {
            opens_after: SECOND,
            ends: true,
            ..Program::default()
        }),
    );
    let mut run = begin(&world, request(1)).await.unwrap();
    let (.., end) = read(&mut run).await;
    let end = end.unwrap();
    assert_eq!(end.outcome, RunOutcome::Exited, "{end:?}");
    assert!(
        end.start_ms >= 2_000.0 && end.duration_ms < 1_000.0,
        "{end:?}"
    );
    wait_nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_is_told_at_once_and_keeps_its_room_until_nothing_is_left() {
    let world = World::start().await;
    for (count, agent) in (1..).zip([Agent::Unreachable, Agent::Unclaimable]) {
        set_agent(&world, agent);
        world.set_stuck(true);
        let error = begin(&world, request(1)).await.unwrap_err();
        assert!(matches!(error, RunError::Failed(_)), "{error:?}");
        sleep(SECOND / 5).await;
        let counts = world.invoker.counts();
        assert_eq!((counts.memory_mb, counts.start_failures), (128, count - 1));
        assert_eq!(world.run_code(), 1);
        world.set_stuck(false);
        wait_nothing_left(&world).await;
        assert_eq!(world.invoker.counts().start_failures, count);
        assert_eq!(world.killed(LABEL) as u64, count);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_ends_its_run_and_nothing_is_kept() {
    let world = World::start().await;
    set_agent(&world, Agent::Unmeasurable);
    let mut run = begin(&world, request(60)).await.unwrap();
    let (.., end) = read(&mut run).await;
    assert_eq!(end, None);
    wait_nothing_left(&world).await;
    assert_eq!(world.killed(LABEL), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_gets_all_that_was_written_before_the_time_limit_and_holds_no_room() {
    let world = World::start().await;
    let program = Program {
        stdout: 900_000,
        stderr: 300_000,
        ..Program::default()
    };
    set_agent(&world, Agent::Runs(program));
    let mut run = begin(&world, request(1)).await.unwrap();
    wait_until(|| world.invoker.counts().busy == 1).await;
    // Nothing is read meanwhile.
    wait_nothing_left(&world).await;
    sleep(3 * SECOND).await;
    let (stdout, stderr, end) = read(&mut run).await;
    assert_eq!((stdout.len(), stderr.len()), (900_000, 300_000));
    let end = end.unwrap();
    assert_eq!(end.outcome, RunOutcome::TimedOut);
    assert!(end.duration_ms < 5_000.0, "{end:?}");
    let message = end.message.unwrap();
    assert!(!message.contains("missing"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn output_up_to_its_limit_is_delivered_and_no_more() {
    let world = World::start().await;
    for (stdout, stderr) in [(900_000, 200_000), (200_000, 900_000)] {
        let program = Program {
            stdout,
            stderr,
            ..Program::default()
        };
        set_agent(&world, Agent::Runs(program));
        let mut request = request(60);
        request.max_output = 1_000_000;
        let mut run = begin(&world, request).await.unwrap();
        // Both streams wait for the client by now.
        sleep(SECOND / 5).await;
        let (out, err, end) = read(&mut run).await;
        assert_eq!(out.len() + err.len(), 1_000_000);
        let end = end.unwrap();
        assert_eq!(end.outcome, RunOutcome::TooMuchOutput, "{end:?}");
        assert!(end.duration_ms < 2_000.0, "{end:?}");
    }
    wait_nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_its_run_waits_gives_up_its_turn() {
    let world = World::of(1).await;
    set_agent(&world, Agent::Runs(Program::default()));
    let first = begin(&world, request(60)).await.unwrap();
    let waiting = || world.invoker.counts().waiting;
    // It drops what waits for the answer.
    let invoker = world.invoker.clone();
    let (_open, input) = mpsc::channel(1);
    let second = tokio::spawn(async move { invoker.run(request(60), input).await });
    wait_until(|| waiting() == 1).await;
    second.abort();
    wait_until(|| waiting() == 0).await;
    // Or its input breaks, behind some of it.
    let (pieces, input) = mpsc::channel(4);
    let third = world.invoker.run(request(60), input);
    let leave = async {
        wait_until(|| waiting() == 1).await;
        let piece = InputPiece::Bytes("x".into());
        pieces.send(piece).await.unwrap();
        sleep(SECOND / 10).await;
        assert_eq!(waiting(), 1);
        pieces.send(InputPiece::Broken).await.unwrap();
    };
    let (answer, ()) = timeout(PATIENCE, async { tokio::join!(third, leave) })
        .await
        .unwrap();
    assert!(matches!(answer, Err(RunError::Abandoned)), "{answer:?}");
    let counts = world.invoker.counts();
    assert_eq!((counts.waiting, counts.in_flight, counts.starts), (0, 1, 1));
    drop(first);
    wait_nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_there_is_refused_without_waiting_for_room() {
    let world = World::of(1).await;
    set_agent(&world, Agent::Runs(Program::default()));
    let first = begin(&world, request(60)).await.unwrap();
    let mut wrong = request(60);
    wrong.entry = "other.py".to_owned();
    let error = timeout(3 * SECOND, begin(&world, wrong)).await.unwrap();
    let error = error.unwrap_err();
    let RunError::Refused(refusal) = &error else {
        panic!("{error:?}");
    };
    let words = format!("{refusal:?}");
    assert!(
        words.contains("\"entry\"") && words.contains("no file 'other.py'"),
        "{words}"
    );
    assert_eq!(world.invoker.counts().start_failures, 0);
    drop(first);
    wait_nothing_left(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_network_refused_is_told_before_the_end_of_a_short_run() {
    let world = World::start().await;
    let program = Program {
        stdout: 1,
        ends: true,
        ..Program::default()
    };
    set_agent(&world, Agent::Runs(program));
    for (policy, told) in [
        (NetworkPolicy::Internet, true),
        (NetworkPolicy::None, false),
    ] {
        let mut request = request(60);
        request.config.network = policy;
        let mut run = begin(&world, request).await.unwrap();
        let (stdout, stderr, end) = read(&mut run).await;
        assert_eq!((stdout.as_str(), end.unwrap().exit_status), ("o", 0));
        let line = "warren: The network policy 'internet' did not answer the name db.internal";
        assert_eq!(stderr.contains(line), told, "{stderr}");
    }
    wait_nothing_left(&world).await;
}
