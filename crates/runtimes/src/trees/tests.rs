use super::*;
use crate::catalogue::Catalogue;

fn recipe() -> std::sync::Arc<Recipe> {
    let catalogue = Catalogue::built_in().unwrap();
    catalogue.resolve("provided.al2023").unwrap().recipe
}

#[test]
fn a_tree_is_found_only_with_its_description() {
    let cache = tempfile::tempdir().unwrap();
    let trees = Trees::new(cache.path());
    let recipe = recipe();
    assert_eq!(trees.find(&recipe).unwrap(), None);
    let folder = cache
        .path()
        .join("trees")
        .join(recipe.tree_digest().as_str());
    fs::create_dir_all(folder.join("rootfs")).unwrap();
    assert_eq!(trees.find(&recipe).unwrap(), None);
    fs::write(
        folder.join(TREE_FILE),
        "recipe = \"provided.al2023\"\nsize_bytes = 7\nbuild_ms = 5\nbuilt_at = 3\n",
    )
    .unwrap();
    let tree = trees.find(&recipe).unwrap().expect("built");
    assert_eq!((tree.size_bytes, tree.path), (7, folder.join("rootfs")));
}

#[tokio::test]
async fn sweeping_takes_the_folders_of_dead_builds_only() {
    let cache = tempfile::tempdir().unwrap();
    let trees = Trees::new(cache.path());
    assert_eq!(trees.sweep().await.unwrap(), 0);
    let folder = cache.path().join("trees");
    for name in [".building-dead/rootfs/etc", ".building-alive", "finished"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    let alive = Lock::try_take(&folder.join("alive.lock")).unwrap();
    assert_eq!(trees.sweep().await.unwrap(), 1);
    drop(alive);
    assert!(!folder.join(".building-dead").exists());
    assert!(folder.join(".building-alive").exists());
    assert!(folder.join("finished").exists());
}

#[test]
fn programs_are_found_in_system_folders_too() {
    assert!(builder::on_host("sh"));
    assert!(!builder::on_host("no-such-program-here"));
}
