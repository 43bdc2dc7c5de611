//! From a bundle to a running agent.

use std::{
    fs::{self, File},
    path::Path,
    process::Stdio,
    sync::Arc,
};

use serde_json::Value;
use tokio::{process::Command, task::block_in_place, time::timeout};

use super::{
    OciEngine, Parts, Program, Runtime, config, other, sandbox::OciSandbox,
    user_namespace::UserNamespace,
};
use crate::{
    EngineError, SandboxSpec, Tenant,
    host::{Host, Instance, cgroup::Group},
    inside,
};

/// Names below an instance's folder.
pub(crate) const STATE: &str = "state";
const CONFIG: &str = "config.json";
pub(crate) const PID: &str = "pid";
pub(crate) const LOG: &str = "log";
pub(crate) const OUTPUT: &str = "output";
/// Bytes of the program's words that an error repeats.
const MOST_WORDS: usize = 2048;

/// One start, laid out: what a runtime's program is run with.
pub(crate) struct Start<'a> {
    pub(crate) program: &'a Program,
    pub(crate) spec: &'a SandboxSpec,
    pub(crate) instance: &'a Instance,
    pub(crate) group: &'a Group,
    /// The first of its user ids on the host; none: users are the host's.
    pub(crate) first_id: Option<u32>,
    pub(crate) host: &'a Host,
    /// As in [`Ground`](super::Ground).
    pub(crate) view: &'a Path,
    /// The bundle before the runtime's own changes.
    pub(crate) config: &'a Value,
    /// Where program and agent write.
    pub(crate) output: &'a File,
    /// What it is started from; none: the bundle.
    pub(crate) image: Option<&'a Path>,
}

/// A sandbox that was started.
pub(crate) struct Standing<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) group: &'a Group,
    /// As in [`Start`].
    pub(crate) first_id: Option<u32>,
    /// As in [`Ground`](super::Ground).
    pub(crate) view: &'a Path,
}

impl Start<'_> {
    /// The command that every OCI runtime takes: `run` this bundle and come back. What it keeps and says is in the instance's folder. It has the sandbox's limits
    /// itself, which is where the sandbox has them from: to set them in a user namespace of another user's it would need CAP_SYS_RESOURCE (prlimit(2)).
    pub(crate) fn command(&self) -> Result<Command, EngineError> {
        let folder = self.instance.folder();
        let output = || {
            self.output
                .try_clone()
                .map_err(EngineError::host("share", folder))
        };
        let files = inside::OPEN_FILES;
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--nofile={files}:{files}"))
            .arg("--core=0:0")
            .arg(self.program.path())
            .arg("--root")
            .arg(folder.join(STATE))
            .arg("--log")
            .arg(folder.join(LOG))
            .args(["run", "--detach", "--pid-file"])
            .arg(folder.join(PID))
            .arg("--bundle")
            .arg(folder)
            .arg(self.spec.instance.as_str())
            .stdin(Stdio::null())
            // The agent has it too, for the end of its life: a file, so that nobody waits for it.
            .stdout(output()?)
            .stderr(output()?)
            .kill_on_drop(true);
        Ok(command)
    }

    /// It failed before the program could say anything.
    pub(crate) fn failed(&self, what: impl std::fmt::Display) -> EngineError {
        EngineError::Program {
            program: self.program.path().display().to_string(),
            output: format!("could not be started: {what}"),
        }
    }
}

impl<R: Runtime + 'static> OciEngine<R> {
    pub(super) async fn launch(
        &self,
        program: &Program,
        sandbox: &Arc<OciSandbox<R>>,
        spec: &SandboxSpec,
        image: Option<(&Tenant, &Path)>,
    ) -> Result<(), EngineError> {
        // It comes up while the rest is laid.
        let mut namespace = match sandbox.first_id() {
            Some(first) if R::JOINS_USER_NAMESPACE => Some(UserNamespace::begin(first)?),
            _ => None,
        };
        let path = namespace.as_ref().map(UserNamespace::path);
        let (output, config) = block_in_place(|| {
            let laid = self.lay(sandbox, spec, path)?;
            image.map_or(Ok(()), |(tenant, _)| sandbox.show_code(tenant))?;
            Ok::<_, EngineError>(laid)
        })?;
        if let Some(namespace) = &mut namespace {
            namespace.ready().await?;
        }
        let folder = sandbox.instance().folder();
        let start = Start {
            program,
            spec,
            instance: sandbox.instance(),
            group: sandbox.group(),
            first_id: sandbox.first_id(),
            host: &self.host,
            view: &self.roots.view(),
            config: &config,
            output: &output,
            image: image.map(|(_, image)| image),
        };
        let name = program.path().display().to_string();
        let failed = |output: String| EngineError::Program {
            program: name.clone(),
            output,
        };
        let status = timeout(spec.start_limit, self.runtime.run(&start))
            .await
            .map_err(|_| failed(format!("took longer than {:?}", spec.start_limit)))??;
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
        if !R::LINK_FIRST {
            sandbox.instance().attach(&self.host, spec, pid).await?;
        }
        let group = sandbox.group();
        let figures = self.runtime.figures(group);
        sandbox.instance().measure(group.freezer(), figures);
        Ok(())
    }

    /// Makes everything that the program needs; answers where the sandbox's output goes, and its bundle before the runtime's own changes. Blocking.
    fn lay(
        &self,
        sandbox: &OciSandbox<R>,
        spec: &SandboxSpec,
        user_namespace: Option<&Path>,
    ) -> Result<(File, Value), EngineError> {
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
            .create(&spec.instance, &R::limits(spec.memory))?;
        let resolv_conf = self.host.network().resolv_conf_of(&spec.network);
        let shown = inside::shown(spec, instance, &disk, resolv_conf.as_deref());
        let common = config(&Parts {
            spec,
            owner: &self.owner,
            root: &root,
            shown: &shown,
            first_id: sandbox.first_id(),
            user_namespace,
            group: group.path(),
        });
        let mut config = common.clone();
        self.runtime.adjust(&mut config, &self.roots.view());
        let file = instance.folder().join(CONFIG);
        fs::write(&file, config.to_string()).map_err(EngineError::host("write", &file))?;
        let output = instance.folder().join(OUTPUT);
        let output = File::create(&output).map_err(EngineError::host("create", &output))?;
        Ok((output, common))
    }
}

/// What the program and the agent said last.
pub(crate) fn words(folder: &Path) -> String {
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
