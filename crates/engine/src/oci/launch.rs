//! From a bundle to a running agent.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use tokio::{process::Command, task::block_in_place, time::timeout};

use super::{OciEngine, Parts, Program, Runtime, config, other, sandbox::OciSandbox};
use crate::{EngineError, SandboxSpec, host::cgroup::Limits, inside};

/// Names below an instance's folder.
pub(super) const STATE: &str = "state";
const CONFIG: &str = "config.json";
const PID: &str = "pid";
const LOG: &str = "log";
const OUTPUT: &str = "output";
/// Bytes of the program's words that an error repeats.
const MOST_WORDS: usize = 2048;

impl<R: Runtime + 'static> OciEngine<R> {
    pub(super) async fn launch(
        &self,
        program: &Program,
        sandbox: &Arc<OciSandbox>,
        spec: &SandboxSpec,
    ) -> Result<(), EngineError> {
        let output = block_in_place(|| self.lay(sandbox, spec))?;
        let folder = sandbox.instance().folder();
        let mut command = Command::new(program.path());
        command
            .arg("--root")
            .arg(folder.join(STATE))
            .arg("--log")
            .arg(folder.join(LOG))
            .args(["run", "--detach", "--pid-file"])
            .arg(folder.join(PID))
            .arg("--bundle")
            .arg(folder)
            .arg(spec.instance.as_str())
            .stdin(Stdio::null())
            // The agent has it too, for the end of its life: a file, so that nobody waits for it.
            .stdout(
                output
                    .try_clone()
                    .map_err(EngineError::host("share", folder))?,
            )
            .stderr(output)
            .kill_on_drop(true);
        let name = program.path().display().to_string();
        let failed = |output: String| EngineError::Program {
            program: name.clone(),
            output,
        };
        let status = timeout(spec.start_limit, command.status())
            .await
            .map_err(|_| failed(format!("took longer than {:?}", spec.start_limit)))?
            .map_err(|error| failed(format!("could not be started: {error}")))?;
        if !status.success() {
            return Err(failed(format!("{} ({status})", words(folder))));
        }
        let file = folder.join(PID);
        let pid = fs::read_to_string(&file).map_err(EngineError::host("read", &file))?;
        let pid: u32 = pid
            .trim()
            .parse()
            .map_err(|error: std::num::ParseIntError| {
                EngineError::host("read", &file)(other(error))
            })?;
        sandbox.started(pid)?;
        sandbox.instance().found(&self.host, spec, pid).await
    }

    /// Makes everything that the program needs; answers where the sandbox's output goes. Blocking.
    fn lay(&self, sandbox: &OciSandbox, spec: &SandboxSpec) -> Result<File, EngineError> {
        let instance = sandbox.instance();
        let root = self.roots.of(&spec.tree)?;
        let disk = self.host.disk(instance, spec.ephemeral_storage)?;
        if let Some(first) = sandbox.first_id() {
            instance.channel().give_to(first)?;
            std::os::unix::fs::chown(&disk, Some(first), Some(first))
                .map_err(EngineError::host("change the owner of", &disk))?;
        }
        let group = self
            .slice()?
            .create(&spec.instance, &Limits::of(spec.memory))?;
        let resolv_conf = self.host.network().resolv_conf_of(&spec.network);
        let shown = inside::shown(spec, instance, &disk, resolv_conf.as_deref());
        let mut config = config(&Parts {
            spec,
            owner: &self.owner,
            root: &root,
            shown: &shown,
            first_id: sandbox.first_id(),
            group: group.path(),
        });
        R::adjust(&mut config);
        let file = instance.folder().join(CONFIG);
        fs::write(&file, config.to_string()).map_err(EngineError::host("write", &file))?;
        let output = instance.folder().join(OUTPUT);
        File::create(&output).map_err(EngineError::host("create", &output))
    }
}

/// What the program and the agent said last.
pub(super) fn words(folder: &Path) -> String {
    let of = |name: &str| {
        let text = fs::read(folder.join(name)).unwrap_or_default();
        let text =
            String::from_utf8_lossy(&text[text.len().saturating_sub(MOST_WORDS)..]).into_owned();
        text.trim().to_owned()
    };
    let said = [of(LOG), of(OUTPUT)];
    said.into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}
