//! A call stream that lies.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::{io::AsyncWriteExt, net::UnixStream, sync::watch};
use warren_invoker::InvokeError;
use warren_model::Outcome;
use warren_protocol::{
    Decoder, FrameKind, Header, encode_empty, encode_error, encode_frame, encode_init_error,
    encode_response, split_invoke,
};

use crate::{
    control_stream::act_of,
    engine::{Agent, Told, next_frame},
    world::World,
};

/// A call stream that does what the event says.
pub(crate) async fn calls(
    mut stream: UnixStream,
    told: &watch::Sender<Told>,
) -> std::io::Result<()> {
    let mut decoder = Decoder::new();
    let mut out = Vec::new();
    encode_empty(&mut out, FrameKind::Ready);
    stream.write_all(&out).await?;
    loop {
        let frame = next_frame(&mut stream, &mut decoder).await?;
        if frame.kind != FrameKind::Invoke {
            continue;
        }
        let call = frame.call;
        let (_, event) = split_invoke(&frame.payload).map_err(std::io::Error::other)?;
        let event = std::str::from_utf8(event).unwrap().trim_matches('"');
        out.clear();
        match event {
            "honest" => encode_response(&mut out, call, 0, b"\"right\""),
            // Output that never comes: only the log waits for it, and not for long.
            "lying mark" => encode_response(&mut out, call, 77, b"\"right\""),
            "other call" => encode_response(&mut out, call + 1, 0, b"\"wrong\""),
            "finished call" => encode_response(&mut out, call - 1, 0, b"\"wrong\""),
            "garbage" => out.extend_from_slice(&[0xAB; 4096]),
            "huge frame" => {
                let mut header = Header::new(FrameKind::Response, 0).encode();
                header[..4].copy_from_slice(&u32::MAX.to_le_bytes());
                out.extend_from_slice(&header);
            }
            "ready twice" => encode_empty(&mut out, FrameKind::Ready),
            "init error" => encode_init_error(&mut out, b"{}"),
            "closed" => return Ok(()),
            "last" => {
                encode_response(&mut out, call, 0, b"\"right\"");
                stream.write_all(&out).await?;
                // The next call has come, and nobody reads it.
                stream.readable().await?;
                return Ok(());
            }
            "not given" | "given" => {
                let given = event == "given";
                told.send_replace(Told::Ended(if given { call } else { call - 1 }));
                return Ok(());
            }
            "last, and not given" => {
                encode_response(&mut out, call, 0, b"\"right\"");
                stream.write_all(&out).await?;
                next_frame(&mut stream, &mut decoder).await?;
                told.send_replace(Told::Ended(call));
                return Ok(());
            }
            "silence" => continue,
            "endless" => loop {
                let header = Header {
                    call,
                    ..Header::new(FrameKind::Response, 0)
                };
                out.clear();
                encode_frame(&mut out, header, &[b'x'; 65_536]);
                stream.write_all(&out).await?;
            },
            "twice" => {
                encode_response(&mut out, call, 0, b"\"right\"");
                encode_response(&mut out, call, 0, b"\"wrong\"");
            }
            event if let Some(act) = event.strip_prefix("control: ") => {
                told.send_replace(Told::Act(act_of(act)));
                continue;
            }
            event if let Some(act) = event.strip_prefix("answered, then control: ") => {
                encode_response(&mut out, call, 0, b"\"right\"");
                stream.write_all(&out).await?;
                told.send_replace(Told::Act(act_of(act)));
                continue;
            }
            _ => encode_error(&mut out, call, 0, b"{\"errorType\":\"Unknown\"}"),
        }
        stream.write_all(&out).await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_runtime_ends_its_own_instance_and_no_other_call() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    for (ended, (event, expected)) in [
        ("other call", "Runtime.ProtocolError"),
        ("finished call", "Runtime.ProtocolError"),
        ("garbage", "Runtime.ProtocolError"),
        ("huge frame", "Runtime.ProtocolError"),
        ("ready twice", "Runtime.ProtocolError"),
        ("init error", "Runtime.ProtocolError"),
        ("endless", "Function.ResponseSizeTooLarge"),
        ("closed", "Runtime.ExitError"),
        ("silence", "Sandbox.Timedout"),
    ]
    .into_iter()
    .enumerate()
    {
        world.assert_right(&f).await;
        let (error_type, _, took) = world.failure(&f, event).await;
        assert_eq!(error_type, expected, "{event}");
        // The timeout is one second, the news of an end are awaited for one.
        assert!(took < Duration::from_secs(5), "{event}: {took:?}");
        world.assert_right(&f).await;
        // The instance was ended, if not at this very moment.
        world.wait_killed("f", ended + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_runtime_was_given_goes_to_another_instance() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    for event in ["last", "last, and not given"] {
        for _ in 0..5 {
            let completed = world.call(&f, event, false).await.unwrap();
            assert!(matches!(completed.outcome, Outcome::Answer(_)), "{event}");
            // Sent to an instance that ends without it.
            let completed = world.call(&f, "honest", true).await.unwrap();
            let right = Outcome::Answer(Bytes::from_static(b"\"right\""));
            assert_eq!(completed.outcome, right, "{event}");
            let tail = String::from_utf8(completed.log_tail.unwrap()).unwrap();
            assert_eq!(tail.matches("START").count(), 1, "{tail}");
        }
    }
    // Not for ever: an instance that never answered ends with its call.
    assert_eq!(world.failure(&f, "not given").await.0, "Runtime.ExitError");
    world.assert_right(&f).await;
    // And not where it may have run.
    assert_eq!(world.failure(&f, "given").await.0, "Runtime.ExitError");
    world.assert_right(&f).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_of_a_quick_runtime_is_polled_for() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    world.assert_right(&f).await;
    let asleep = world.invoker.busy_poll().polls();
    assert_eq!((asleep.won, asleep.lost), (0, 0), "the first wait sleeps");
    // Only where the answer before was quick is the next one polled for, and a busy machine is not quick each time.
    for _ in 0..10_000 {
        world.assert_right(&f).await;
        if world.invoker.busy_poll().polls().won > 0 {
            return;
        }
    }
    panic!(
        "no answer was polled for: {:?}",
        world.invoker.busy_poll().polls()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_twice_is_given_once() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    for _ in 0..20 {
        let completed = world.call(&f, "twice", false).await.unwrap();
        assert_eq!(
            completed.outcome,
            Outcome::Answer(Bytes::from_static(b"\"right\""))
        );
        // The second answer comes on an idle stream and ends the instance; if it meets the next call, its number is wrong, and that call fails rather than
        // being answered by it.
        match world.call(&f, "honest", false).await.unwrap().outcome {
            Outcome::Answer(body) => assert_eq!(&body[..], b"\"right\""),
            Outcome::Failed(failure) => assert_eq!(failure.error_type, "Runtime.ProtocolError"),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lying_mark_costs_a_bounded_wait() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    world.assert_right(&f).await;
    let begin = Instant::now();
    let completed = world.call(&f, "lying mark", true).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
    assert_eq!(
        completed.outcome,
        Outcome::Answer(Bytes::from_static(b"\"right\""))
    );
    let tail = String::from_utf8(completed.log_tail.unwrap()).unwrap();
    assert!(tail.contains("REPORT RequestId: "), "{tail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_everything() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    world.assert_right(&f).await;
    assert!(world.invoker.drain(Duration::from_secs(10)).await);
    assert_eq!(world.invoker.counts().instances(), 0);
    assert_eq!(
        world.call(&f, "honest", false).await.unwrap_err(),
        InvokeError::Stopping
    );
}

/// One that is gone and not removed still has its memory, as far as anybody knows.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_counts_until_it_is_removed() {
    let world = World::of(1).await;
    let version = world.deploy("f", Agent::Told, 60).await;
    world.set_stuck(true);
    drop(world.call(&version, "garbage", false).await);
    let mut next = Box::pin(world.call(&version, "honest", false));
    let waits = tokio::time::timeout(Duration::from_millis(500), &mut next).await;
    assert!(waits.is_err(), "{waits:?}");
    let counts = world.invoker.counts();
    assert_eq!(
        (counts.stopping, counts.starting, counts.waiting),
        (1, 0, 1)
    );
    assert_eq!(world.killed("f"), 0, "none is removed");
    world.set_stuck(false);
    let completed = next.await.unwrap();
    assert_eq!(
        completed.outcome,
        Outcome::Answer(Bytes::from_static(b"\"right\""))
    );
    assert!(world.killed("f") > 0, "it was tried again");
}
