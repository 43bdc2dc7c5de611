#[tokio::main(flavor = "current_thread")]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let unpacked = warren_package::Unpacked::open(&dir.path().join("code"))
        .await
        .unwrap();
    let blobs = warren_package::FileBlobs::open(&dir.path().join("blobs"))
        .await
        .unwrap();
    for p in std::env::args().skip(1) {
        let t = std::time::Instant::now();
        let b: bytes::Bytes = if std::path::Path::new(&p).is_dir() {
            warren_package::zip_folder(std::path::Path::new(&p))
                .unwrap()
                .into()
        } else {
            std::fs::read(&p).unwrap().into()
        };
        println!("{p} {} bytes read/zip {:?}", b.len(), t.elapsed());
        let t = std::time::Instant::now();
        println!(
            "  {:?} {:?}",
            warren_package::check(b.clone(), Default::default()).await,
            t.elapsed()
        );
        let t = std::time::Instant::now();
        use warren_package::BlobStore;
        let d = blobs.put(b.clone()).await.unwrap();
        println!("  put {:?}", t.elapsed());
        let t = std::time::Instant::now();
        println!(
            "  {:?} {:?}",
            unpacked.unpack(&d, b).await.map(|_| ()),
            t.elapsed()
        );
    }
}
