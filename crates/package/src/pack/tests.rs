use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Made in no particular order.
    fs::create_dir_all(at("b/c")).unwrap();
    fs::write(at("z.py"), "print(1)").unwrap();
    fs::write(at("b/c/x"), "x".repeat(10_000)).unwrap();
    fs::write(at("a.py"), "").unwrap();
    fs::write(at(".env"), "hidden files are code").unwrap();
    symlink("c/x", at("b/link")).unwrap();
    folder
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let first = folder();
    let second = folder();
    fs::create_dir_all(second.path().join(".git/objects")).unwrap();
    fs::create_dir_all(second.path().join("b/.git")).unwrap();
    fs::write(second.path().join("z.py"), "print(1)").unwrap();
    File::open(second.path().join("z.py"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(
        zip_folder(first.path()).unwrap().zip,
        zip_folder(second.path()).unwrap().zip
    );
    fs::set_permissions(
        second.path().join("z.py"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    assert_ne!(
        zip_folder(first.path()).unwrap(),
        zip_folder(second.path()).unwrap()
    );

    let one = zip_inline(&[("b", "2"), ("a", "1")]).unwrap();
    let two = zip_inline(&[
        ("a".to_owned(), b"1".to_vec()),
        ("b".to_owned(), b"2".to_vec()),
    ])
    .unwrap();
    assert_eq!(one, two);
}

#[test]
fn leaves_out_what_is_no_code() {
    let made = folder();
    let before = zip_folder(made.path()).unwrap();
    assert_eq!((before.files, before.bytes), (5, 10_029));
    assert!(before.left_out.is_empty());
    let at = |name: &str| made.path().join(name);
    for name in [".venv/bin", "venv/bin", "b/__pycache__", "b/c/.git"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    symlink("/usr/bin/python3", at(".venv/bin/python3")).unwrap();
    fs::write(at("venv/pyvenv.cfg"), "home = /usr/bin").unwrap();
    fs::write(at(".DS_Store"), "").unwrap();
    let packed = zip_folder(made.path()).unwrap();
    assert_eq!(
        packed.left_out,
        [".DS_Store", ".venv", "venv", "b/__pycache__", "b/c/.git"]
    );
    assert_eq!(packed.zip, before.zip);
    // A module of that name.
    fs::remove_file(at("venv/pyvenv.cfg")).unwrap();
    fs::write(at("venv/a.py"), "").unwrap();
    assert_eq!(zip_folder(made.path()).unwrap().files, 6);
}

#[test]
fn refuses_what_could_not_be_deployed() {
    let made = folder();
    symlink("/etc/passwd", made.path().join("leaves")).unwrap();
    let error = zip_folder(made.path()).unwrap_err();
    assert!(
        matches!(error, PackError::Package(PackageError::LinkLeaves { .. })),
        "{error}"
    );

    let made = folder();
    let _socket = UnixListener::bind(made.path().join("socket")).unwrap();
    let error = zip_folder(made.path()).unwrap_err();
    assert!(matches!(error, PackError::SpecialFile { .. }), "{error}");

    let made = folder();
    let huge = File::create(made.path().join("huge")).unwrap();
    huge.set_len(300_000_000).unwrap();
    let error = zip_folder(made.path()).unwrap_err();
    assert!(matches!(error, PackError::TooLarge { .. }), "{error}");

    let empty = tempfile::tempdir().unwrap();
    fs::create_dir_all(empty.path().join("a/.git/b")).unwrap();
    let error = zip_folder(empty.path()).unwrap_err();
    assert!(matches!(error, PackError::NoFiles { .. }), "{error}");
    let error = zip_folder(&empty.path().join("none")).unwrap_err();
    assert!(matches!(error, PackError::Io { .. }), "{error}");

    let error = zip_inline(&[("../x", "1")]).unwrap_err();
    assert!(
        matches!(error, PackError::Package(PackageError::Name { .. })),
        "{error}"
    );
    let error = zip_inline(&[("x", "1"), ("x", "2")]).unwrap_err();
    assert!(
        matches!(error, PackError::Package(PackageError::Duplicate { .. })),
        "{error}"
    );
}
