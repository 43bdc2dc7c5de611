//! What is recorded of calls that end in any way, in a sandbox that tells nothing of itself.

use std::time::Instant;

use warren_invoker::{Invocation, InvokeError};
use warren_model::{CallEnd, EngineName, Wait};

use crate::{
    engine::Agent,
    world::{OTHER, World, invocation},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_call_has_one_record() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    let events = [
        ("honest", CallEnd::Answer, None),
        ("last, and not given", CallEnd::Answer, None),
        ("honest", CallEnd::Answer, None),
        ("unknown", CallEnd::Error, Some("Unknown")),
        ("garbage", CallEnd::Broken, Some("Runtime.ProtocolError")),
        ("silence", CallEnd::TimedOut, Some("Sandbox.Timedout")),
        ("closed", CallEnd::Exited, Some("Runtime.ExitError")),
    ];
    for (event, ..) in events {
        world.call(&f, event, false).await.unwrap();
    }
    let records = world.records(&f, events.len()).await;
    assert_eq!(records.len(), events.len());
    for ((event, end, error_type), placed) in events.into_iter().zip(&records) {
        let call = &placed.call;
        assert_eq!(call.end, end, "{event}");
        assert_eq!(call.error_type.as_deref(), error_type, "{event}");
        assert_eq!(call.bytes_in, event.len() as u64 + 2);
        assert!(call.source.instance.is_some() && call.handler_us.is_some());
        // Its sandbox tells nothing: that is not the same as nothing.
        assert_eq!((call.cpu, call.peak_bytes), (None, None));
    }
    let call = |place: usize| &records[place].call;
    assert_eq!(call(0).wait, Wait::Start);
    assert!(call(0).instance_init_us.is_some());
    assert_eq!(call(5).handler_us, Some(1_000_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_of_the_engine_that_was_asked_for() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    let none = world
        .registry
        .set_reserved_concurrency(&f.function, Some(0));
    none.await.unwrap();
    for engine in [None, Some(OTHER)] {
        let call = Invocation {
            engine,
            ..invocation(&f, "honest")
        };
        let refused = world.invoker.invoke(call).await;
        let expected = InvokeError::FunctionConcurrency { limit: 0 };
        assert_eq!(refused.unwrap_err(), expected);
    }
    let records = world.records(&f, 2).await;
    let engines: Vec<EngineName> = records
        .iter()
        .map(|placed| placed.call.source.engine)
        .collect();
    assert_eq!(engines, [EngineName::DOCKER, OTHER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_what_was_replaced_is_recorded_once_it_is_given_up() {
    let world = World::start().await;
    let f = world.deploy("f", Agent::Told, 1).await;
    world.registry.delete(&f.function, None).await.unwrap();
    let received = world
        .invoker
        .invoke_received(invocation(&f, "honest"), Instant::now());
    let unserved = received.await.unwrap_err();
    assert_eq!(unserved.error, InvokeError::Changed);
    // It may be begun anew.
    assert_eq!(world.records(&f, 0).await, []);
    assert_eq!(world.invoker.give_up(unserved), InvokeError::Changed);
    let refused = world.call(&f, "honest", false).await;
    assert_eq!(refused.unwrap_err(), InvokeError::Changed);
    let records = world.records(&f, 2).await;
    assert_eq!(records.len(), 2);
    for placed in records {
        assert_eq!(placed.call.end, CallEnd::Changed);
        assert_eq!(placed.call.source.instance, None);
    }
}
