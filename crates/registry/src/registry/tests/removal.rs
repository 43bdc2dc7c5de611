//! Which code stays, and which goes.

use std::time::Duration;

use warren_model::Digest;
use warren_package::{BlobStore, FileBlobs, Unpacked};

use super::kit::*;
use crate::Guard;

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn code_goes_when_nothing_needs_it() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    let blobs = FileBlobs::open(&world.folder.join("blobs")).await.unwrap();
    let unpacked = Unpacked::open(&world.folder.join("code")).await.unwrap();
    let digest = |content: &str| Digest::of(&zip(content));
    let there = async || {
        let mut there = Vec::new();
        for content in ["1", "2"] {
            let digest = digest(content);
            let blob = blobs.exists(&digest).await.unwrap();
            assert_eq!(blob, unpacked.contains(&digest), "both or none");
            there.push(blob);
        }
        (there[0], there[1])
    };
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    registry
        .update_code(&name("f"), zip("2"), &Guard::default(), false, false)
        .await
        .unwrap();
    settled(&registry, "f").await;
    for content in ["1", "2"] {
        unpacked
            .unpack(&digest(content), zip(content))
            .await
            .unwrap();
    }

    registry.inner.remove_unneeded(LONG).await;
    assert_eq!(there().await, (true, true), "calls may still run with it");
    let hold = registry.hold(&digest("1"));
    registry.inner.remove_unneeded(Duration::ZERO).await;
    assert_eq!(there().await, (true, true), "it is held");
    drop(hold);
    registry.inner.remove_unneeded(Duration::ZERO).await;
    assert_eq!(there().await, (false, true));

    registry.delete(&name("f"), None).await.unwrap();
    registry.inner.remove_unneeded(LONG).await;
    assert_eq!(there().await, (false, true));
    // At a start no call is running.
    drop(registry);
    world.open().await;
    assert_eq!(there().await, (false, false));
}

#[tokio::test]
async fn code_of_the_version_in_force_stays_during_an_update() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    world.let_through(1);
    let old = settled(&registry, "f").await;
    registry
        .update_code(&name("f"), zip("2"), &Guard::default(), false, false)
        .await
        .unwrap();
    registry.inner.remove_unneeded(Duration::ZERO).await;
    assert_eq!(registry.code(&old.code.digest).await.unwrap(), zip("1"));
    assert_eq!(
        registry.code(&Digest::of(&zip("2"))).await.unwrap(),
        zip("2")
    );
}

#[tokio::test]
async fn uploads_and_removals_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    let remover = tokio::spawn({
        let registry = registry.clone();
        async move {
            loop {
                registry.inner.remove_unneeded(Duration::ZERO).await;
                tokio::task::yield_now().await;
            }
        }
    });
    for round in 0..20 {
        registry.create(function("f")).await.unwrap();
        let version = settled(&registry, "f").await;
        let code = registry.code(&version.code.digest).await;
        assert!(code.is_ok(), "round {round}: {code:?}");
        registry.delete(&name("f"), None).await.unwrap();
    }
    remover.abort();
}
