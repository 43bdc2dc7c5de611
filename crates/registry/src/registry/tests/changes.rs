//! What changes refuse, and how they follow each other.

use warren_model::{Digest, Invalid, Memory, RevisionId};
use warren_package::PackageError;

use super::kit::*;
use crate::{ConfigPatch, Guard, Publish, RegistryError};

#[tokio::test]
async fn names_are_taken_once() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let (first, second) = tokio::join!(
        registry.create(function("f")),
        registry.create(described("f", "other"))
    );
    assert_ne!(first.is_ok(), second.is_ok());
    let refused = first.and(second).unwrap_err();
    assert_eq!(refused.to_string(), "Function already exist: f");
}

#[tokio::test]
async fn what_is_not_in_order_is_not_stored() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let mut no_zip = function("f");
    no_zip.zip = "not a zip".into();
    let refused = registry.create(no_zip).await.unwrap_err();
    assert!(matches!(
        refused,
        RegistryError::Package(PackageError::NotAZip)
    ));

    let mut runtime = function("f");
    runtime.config.runtime = "cobol85".to_owned();
    let refused = registry.create(runtime).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Runtime(_)), "{refused}");

    let refused = registry.create(described("f", "refuse")).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Refused(r) if r.field == "engine"));

    let mut handler = function("f");
    handler.config.handler = "a b".to_owned();
    let refused = registry.create(handler).await.unwrap_err();
    assert!(matches!(
        refused,
        RegistryError::Invalid(Invalid::Constraint {
            field: "handler",
            ..
        })
    ));

    let mut tags = function("f");
    tags.tags.insert("aws:x".to_owned(), String::new());
    assert!(registry.create(tags).await.is_err());

    assert_eq!(registry.snapshot().revision, 0);
}

#[tokio::test]
async fn updates_are_guarded() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    registry.create(function("f")).await.unwrap();
    let before = settled(&registry, "f").await;
    let f = name("f");
    let stale = Guard {
        revision: Some(RevisionId::new("another")),
        ..Guard::default()
    };
    let fresh = Guard {
        revision: Some(before.revision.clone()),
        ..Guard::default()
    };
    for refused in [
        registry
            .update_code(&f, zip("2"), &stale, false, false)
            .await
            .err(),
        registry
            .update_code(&f, zip("2"), &stale, false, true)
            .await
            .err(),
        registry
            .update_config(&f, ConfigPatch::default(), &stale)
            .await
            .err(),
        registry
            .publish(
                &f,
                Publish {
                    revision: stale.revision.clone(),
                    ..Publish::default()
                },
            )
            .await
            .err(),
    ] {
        assert!(
            matches!(refused, Some(RegistryError::StaleRevision)),
            "{refused:?}"
        );
    }
    let other_code = Publish {
        code_digest: Some(Digest::of(b"")),
        ..Publish::default()
    };
    let refused = registry.publish(&f, other_code).await.unwrap_err();
    assert!(matches!(refused, RegistryError::OtherCode { .. }));

    let tried = registry
        .update_code(&f, zip("2"), &fresh, true, true)
        .await
        .unwrap();
    assert_eq!(tried.version.code.digest, Digest::of(&zip("2")));
    assert_eq!(tried.published, None);
    assert_eq!(settled(&registry, "f").await, before);
    let bad = registry
        .update_code(&f, "x".into(), &fresh, false, true)
        .await;
    assert!(matches!(bad, Err(RegistryError::Package(_))));

    let patch = ConfigPatch {
        memory: Some(Memory::new(512).unwrap()),
        ..ConfigPatch::default()
    };
    registry.update_config(&f, patch, &fresh).await.unwrap();
    let after = settled(&registry, "f").await;
    assert_eq!(after.config.memory.get(), 512);
    assert_eq!(after.config.handler, before.config.handler);
    assert_eq!(after.code, before.code);
    assert!(after.modified >= before.modified);
}

#[tokio::test]
async fn one_of_many_updates_at_once_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    world.let_through(1);
    settled(&registry, "f").await;
    let updates: Vec<_> = (0..8)
        .map(|i| {
            let registry = registry.clone();
            tokio::spawn(async move {
                registry
                    .update_code(
                        &name("f"),
                        zip(&format!("{i}")),
                        &Guard::default(),
                        false,
                        false,
                    )
                    .await
            })
        })
        .collect();
    let mut made = 0;
    for update in updates {
        match update.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(
                matches!(error, RegistryError::UpdateInProgress { .. }),
                "{error}"
            ),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn snapshots_follow_the_commits() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let mut changes = registry.changes();
    let watcher = tokio::spawn({
        let registry = registry.clone();
        async move {
            let mut last = 0;
            while last < 40 {
                changes.changed().await.unwrap();
                let revision = *changes.borrow_and_update();
                let seen = registry.snapshot().revision;
                assert!(
                    revision > last && seen >= revision,
                    "{last} {revision} {seen}"
                );
                last = revision;
            }
        }
    });
    let creations: Vec<_> = (0..20)
        .map(|i| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.create(function(&format!("f{i}"))).await.unwrap() })
        })
        .collect();
    for creation in creations {
        creation.await.unwrap();
    }
    // Twenty were created and twenty preparations ended.
    watcher.await.unwrap();
    assert_eq!(registry.snapshot().revision, 40);
}

#[tokio::test]
async fn a_client_that_goes_away_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    let call = tokio::spawn({
        let registry = registry.clone();
        async move { registry.create(function("f")).await.unwrap() }
    });
    tokio::task::yield_now().await;
    call.abort();
    let _ = call.await;
    until(&registry, |snapshot| snapshot.functions.len() == 1).await;
    settled(&registry, "f").await;
}
