//! Code that is not in the data folder.

use std::fs;

use warren_model::{Digest, State};

use super::kit::*;
use crate::{Guard, NotReady, RegistryError};

#[tokio::test]
async fn code_that_is_not_here_is_named_until_it_is_brought() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    let active = settled(&registry, "f").await;
    drop(registry);
    let (blobs, away) = (folder.path().join("blobs"), folder.path().join("away"));
    fs::rename(&blobs, &away).unwrap();

    let registry = world.open().await;
    let snapshot = registry.snapshot();
    assert_eq!(snapshot.functions_without_code(), 1);
    let refused = snapshot.ready(&name("f"), None).unwrap_err();
    assert!(matches!(refused, NotReady::NoCode(_)), "{refused:?}");
    let said = refused.to_string();
    for words in [
        &active.code.digest.to_string(),
        &folder.path().display().to_string(),
        "--data-dir",
        "'blobs'",
        "UpdateFunctionCode",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let got = registry.code(&active.code.digest).await;
    assert!(matches!(got, Err(RegistryError::NoCode(_))), "{got:?}");
    // Nothing of that is stored.
    let latest = snapshot.version(&name("f"), None).unwrap();
    assert_eq!((latest.state, &latest.state_reason), (State::Active, &None));

    fs::remove_dir_all(&blobs).unwrap();
    fs::rename(&away, &blobs).unwrap();
    let snapshot = until(&registry, |now| now.functions_without_code() == 0).await;
    assert!(snapshot.ready(&name("f"), None).is_ok());
}

#[tokio::test]
async fn the_same_code_given_again_is_there_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let registry = World::new(&folder).open().await;
    registry.create(function("f")).await.unwrap();
    settled(&registry, "f").await;
    let digest = Digest::of(&zip("1"));
    assert!(!registry.lacks_code(&digest).await);
    registry.inner.parts.blobs.delete(&digest).await.unwrap();
    // Found at a start that failed, in a server that runs.
    assert!(registry.lacks_code(&digest).await);
    assert_eq!(registry.snapshot().functions_without_code(), 1);
    registry
        .update_code(&name("f"), zip("1"), &Guard::default(), false, false)
        .await
        .unwrap();
    assert!(registry.snapshot().ready(&name("f"), None).is_ok());
    settled(&registry, "f").await;
    assert_eq!(registry.snapshot().functions_without_code(), 0);
}

#[tokio::test]
async fn a_preparation_without_code_fails_with_that_reason() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::held(&folder);
    let registry = world.open().await;
    registry.create(function("f")).await.unwrap();
    drop(registry);
    fs::remove_dir_all(folder.path().join("blobs")).unwrap();
    let registry = world.open().await;
    let failed = settled(&registry, "f").await;
    assert_eq!(failed.state, State::Failed);
    let reason = failed.state_reason.as_ref().unwrap();
    assert!(reason.message.contains("sha256"), "{}", reason.message);
}
