use std::os::unix::fs::MetadataExt;

use super::*;
use crate::raw::{Raw, zip_of};
use crate::{zip_folder, zip_inline};

async fn unpacked(folder: &tempfile::TempDir) -> Unpacked {
    Unpacked::open(&folder.path().join("code")).await.unwrap()
}

fn zip(content: &str) -> Bytes {
    zip_inline(&[("a/b/app.py", content), ("bootstrap", "#!/bin/sh\n")])
        .unwrap()
        .into()
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o7777
}

#[tokio::test]
async fn unpacks_once_with_modes_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = unpacked(&folder).await;
    let zip = zip("print(1)");
    let digest = Digest::of(&zip);
    assert!(!unpacked.contains(&digest));
    let path = unpacked.unpack(&digest, zip.clone()).await.unwrap();
    assert_eq!(path, folder.path().join("code").join(digest.to_string()));
    assert_eq!(
        fs::read_to_string(path.join("a/b/app.py")).unwrap(),
        "print(1)"
    );
    for (name, expected) in [
        ("", 0o755),
        ("a", 0o755),
        ("a/b", 0o755),
        ("a/b/app.py", 0o644),
        ("bootstrap", 0o755),
    ] {
        assert_eq!(mode(&path.join(name)), expected, "{name}");
    }
    assert_eq!(mode(&folder.path().join("code")), 0o711);
    let inode = path.metadata().unwrap().ino();
    assert_eq!(unpacked.unpack(&digest, zip).await.unwrap(), path);
    assert_eq!(path.metadata().unwrap().ino(), inode);
}

#[tokio::test]
async fn a_folder_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir_all(source.join("empty")).unwrap();
    fs::create_dir_all(source.join("lib")).unwrap();
    fs::write(source.join("lib/a.so.1"), [0; 70_000]).unwrap();
    fs::write(source.join("secret"), "s").unwrap();
    set_mode(&source.join("secret"), 0o600).unwrap();
    set_mode(&source.join("lib/a.so.1"), 0o700).unwrap();
    symlink("lib/a.so.1", source.join("a.so")).unwrap();
    let zip: Bytes = zip_folder(&source).unwrap().zip.into();
    let digest = Digest::of(&zip);
    let path = unpacked(&folder).await.unpack(&digest, zip).await.unwrap();
    assert!(path.join("empty").is_dir());
    assert_eq!(
        fs::read_link(path.join("a.so")).unwrap(),
        Path::new("lib/a.so.1")
    );
    assert_eq!(fs::read(path.join("a.so")).unwrap(), [0; 70_000]);
    assert_eq!(mode(&path.join("secret")), 0o644);
    assert_eq!(mode(&path.join("lib/a.so.1")), 0o755);
}

#[tokio::test]
async fn many_at_once_get_the_same_whole_folder() {
    let folder = tempfile::tempdir().unwrap();
    let unpacked = unpacked(&folder).await;
    let zip = zip(&"x".repeat(3_000_000));
    let digest = Digest::of(&zip);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (unpacked, zip) = (unpacked.clone(), zip.clone());
            tokio::spawn(async move {
                let path = unpacked.unpack(&digest, zip).await.unwrap();
                assert_eq!(path.join("a/b/app.py").metadata().unwrap().len(), 3_000_000);
            })
        })
        .collect();
    for (index, task) in tasks.into_iter().enumerate() {
        match index % 4 {
            // Callers that go away.
            0 => task.abort(),
            _ => task.await.unwrap(),
        }
    }
    assert!(unpacked.contains(&digest));
}

#[tokio::test]
async fn what_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits {
        unpacked: 1_000,
        ..Limits::default()
    };
    let root = folder.path().join("code");
    let unpacked = Unpacked::open_with(&root, limits).await.unwrap();
    let large = zip(&"x".repeat(2_000));
    let error = unpacked
        .unpack(&Digest::of(&large), large)
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        UnpackError::Package(PackageError::UnpackedTooLarge { .. })
    ));
    let error = unpacked
        .unpack(&Digest::of(b""), Bytes::new())
        .await
        .unwrap_err();
    assert!(matches!(error, UnpackError::Package(PackageError::NotAZip)));
    let left: Vec<_> = fs::read_dir(&root)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left, [BOOT_MARK]);
}

#[tokio::test]
async fn removes_what_is_not_kept_and_what_is_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let first = unpacked(&folder).await;
    let zips = [zip("1"), zip("2"), zip("3")];
    for zip in &zips {
        first.unpack(&Digest::of(zip), zip.clone()).await.unwrap();
    }
    let root = folder.path().join("code");
    fs::create_dir_all(root.join(".unfinished-abc/deep/er")).unwrap();
    fs::create_dir_all(root.join("not-ours")).unwrap();
    let unpacked = unpacked(&folder).await;
    assert!(!root.join(".unfinished-abc").exists());
    let keep = HashSet::from([Digest::of(&zips[1])]);
    assert_eq!(unpacked.retain(&keep).await.unwrap(), 2);
    assert_eq!(unpacked.retain(&keep).await.unwrap(), 0);
    assert!(unpacked.contains(&Digest::of(&zips[1])));
    assert!(!unpacked.contains(&Digest::of(&zips[0])));
    unpacked.remove(&Digest::of(&zips[0])).await.unwrap();
    assert!(root.join("not-ours").exists());
    // What was removed can be unpacked again.
    let path = unpacked
        .unpack(&Digest::of(&zips[0]), zips[0].clone())
        .await
        .unwrap();
    assert_eq!(fs::read_to_string(path.join("a/b/app.py")).unwrap(), "1");
}

#[tokio::test]
async fn trusts_nothing_that_a_power_cut_may_have_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let zip = zip("1");
    let digest = Digest::of(&zip);
    unpacked(&folder)
        .await
        .unpack(&digest, zip.clone())
        .await
        .unwrap();
    assert!(unpacked(&folder).await.contains(&digest));
    fs::write(folder.path().join("code").join(BOOT_MARK), "the run before").unwrap();
    assert!(!unpacked(&folder).await.contains(&digest));
    unpacked(&folder).await.unpack(&digest, zip).await.unwrap();
    assert!(unpacked(&folder).await.contains(&digest));
}

#[tokio::test]
async fn special_bits_are_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let zip: Bytes = zip_of(&[
        Raw::file("program", b"x").mode(0o106_755),
        Raw::file("data", b"x").mode(0o102_666),
        Raw::folder("lib/").mode(0o041_777),
    ])
    .into();
    let digest = Digest::of(&zip);
    let path = unpacked(&folder).await.unpack(&digest, zip).await.unwrap();
    for (name, expected) in [("program", 0o755), ("data", 0o644), ("lib", 0o755)] {
        assert_eq!(mode(&path.join(name)), expected, "{name}");
    }
}

#[tokio::test]
async fn names_that_differ_in_case_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("README", "1"),
        ("readme", "2"),
        ("Lib/a", "3"),
        ("lib/a", "4"),
        ("caf\u{e9}", "5"),
        ("cafe\u{301}", "6"),
    ];
    let zip: Bytes = zip_inline(&files).unwrap().into();
    let digest = Digest::of(&zip);
    let path = unpacked(&folder).await.unpack(&digest, zip).await.unwrap();
    for (name, content) in files {
        assert_eq!(fs::read_to_string(path.join(name)).unwrap(), content);
    }
}
