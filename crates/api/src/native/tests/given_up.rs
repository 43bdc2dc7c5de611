//! Calls of a version that is replaced again and again, or deleted, before they run.

use std::time::Instant;

use bytes::Bytes;
use warren_client::CallQuery;
use warren_invoker::{Invocation, InvokeError};
use warren_model::{RequestId, native::FunctionSpec};

use super::{World, kit::spec};

#[tokio::test]
async fn a_call_that_is_not_begun_again_is_recorded_as_refused() {
    let world = World::start().await;
    world.deploy("hello", &spec("x = 1")).await;
    let name = "hello".parse().unwrap();
    let snapshot = world.api.registry().snapshot();
    let version = snapshot.ready(&name, None).unwrap().clone();
    let invocation = || Invocation {
        version: version.clone(),
        engine: None,
        request_id: RequestId::random(),
        payload: Bytes::from_static(b"{}"),
        arn: String::new(),
        client_context: None,
        trace: None,
        tail: false,
    };
    let more = FunctionSpec {
        timeout_s: Some(9),
        ..spec("x = 1")
    };
    world.deploy("hello", &more).await;

    // What is found is always replaced already.
    let mut tries = 0;
    let changed = world.api.invoke(Instant::now(), || {
        tries += 1;
        Ok::<_, InvokeError>((invocation(), ()))
    });
    assert_eq!(changed.await.unwrap_err(), InvokeError::Changed);
    assert_eq!(tries, 3);

    // It is gone at the second look.
    let mut first = Some(invocation());
    let deleted = world.api.invoke(Instant::now(), || {
        let invocation = first.take().ok_or(InvokeError::Stopping)?;
        Ok::<_, InvokeError>((invocation, ()))
    });
    assert_eq!(deleted.await.unwrap_err(), InvokeError::Stopping);

    let page = world.client.calls(&CallQuery::default()).await.unwrap();
    let told: Vec<_> = page
        .calls
        .iter()
        .map(|call| (call.outcome.as_str(), call.reason.as_deref()))
        .collect();
    assert_eq!(told, [("refused", Some("changed")); 2]);
    let metrics = world.api.metrics(Default::default());
    let line = "warren_invocations_total{outcome=\"platform\"} 2";
    assert!(metrics.lines().any(|other| other == line), "{metrics}");
}
