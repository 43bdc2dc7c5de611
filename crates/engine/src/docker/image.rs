//! A language tree as an image of the daemon: imported once, named by its digest.

use std::process::Stdio;

use bollard::{
    Docker, body_try_stream, errors::Error, query_parameters::CreateImageOptionsBuilder,
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::unfold};
use tokio::{io::AsyncReadExt, process::Command};
use warren_runtimes::Tree;

use crate::EngineError;

const REPOSITORY: &str = "warren/tree";
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
    let unfinished = format!("{}-unfinished-{}", tree.digest, std::process::id());
    let options = CreateImageOptionsBuilder::new()
        .from_src("-")
        .repo(REPOSITORY)
        .tag(&unfinished)
        .build();
    let mut answers = docker.create_image(Some(options), Some(body_try_stream(pieces)), None);
    while let Some(answer) = answers.next().await {
        answer.map_err(EngineError::docker("import the language tree"))?;
    }
    let finished = tar
        .wait_with_output()
        .await
        .map_err(|error| failed(error.to_string()))?;
    let unfinished = format!("{REPOSITORY}:{unfinished}");
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
