//! A language tree as an image of the daemon: imported once, named by its digest.

use std::{collections::HashMap, path::Path, process::Stdio};

use bollard::{
    Docker, body_try_stream,
    errors::Error,
    query_parameters::{CreateImageOptionsBuilder, ListImagesOptionsBuilder},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::unfold};
use tokio::{io::AsyncReadExt, process::Command};
use warren_runtimes::Tree;

use crate::EngineError;

const REPOSITORY: &str = "warren/tree";
/// Between the digest and the importing process in the name of an image that is not whole yet.
const UNFINISHED: &str = "-unfinished-";
/// Bytes of the archive sent at a time.
const PIECE: usize = 256 << 10;

pub(super) fn name(tree: &Tree) -> String {
    format!("{REPOSITORY}:{}", tree.digest)
}

/// Whether creating a container failed for want of its image.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(
        error,
        Error::DockerResponseServerError {
            status_code: 404,
            ..
        }
    )
}

/// Imports the tree unless the daemon has it. Some seconds for a few hundred megabytes.
pub(super) async fn ensure(docker: &Docker, tree: &Tree, name: &str) -> Result<(), EngineError> {
    match docker.inspect_image(name).await {
        Ok(_) => return Ok(()),
        Err(error) if is_missing(&error) => {}
        Err(error) => return Err(EngineError::docker("inspect the image")(error)),
    }
    tracing::info!(image = name, "importing a language tree");
    let failed = |output: String| EngineError::Program {
        program: "tar".to_owned(),
        output,
    };
    let mut tar = Command::new("tar")
        .args(["--numeric-owner", "--create", "--file=-", "--directory"])
        .arg(&tree.path)
        .arg(".")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("could not be started: {error}")))?;
    let archive = tar
        .stdout
        .take()
        .ok_or_else(|| failed("no output".to_owned()))?;
    let pieces = unfold(archive, |mut archive| async move {
        let mut piece = Vec::with_capacity(PIECE);
        match (&mut archive)
            .take(PIECE as u64)
            .read_to_end(&mut piece)
            .await
        {
            Ok(0) => None,
            Ok(_) => Some((Ok(Bytes::from(piece)), archive)),
            Err(error) => Some((Err(error), archive)),
        }
    });
    // Under a name of its own first: a cut archive must never be found under the digest.
    let unfinished = format!(
        "{REPOSITORY}:{}{UNFINISHED}{}",
        tree.digest,
        std::process::id()
    );
    // The tag within `repo`, as podman 4.3 does not look at `tag` here.
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(&unfinished)
        .build();
    let mut answers = docker.create_image(Some(options), Some(body_try_stream(pieces)), None);
    while let Some(answer) = answers.next().await {
        answer.map_err(EngineError::docker("import the language tree"))?;
    }
    let finished = tar
        .wait_with_output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let kept = if finished.status.success() {
        let tag = bollard::query_parameters::TagImageOptionsBuilder::new()
            .repo(REPOSITORY)
            .tag(tree.digest.as_str())
            .build();
        docker
            .tag_image(&unfinished, Some(tag))
            .await
            .map_err(EngineError::docker("name the image"))
    } else {
        Err(failed(
            String::from_utf8_lossy(&finished.stderr).trim().to_owned(),
        ))
    };
    docker
        .remove_image(
            &unfinished,
            None::<bollard::query_parameters::RemoveImageOptions>,
            None,
        )
        .await
        .map_err(EngineError::docker("remove the image's first name"))?;
    kept
}

/// Removes names that imports of dead processes of this host left.
pub(super) async fn sweep(docker: &Docker) -> Result<(), EngineError> {
    let ours = HashMap::from([(
        "reference".to_owned(),
        vec![format!("{REPOSITORY}:*{UNFINISHED}*")],
    )]);
    let options = ListImagesOptionsBuilder::new().filters(&ours).build();
    let found = docker
        .list_images(Some(options))
        .await
        .map_err(EngineError::docker("list images"))?;
    for name in found.iter().flat_map(|image| &image.repo_tags) {
        if importer(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            docker
                .remove_image(
                    name,
                    None::<bollard::query_parameters::RemoveImageOptions>,
                    None,
                )
                .await
                .map_err(EngineError::docker("remove an unfinished image"))?;
            tracing::info!(image = name, "removed what a cut import left");
        }
    }
    Ok(())
}

/// The process that imports under this name; none if it is a finished image's.
fn importer(name: &str) -> Option<u32> {
    name.rsplit_once(UNFINISHED)?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_who_imports() {
        assert_eq!(importer("warren/tree:abc-unfinished-12"), Some(12));
        assert_eq!(importer("warren/tree:abc"), None);
    }
}
