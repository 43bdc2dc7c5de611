//! What is recorded of calls that end in any way, in a sandbox that tells nothing of itself.

use warren_model::{CallEnd, Wait};

use crate::{engine::Agent, world::World};

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
