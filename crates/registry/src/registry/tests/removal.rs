//! Which code stays, and which goes.

use std::time::Duration;

use warren_model::Digest;
use warren_package::{BlobStore, FileBlobs, Unpacked};

use super::kit::*;
use crate::{Guard, Registry};

/// Longer than code stays that this server made unneeded.
const CALLS: Duration = Duration::from_secs(3600);
/// Longer than any code stays.
const DAYS: Duration = Duration::from_secs(2 * 24 * 3600);

async fn remove(registry: &Registry, after: Duration) {
    let now = registry.inner.now();
    registry.inner.remove_unneeded(now.plus(after)).await;
}

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
            // Unpacked code is a cache of its zip.
            assert!(blob || !unpacked.contains(&digest));
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

    remove(&registry, Duration::ZERO).await;
    assert_eq!(there().await, (true, true), "calls may still run with it");
    let hold = registry.hold(&digest("1"));
    remove(&registry, CALLS).await;
    assert_eq!(there().await, (true, true), "it is held");
    drop(hold);
    remove(&registry, CALLS + CALLS).await;
    assert_eq!(there().await, (false, true));

    registry.delete(&name("f"), None).await.unwrap();
    remove(&registry, Duration::ZERO).await;
    // A start is no reason to remove it, nor to forget that this server deleted it.
    drop(registry);
    let registry = world.open().await;
    assert_eq!(there().await, (false, true));
    assert_eq!(registry.removal_stopped(), None);
    remove(&registry, CALLS).await;
    assert_eq!(there().await, (false, false));
}

/// The database lost its functions in a way that this server knows nothing of: an older state, a TRUNCATE, another database.
#[tokio::test]
async fn code_outlives_a_database_that_lost_its_functions() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    for (function, content) in [("f", "1"), ("g", "2")] {
        let mut new = super::kit::function(function);
        new.zip = zip(content);
        registry.create(new).await.unwrap();
        settled(&registry, function).await;
    }
    drop(registry);
    let db = world.folder.join("control.db");
    let aside = world.folder.join("aside.db");
    let move_all = |from: &std::path::Path, to: &std::path::Path| {
        for end in ["", "-wal", "-shm"] {
            let file = |path: &std::path::Path| format!("{}{end}", path.display());
            if std::fs::exists(file(from)).unwrap() {
                std::fs::rename(file(from), file(to)).unwrap();
            }
        }
    };
    move_all(&db, &aside);
    let code = |content: &str| Digest::of(&zip(content));
    let registry = world.open().await;
    let why = registry.removal_stopped().unwrap();
    assert!(why.contains("2 zips"), "{why}");
    // However long, and over restarts.
    remove(&registry, DAYS).await;
    remove(&registry, DAYS + DAYS).await;
    drop(registry);
    let registry = world.open().await;
    assert!(registry.removal_stopped().is_some());
    remove(&registry, DAYS).await;
    for content in ["1", "2"] {
        assert!(registry.code(&code(content)).await.is_ok());
    }
    // Somebody says that it is well so: a day from when it was found, and not sooner.
    std::fs::remove_file(world.folder.join("removal-stopped")).unwrap();
    remove(&registry, CALLS).await;
    assert!(registry.code(&code("1")).await.is_ok());
    remove(&registry, DAYS).await;
    assert_eq!(registry.removal_stopped(), None, "told once");
    assert!(registry.code(&code("1")).await.is_err());
}

/// What this server's own refused changes leave is no reason for an alarm.
#[tokio::test]
async fn code_of_a_refused_change_goes_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    let mut new = function("f");
    new.routes = vec!["GET /f".parse().unwrap()];
    registry.create(new.clone()).await.unwrap();
    settled(&registry, "f").await;
    new.name = name("g");
    new.zip = zip("2");
    registry.create(new).await.unwrap_err();
    let code = Digest::of(&zip("2"));
    remove(&registry, Duration::ZERO).await;
    assert!(registry.code(&code).await.is_ok());
    remove(&registry, CALLS).await;
    assert!(registry.code(&code).await.is_err());
    assert_eq!(registry.removal_stopped(), None);
}

/// A server that is killed after it stored code, and before anything refers to it, did that itself.
#[tokio::test]
async fn code_of_a_change_that_was_cut_off_is_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    let inner = &registry.inner;
    let target = inner.target("python3.13").unwrap();
    let hold = inner.keep(zip("1"), target).await.unwrap();
    let code = hold.digest();
    drop((hold, registry));
    let registry = world.open().await;
    assert!(registry.code(&code).await.is_ok());
    assert_eq!(registry.removal_stopped(), None);
    remove(&registry, CALLS).await;
    assert!(registry.code(&code).await.is_err());
}

/// Two functions of the same code: what the first one leaves, the second still needs.
#[tokio::test]
async fn code_that_another_function_needs_is_not_released() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    for each in ["f", "g"] {
        registry.create(function(each)).await.unwrap();
        settled(&registry, each).await;
    }
    let code = Digest::of(&zip("1"));
    registry.delete(&name("f"), None).await.unwrap();
    registry.inner.parts.ledger.save().await.unwrap();
    let unneeded = std::fs::read_to_string(world.folder.join("unneeded-code")).unwrap();
    assert_eq!(unneeded, "");
    registry.delete(&name("g"), None).await.unwrap();
    // Written before the answer.
    let unneeded = std::fs::read_to_string(world.folder.join("unneeded-code")).unwrap();
    assert!(unneeded.starts_with(&code.to_string()), "{unneeded}");
    assert!(unneeded.ends_with(" own\n"), "{unneeded}");
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
    remove(&registry, DAYS).await;
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
            for round in 1.. {
                remove(&registry, DAYS * round).await;
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
