//! One-shot runs whose agent lies, floods or goes away: the client is told how it ended, and nothing is kept.

use std::time::Duration;

use tokio::{sync::mpsc, time::timeout};
use warren_invoker::{RunEvent, RunRequest};
use warren_model::native::{RunEnd, RunOutcome};
use warren_package::zip_inline;
use warren_protocol::{Exited, FrameKind, OutputStream, encode_empty, encode_exited, encode_log};

use crate::{
    control_stream::Act,
    engine::Agent,
    world::{World, config},
};

/// What the engine is told in place of a function's name.
const LABEL: &str = "warren-run";
const MAX_OUTPUT: u64 = 100_000;
/// Longer than any of these runs may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn frame(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    bytes
}

fn log(stream: OutputStream) -> Vec<u8> {
    frame(|out| encode_log(out, stream, 0, &[b'x'; 1_000], 1_000))
}

const CASES: &[(&str, Act, RunOutcome, &str)] = &[
    (
        "garbage",
        Act::Sends(|| b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        RunOutcome::Failed,
        "broke the protocol",
    ),
    (
        "gone",
        Act::SendsAndCloses(Vec::new),
        RunOutcome::Failed,
        // Found when it takes the claim no more, or after it.
        "its agent ",
    ),
    (
        "an answer to nothing",
        Act::Sends(|| frame(|out| encode_empty(out, FrameKind::Pong))),
        RunOutcome::Failed,
        "broke the protocol",
    ),
    (
        "output where none belongs",
        Act::Sends(|| log(OutputStream::Stdout)),
        RunOutcome::Failed,
        "broke the protocol",
    ),
    (
        "endless errors",
        Act::Floods(|| log(OutputStream::Stderr)),
        RunOutcome::TooMuchOutput,
        "more than 100000 bytes",
    ),
    (
        "silence",
        Act::Sends(Vec::new),
        RunOutcome::TimedOut,
        "after 1 s",
    ),
    (
        "no start",
        Act::Sends(|| {
            frame(|out| encode_exited(out, &Exited::Spawn("no such file".to_owned()), None))
        }),
        RunOutcome::Failed,
        "could not be started: no such file",
    ),
];

/// Runs, and gives the end and how many bytes came before it.
async fn run(world: &World) -> (RunEnd, u64) {
    let request = RunRequest {
        config: config(1),
        zip: zip_inline(&[("main.py", "")]).unwrap().into(),
        entry: "main.py".to_owned(),
        args: Vec::new(),
        environment: Default::default(),
        max_output: MAX_OUTPUT,
    };
    let (_keep, input) = mpsc::channel(1);
    let mut run = world.invoker.run(request, input).await.unwrap();
    let mut bytes = 0;
    loop {
        match run.events.recv().await.unwrap() {
            RunEvent::Stdout(piece) | RunEvent::Stderr(piece) => bytes += piece.len() as u64,
            RunEvent::End(end) => return (end, bytes),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_lies_ends_its_run_and_nothing_is_kept() {
    let world = World::start().await;
    for (count, (name, act, outcome, words)) in (1..).zip(CASES) {
        let agents = &world.engine.agents;
        agents
            .lock()
            .unwrap()
            .insert(LABEL.to_owned(), Agent::AtStart(*act));
        let (end, bytes) = timeout(PATIENCE, run(&world)).await.unwrap();
        assert_eq!(end.outcome, *outcome, "{name}: {end:?}");
        let message = end.message.unwrap_or_default();
        assert!(message.contains(words), "{name}: {message}");
        assert!(bytes <= MAX_OUTPUT, "{name}: {bytes}");
        timeout(PATIENCE, world.wait_killed(LABEL, count))
            .await
            .unwrap();
    }
    let nothing_left = async {
        while world.run_code() > 0 || world.invoker.counts().memory_mb > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, nothing_left).await.unwrap();
}
