//! `/tmp` of an instance: a sparse ext4 image on a loop device, so that its size is a hard limit and its pages are not the function's memory.
//!
//! One formatted template per size is kept; an instance gets a sparse copy of it (a few milliseconds instead of a format).

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::{SeekFrom, seek};
use warren_model::EphemeralStorage;

use super::mounts;
use crate::EngineError;

/// Makes disks; templates are kept in one folder.
#[derive(Debug)]
pub struct Disks {
    templates: PathBuf,
    /// Held while a template is made, so that it is made once.
    making: std::sync::Mutex<()>,
}

impl Disks {
    /// Keeps templates in this folder, which is made at first need.
    pub fn new(templates: PathBuf) -> Self {
        Self {
            templates,
            making: std::sync::Mutex::new(()),
        }
    }

    /// Formats the template of this size if it is not there. Blocking, some 200 ms once.
    pub fn prepare(&self, size: EphemeralStorage) -> Result<(), EngineError> {
        self.template(size).map(drop)
    }

    /// Mounts a new disk at `point`, which it makes and returns. Its image has no name any more then: it goes with its last user. Blocking, some ten
    /// milliseconds.
    pub fn create(&self, point: &Path, size: EphemeralStorage) -> Result<PathBuf, EngineError> {
        let template = self.template(size)?;
        let work = tempfile::tempdir_in(&self.templates)
            .map_err(EngineError::host("create a folder in", &self.templates))?;
        let image = work.path().join("image");
        copy_sparse(&template, &image).map_err(EngineError::host("copy the disk to", &image))?;
        fs::create_dir(point).map_err(EngineError::host("create the folder", point))?;
        mount_image(&image, point)?;
        Ok(point.to_owned())
    }

    /// Removes what a process left that died while it made a disk, its mount first. Blocking.
    pub fn sweep(&self) -> Result<(), EngineError> {
        // The data folder belongs to one process, and this one has no disk at work when it sweeps.
        let _making = self.making.lock().unwrap_or_else(|e| e.into_inner());
        let entries = match fs::read_dir(&self.templates) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            outcome => outcome.map_err(EngineError::host("read the folder", &self.templates))?,
        };
        for entry in entries {
            let path = entry
                .map_err(EngineError::host("read the folder", &self.templates))?
                .path();
            // Templates are files, work is done in folders.
            if path.is_dir() {
                super::instance::remove_folder(&path)?;
            }
        }
        Ok(())
    }

    fn template(&self, size: EphemeralStorage) -> Result<PathBuf, EngineError> {
        let path = self.templates.join(format!("{}.ext4", size.get()));
        if path.exists() {
            return Ok(path);
        }
        // A poisoned lock only says that another attempt failed.
        let _making = self.making.lock().unwrap_or_else(|e| e.into_inner());
        if path.exists() {
            return Ok(path);
        }
        fs::create_dir_all(&self.templates)
            .map_err(EngineError::host("create the folder", &self.templates))?;
        let work = tempfile::tempdir_in(&self.templates)
            .map_err(EngineError::host("create a folder in", &self.templates))?;
        let image = work.path().join("image");
        let point = work.path().join("mount");
        File::create(&image)
            .and_then(|file| file.set_len(image_bytes(size)))
            .map_err(EngineError::host("create", &image))?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-m", "0", "-O", "^has_journal"])
            .args(["-E", "lazy_itable_init=1,nodiscard"])
            .arg(&image))?;
        fs::create_dir(&point).map_err(EngineError::host("create the folder", &point))?;
        mount_image(&image, &point)?;
        let emptied = fs::remove_dir(point.join("lost+found"))
            .and_then(|()| fs::set_permissions(&point, fs::Permissions::from_mode(0o1777)));
        mounts::unmount_below(&point)?;
        emptied.map_err(EngineError::host("empty", &point))?;
        // Whole on the disk before it has its name: a template is trusted for good.
        File::open(&image)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&image, &path))
            .and_then(|()| File::open(&self.templates)?.sync_all())
            .map_err(EngineError::host("keep", &path))?;
        Ok(path)
    }
}

/// The file system's own tables take 1.6 % (one 256-byte inode per 16 KiB) and some fixed blocks, and the kernel holds back 2 %, at most 16 MiB
/// (`s_resv_clusters`); owners get what they asked for.
fn image_bytes(size: EphemeralStorage) -> u64 {
    size.bytes() + size.bytes() / 50 + (24 << 20)
}

fn mount_image(image: &Path, point: &Path) -> Result<(), EngineError> {
    run(Command::new("mount")
        .args(["-t", "ext4", "-o", "loop,nosuid,nodev,noatime,nobarrier"])
        .arg(image)
        .arg(point))
}

fn run(command: &mut Command) -> Result<(), EngineError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |output: String| EngineError::Program {
        program: program.clone(),
        output,
    };
    let output = command
        .output()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!(
        "{} ({})",
        String::from_utf8_lossy(&output.stderr).trim(),
        output.status
    )))
}

/// Copies data and leaves holes; `std::fs::copy` would write the holes out.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let length = source.metadata()?.len();
    let target = OpenOptions::new().write(true).create_new(true).open(to)?;
    target.set_len(length)?;
    let mut buffer = vec![0; 128 << 10];
    let mut position = 0;
    while position < length {
        let data = match seek(&source, SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(&source, SeekFrom::Hole(data))?;
        position = data;
        while position < end {
            let piece = usize::try_from(end - position)
                .unwrap_or(usize::MAX)
                .min(buffer.len());
            source.read_exact_at(&mut buffer[..piece], position)?;
            target.write_all_at(&buffer[..piece], position)?;
            position += piece as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_folders_and_keeps_templates() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at(".tmpX/mount")).unwrap();
        fs::write(at(".tmpX/image"), "half").unwrap();
        fs::write(at("512.ext4"), "whole").unwrap();
        Disks::new(folder.path().into()).sweep().unwrap();
        assert!(!at(".tmpX").exists());
        assert!(at("512.ext4").exists());
        Disks::new(at("nowhere")).sweep().unwrap();
    }

    #[test]
    fn copies_keep_data_and_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 33 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        let copy = File::open(&to).unwrap();
        let mut found = [0; 6];
        copy.read_exact_at(&mut found, 33 << 20).unwrap();
        assert_eq!(&found, b"middle");
        assert_eq!(copy.metadata().unwrap().len(), 64 << 20);
        use std::os::unix::fs::MetadataExt;
        assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
