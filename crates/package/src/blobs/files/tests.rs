use super::*;

async fn blobs(root: &Path) -> FileBlobs {
    FileBlobs::open(root).await.unwrap()
}

#[tokio::test]
async fn keeps_bytes_by_their_digest() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("a/blobs");
    let store = blobs(&root).await;
    let bytes = Bytes::from_static(b"some code");
    let digest = store.put(bytes.clone()).await.unwrap();
    assert_eq!(digest, Digest::of(&bytes));
    assert_eq!(store.put(bytes.clone()).await.unwrap(), digest);
    assert_eq!(store.get(&digest).await.unwrap(), bytes);
    assert_eq!(store.size(&digest).await.unwrap(), Some(9));
    let other = store.put(Bytes::new()).await.unwrap();
    let mut all = blobs(&root).await.list().await.unwrap();
    all.sort();
    let mut expected = vec![digest, other];
    expected.sort();
    assert_eq!(all, expected);
    let path = root
        .join("sha256")
        .join(&digest.to_string()[..2])
        .join(digest.to_string());
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    store.delete(&digest).await.unwrap();
    store.delete(&digest).await.unwrap();
    assert!(!store.exists(&digest).await.unwrap());
    assert!(matches!(store.get(&digest).await, Err(BlobError::NotFound(d)) if d == digest));
}

#[tokio::test]
async fn finds_damage_and_heals_a_cut_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = blobs(folder.path()).await;
    let bytes = Bytes::from_static(b"some code");
    let digest = store.put(bytes.clone()).await.unwrap();
    fs::write(store.path(&digest), b"some c").unwrap();
    assert!(matches!(
        store.get(&digest).await,
        Err(BlobError::Damaged { .. })
    ));
    store.put(bytes.clone()).await.unwrap();
    assert_eq!(store.get(&digest).await.unwrap(), bytes);
}

#[tokio::test]
async fn removes_half_written_blobs_at_open() {
    let folder = tempfile::tempdir().unwrap();
    let store = blobs(folder.path()).await;
    let digest = store.put(Bytes::from_static(b"whole")).await.unwrap();
    let half = folder.path().join("tmp/half");
    fs::write(&half, b"ha").unwrap();
    let store = blobs(folder.path()).await;
    assert!(!half.exists());
    assert_eq!(store.list().await.unwrap(), vec![digest]);
}

#[tokio::test]
async fn many_writers_of_the_same_bytes_agree() {
    let folder = tempfile::tempdir().unwrap();
    let store = blobs(folder.path()).await;
    let bytes = Bytes::from(vec![7; 1 << 20]);
    let puts: Vec<_> = (0..8)
        .map(|_| {
            let (store, bytes) = (store.clone(), bytes.clone());
            tokio::spawn(async move { store.put(bytes).await.unwrap() })
        })
        .collect();
    for put in puts {
        assert_eq!(put.await.unwrap(), Digest::of(&bytes));
    }
    assert_eq!(store.get(&Digest::of(&bytes)).await.unwrap(), bytes);
    assert_eq!(fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
}
