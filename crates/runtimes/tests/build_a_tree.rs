//! Builds the smallest tree for real. Needs root, mmdebstrap and a Debian mirror; says SKIPPED without them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use warren_runtimes::{Catalogue, Progress, RUNTIME_GID, RUNTIME_UID, TreeError, Trees};

#[tokio::test]
async fn the_smallest_tree_is_built_once_and_runs_a_shell() {
    let catalogue = Catalogue::built_in().expect("the built-in recipes are sound");
    let recipe = catalogue
        .resolve("provided.al2023")
        .expect("a built-in recipe")
        .recipe;
    let cache = tempfile::tempdir().expect("a temporary folder");
    let trees = Trees::new(cache.path());
    let seen = Mutex::new(Vec::<Progress>::new());
    let record = |progress| seen.lock().expect("no panic").push(progress);

    // Two at once: one builds, the other waits for it.
    let (first, second) =
        tokio::join!(trees.ensure(&recipe, record), trees.ensure(&recipe, |_| ()));
    let tree = match first {
        Ok(tree) => tree,
        Err(error @ (TreeError::NeedsRoot { .. } | TreeError::MissingTool { .. })) => {
            println!("SKIPPED the_smallest_tree_is_built_once_and_runs_a_shell: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(second.expect("the same tree"), tree);
    assert_eq!(trees.find(&recipe).expect("readable"), Some(tree.clone()));
    assert!(tree.size_bytes > 30_000_000, "{} bytes", tree.size_bytes);

    let progress = seen.lock().expect("no panic").clone();
    let last = progress.last().expect("progress was told");
    assert_eq!((last.step, last.steps), (2, 2), "{progress:?}");

    for (name, mode) in [("var/task", 0o755), ("tmp", 0o1777), ("run/warren", 0o755)] {
        let meta = fs::metadata(tree.path.join(name)).expect(name);
        assert_eq!(meta.permissions().mode() & 0o7777, mode, "{name}");
        assert_eq!((meta.uid(), meta.gid()), (0, 0), "{name}");
    }
    assert_eq!(entries(&tree.path.join("dev")), 0);
    // Nothing is left of the build itself.
    assert_eq!(
        entries(&cache.path().join("trees")),
        3,
        "the tree, its lock and its log"
    );

    let who = Command::new("chroot")
        .arg(format!("--userspec={RUNTIME_UID}:{RUNTIME_GID}"))
        .arg(&tree.path)
        .args([
            "/bin/bash",
            "-c",
            "id -un; test -r /etc/ssl/certs/ca-certificates.crt",
        ])
        .output()
        .expect("chroot starts");
    assert!(who.status.success(), "{who:?}");
    assert_eq!(String::from_utf8_lossy(&who.stdout), "sbx\n");
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).expect("a folder").count()
}
