//! Starts that fail, panic or hang, and what waits between calls.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use warren_invoker::InvokeError;
use warren_model::Environment;

use crate::{
    engine::Agent,
    world::{World, config},
};

/// Enough for what is started ahead.
const STEM_MEMORY: u64 = 400 << 20;

/// A sandbox that could not be claimed has its memory until it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_counts_until_it_is_removed() {
    let world = World::of(1).await;
    let version = world.deploy("f", Agent::Unclaimable, 60).await;
    world.set_stuck(true);
    let mut call = Box::pin(world.call(&version, "honest", false));
    let waits = tokio::time::timeout(Duration::from_millis(500), &mut call).await;
    assert!(waits.is_err(), "{waits:?}");
    let counts = world.invoker.counts();
    assert_eq!((counts.starting, counts.instances()), (1, 1));
    world.set_stuck(false);
    let refused = call.await.unwrap_err();
    assert!(matches!(refused, InvokeError::Unavailable(_)), "{refused}");
    assert!(world.killed("f") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_panics_leaves_nothing() {
    let world = World::start().await;
    let version = world.deploy("f", Agent::Panics, 60).await;
    let refused = world.call(&version, "honest", false).await.unwrap_err();
    assert!(refused.to_string().contains("panicked"), "{refused}");
    world.wait_killed("f", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_ahead_that_panics_leaves_nothing_and_is_tried_again() {
    let world = World::with(64, Duration::ZERO, STEM_MEMORY).await;
    world.set_agent("", Agent::Panics);
    let version = world.deploy("f", Agent::Told, 60).await;
    world.wait_killed("", 1).await;
    assert_eq!(world.invoker.stems(), 0);
    // Calls start their own.
    world.assert_right(&version).await;
    world.set_agent("", Agent::StandsBy);
    while world.invoker.stems() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(world.invoker.drain(Duration::from_secs(10)).await);
    world.wait_killed("", 2).await;
}

/// Ten seconds are Init's, whatever it consists of: here a variable wants another process, and the agent takes no stream for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_during_init_costs_no_more_than_init_s_time() {
    let world = World::with(64, Duration::ZERO, STEM_MEMORY).await;
    world.set_agent("", Agent::StandsBy);
    let mut config = config(1);
    config.environment =
        Environment::new([("TZ".to_owned(), "Asia/Tokyo".to_owned())].into()).unwrap();
    let version = world.deploy_as("f", Agent::Told, config).await;
    while world.invoker.stems() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let begin = Instant::now();
    let (_, message, _) = world.failure(&version, "honest").await;
    assert!(message.contains("timed out"), "{message}");
    let took = begin.elapsed();
    assert!(
        took > Duration::from_secs(10) && took < Duration::from_secs(15),
        "{took:?}"
    );
}

/// A call that waits for a busy instance gets it as it is, however short the time after which it would be frozen.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_not_frozen_while_a_call_waits_for_it() {
    let world = World::with(1, Duration::from_nanos(1), 0).await;
    let version = world.deploy("f", Agent::Told, 60).await;
    let calls = (0..50).map(|_| world.call(&version, "honest", false));
    for outcome in futures_util::future::join_all(calls).await {
        outcome.unwrap();
    }
    // After the last one, and before it was given the first.
    let freezes = world.engine.freezes.load(Ordering::Relaxed);
    assert!(freezes <= 2, "{freezes}");
}
