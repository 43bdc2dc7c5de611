//! What waiters see: the states of creation, updates and publishing.

use warren_model::{Digest, LastUpdate, State, VersionId};

use super::kit::*;
use crate::{ConfigPatch, Guard, NotReady, Publish, RegistryError};

fn reason(version: &warren_model::Version) -> Option<&str> {
    version.state_reason.as_ref().map(|r| r.code.as_str())
}

#[tokio::test]
async fn a_function_is_pending_then_active() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let registry = world.open().await;
    let created = registry.create(function("f")).await.unwrap();
    let latest = &created.function.latest;
    assert_eq!(latest.state, State::Pending);
    assert_eq!(reason(latest), Some("Creating"));
    assert_eq!(latest.last_update, None);
    assert_eq!(latest.code.digest, Digest::of(&zip("1")));
    assert_eq!(created.published, None);

    let pending = registry.snapshot().ready(&name("f"), None).unwrap_err();
    assert!(matches!(
        pending,
        NotReady::NotActive {
            state: State::Pending,
            ..
        }
    ));
    assert_eq!(
        pending.to_string(),
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    );
    let early = registry
        .update_config(&name("f"), ConfigPatch::default(), &Guard::default())
        .await;
    assert!(matches!(
        early,
        Err(RegistryError::NotActive {
            state: State::Pending
        })
    ));

    world.let_through(1);
    let active = settled(&registry, "f").await;
    assert_eq!(active.state, State::Active);
    assert_eq!(active.last_update, Some(LastUpdate::Successful));
    assert_eq!(
        (&active.state_reason, &active.last_update_reason),
        (&None, &None)
    );
    assert_eq!(active.revision, latest.revision);
    let snapshot = registry.snapshot();
    assert_eq!(snapshot.ready(&name("f"), None).unwrap(), &active);
    assert_eq!(registry.code(&active.code.digest).await.unwrap(), zip("1"));
}

#[tokio::test]
async fn calls_go_on_to_the_old_version_during_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    world.let_through(1);
    let old = settled(&registry, "f").await;

    let f = name("f");
    let guard = Guard::default();
    let updated = registry
        .update_code(&f, zip("2"), &guard, false, false)
        .await
        .unwrap();
    assert_eq!(updated.version.last_update, Some(LastUpdate::InProgress));
    assert_eq!(updated.version.state, State::Active);
    assert_ne!(updated.version.revision, old.revision);
    let during = registry.snapshot();
    assert_eq!(during.version(&f, None).unwrap(), &updated.version);
    assert_eq!(during.ready(&f, None).unwrap(), &old);

    let second = registry
        .update_config(&f, ConfigPatch::default(), &guard)
        .await
        .unwrap_err();
    assert_eq!(
        second.to_string(),
        "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:us-east-1:000000000000:function:f"
    );
    let publish = registry.publish(&f, Publish::default()).await;
    assert!(matches!(
        publish,
        Err(RegistryError::UpdateInProgress { .. })
    ));

    world.let_through(1);
    let new = settled(&registry, "f").await;
    assert_eq!(new.last_update, Some(LastUpdate::Successful));
    assert_eq!(new.revision, updated.version.revision);
    assert_eq!(registry.snapshot().ready(&f, None).unwrap(), &new);
}

#[tokio::test]
async fn a_failed_update_leaves_the_old_version_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    let old = settled(&registry, "f").await;
    let f = name("f");
    let describe = |text: &str| ConfigPatch {
        description: Some(text.to_owned()),
        ..ConfigPatch::default()
    };
    let guard = Guard::default();
    for (description, code) in [("fail", "InvalidRuntime"), ("panic", "InternalError")] {
        registry
            .update_config(&f, describe(description), &guard)
            .await
            .unwrap();
        let failed = settled(&registry, "f").await;
        assert_eq!(failed.state, State::Active);
        assert_eq!(failed.last_update, Some(LastUpdate::Failed));
        assert_eq!(failed.last_update_reason.as_ref().unwrap().code, code);
        assert_eq!(registry.snapshot().ready(&f, None).unwrap(), &old);
        let publish = registry.publish(&f, Publish::default()).await;
        assert!(matches!(publish, Err(RegistryError::NotActive { .. })));
    }
    registry
        .update_config(&f, describe("fine"), &guard)
        .await
        .unwrap();
    let fine = settled(&registry, "f").await;
    assert_eq!(fine.last_update, Some(LastUpdate::Successful));
    assert_eq!(registry.snapshot().ready(&f, None).unwrap(), &fine);
}

#[tokio::test]
async fn a_failed_creation_can_be_mended() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let mut new = described("f", "fail");
    new.publish = true;
    registry.create(new).await.unwrap();
    let failed = settled(&registry, "f").await;
    assert_eq!(failed.state, State::Failed);
    assert_eq!(reason(&failed), Some("InvalidRuntime"));
    assert_eq!(failed.last_update, Some(LastUpdate::Failed));
    let snapshot = registry.snapshot();
    let one = snapshot.version(&name("f"), Some(&qualifier("1"))).unwrap();
    assert_eq!(one.state, State::Failed);

    let patch = ConfigPatch {
        description: Some(String::new()),
        ..ConfigPatch::default()
    };
    let updated = registry
        .update_config(&name("f"), patch, &Guard::default())
        .await
        .unwrap();
    assert_eq!(updated.state, State::Pending);
    assert_eq!(updated.last_update, Some(LastUpdate::InProgress));
    let mended = settled(&registry, "f").await;
    assert_eq!(
        (mended.state, mended.last_update),
        (State::Active, Some(LastUpdate::Successful))
    );
    // What was published stays as it was.
    let snapshot = registry.snapshot();
    let one = snapshot
        .ready(&name("f"), Some(&qualifier("1")))
        .unwrap_err();
    assert!(matches!(
        one,
        NotReady::NotActive {
            state: State::Failed,
            reason: Some(_)
        }
    ));
}

#[tokio::test]
async fn versions_are_published_once_and_numbered_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    let f = name("f");
    let guard = Guard::default();
    let described = Publish {
        description: Some("the first".to_owned()),
        ..Publish::default()
    };
    let one = registry.publish(&f, described).await.unwrap();
    assert_eq!(one.id, VersionId::Number(1));
    assert_eq!(one.config.description, "the first");
    assert_eq!(one.state, State::Active);
    let again = registry.publish(&f, Publish::default()).await.unwrap();
    assert_eq!(again, one);

    registry
        .update_code(&f, zip("2"), &guard, false, false)
        .await
        .unwrap();
    settled(&registry, "f").await;
    let two = registry.publish(&f, Publish::default()).await.unwrap();
    assert_eq!(two.id, VersionId::Number(2));
    let snapshot = registry.snapshot();
    assert_eq!(snapshot.ready(&f, Some(&qualifier("1"))).unwrap(), &one);

    registry.delete(&f, Some(two.id)).await.unwrap();
    let gone = registry.delete(&f, Some(two.id)).await.unwrap_err();
    assert_eq!(
        gone.to_string(),
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:2"
    );
    let three = registry.publish(&f, Publish::default()).await.unwrap();
    assert_eq!(three.id, VersionId::Number(3));

    let latest = registry.delete(&f, Some(VersionId::Latest)).await;
    assert!(matches!(latest, Err(RegistryError::Invalid(_))));
    registry.delete(&f, None).await.unwrap();
    assert!(registry.snapshot().functions.is_empty());
    let missing = registry.delete(&f, None).await.unwrap_err();
    assert_eq!(
        missing.to_string(),
        "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f"
    );
}

#[tokio::test]
async fn publishing_with_a_change_is_ready_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let registry = world.open().await;
    let mut new = function("f");
    new.publish = true;
    let one = registry.create(new).await.unwrap().published.unwrap();
    assert_eq!((one.id, one.state), (VersionId::Number(1), State::Pending));
    world.let_through(1);
    settled(&registry, "f").await;
    let f = name("f");
    let snapshot = registry.snapshot();
    let ready = snapshot.ready(&f, Some(&qualifier("1"))).unwrap();
    assert_eq!(
        (ready.state, ready.last_update),
        (State::Active, Some(LastUpdate::Successful))
    );

    let guard = Guard::default();
    let updated = registry
        .update_code(&f, zip("2"), &guard, true, false)
        .await
        .unwrap();
    let two = updated.published.unwrap();
    assert_eq!((two.id, two.state), (VersionId::Number(2), State::Pending));
    assert_eq!(two.last_update, Some(LastUpdate::InProgress));
    let during = registry.snapshot();
    assert!(during.ready(&f, Some(&qualifier("2"))).is_err());
    assert!(during.ready(&f, Some(&qualifier("1"))).is_ok());
    world.let_through(1);
    settled(&registry, "f").await;
    let after = registry.snapshot();
    assert_eq!(
        after.ready(&f, Some(&qualifier("2"))).unwrap().code.digest,
        Digest::of(&zip("2"))
    );

    // The same code again is an update, but nothing to publish.
    let updated = registry
        .update_code(&f, zip("2"), &guard, true, false)
        .await
        .unwrap();
    assert_eq!(updated.published.unwrap().id, VersionId::Number(2));
    world.let_through(1);
    settled(&registry, "f").await;
    let snapshot = registry.snapshot();
    assert!(snapshot.version(&f, Some(&qualifier("3"))).is_err());
    assert_eq!(snapshot.function(&f).unwrap().function.next_version, 3);
}
