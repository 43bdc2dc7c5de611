//! Calls on another engine than the function's own: how often that is asked, and what callers are told where it fails.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use warren_invoker::{Elsewhere, Invocation, InvokeError};
use warren_model::{Outcome, Version};

use crate::{
    engine::Agent,
    world::{OTHER, World, invocation},
};

/// What many callers at one time are told, and how often the engine was asked meanwhile.
async fn many(world: &World, version: &Arc<Version>) -> (Vec<Result<(), Elsewhere>>, usize) {
    let before = world.engine.probes.load(Ordering::Relaxed);
    let callers = (0..20).map(|_| world.invoker.elsewhere(version, OTHER));
    let told = join_all(callers).await;
    (told, world.engine.probes.load(Ordering::Relaxed) - before)
}

fn refused(told: &Result<(), Elsewhere>) -> bool {
    matches!(told, Err(Elsewhere::Refused(refusal)) if refusal.field == "engine" && refusal.reason.contains("It is away"))
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_don_t_ask_the_engine_each() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    // Deployed just now, which has asked.
    let (told, asked) = many(&world, &f).await;
    assert!(told.iter().all(Result::is_ok) && asked == 0, "{asked}");
    // Whoever really asks does, and what he is told counts for others.
    world.engine.away.store(true, Ordering::Relaxed);
    assert_eq!(many(&world, &f).await.1, 0);
    let launcher = world.invoker.launcher();
    assert!(launcher.unavailable(OTHER).await.is_some());
    let (told, asked) = many(&world, &f).await;
    assert!(told.iter().all(refused) && asked == 0, "{told:?}");
    // That it does not work counts for a second: then one asks for all.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (told, asked) = many(&world, &f).await;
    assert!(told.iter().all(refused) && asked == 1, "{told:?}");
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    world.engine.away.store(false, Ordering::Relaxed);
    let (told, asked) = many(&world, &f).await;
    assert!(told.iter().all(Result::is_ok) && asked == 1, "{told:?}");
    // Where an instance is there, nobody needs to know.
    let call = Invocation {
        engine: Some(OTHER),
        ..invocation(&f, "honest")
    };
    let answer = world.invoker.invoke(call).await.unwrap();
    assert!(matches!(answer.outcome, Outcome::Answer(_)));
    world.engine.away.store(true, Ordering::Relaxed);
    assert!(launcher.unavailable(OTHER).await.is_some());
    let (told, asked) = many(&world, &f).await;
    assert!(told.iter().all(Result::is_ok) && asked == 0, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_t_be_prepared_is_no_fault_of_the_caller() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    world.engine.full.store(true, Ordering::Relaxed);
    let told = world.invoker.elsewhere(&f, OTHER).await;
    assert!(
        matches!(told, Err(Elsewhere::Failed(InvokeError::Unavailable(_)))),
        "{told:?}"
    );
}
