//! Whether `runsc` really starts something here, and on which platform: a sandbox that runs one program to its end, in a bounded time.

use std::{
    fmt,
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{sync::OnceCell, task::spawn_blocking, time::timeout};
use warren_model::{InstanceId, Memory, NetworkPolicy};

use super::command::{RUNSC, Runsc};
use crate::{
    EngineError, Unavailable,
    host::{
        Host,
        cgroup::{Limits, Slice},
        remove_folder,
    },
    oci::{Entry, Ground, OUTPUT, Program, STATE, Source, words},
};

/// What carries the function's system calls to the sentry (gVisor, "Platforms").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    /// A trap by seccomp: works everywhere.
    Systrap,
    /// Hardware virtualization: quicker, where the machine is bare.
    Kvm,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Systrap => "systrap",
            Self::Kvm => "kvm",
        })
    }
}

/// How long one may take; usually 0.3 s.
const PATIENCE: Duration = Duration::from_secs(15);
/// The same on KVM, where one that does not work hangs.
const KVM_PATIENCE: Duration = Duration::from_secs(3);
/// How long a trial that passed counts, so that many deployments at once don't start one each.
const TRUST: Duration = Duration::from_secs(10);
const KVM: &str = "/dev/kvm";

/// Trials so far.
#[derive(Default)]
pub(super) struct Trials {
    /// Chosen once, by a trial.
    platform: OnceCell<Platform>,
    /// With which program the last one passed, and when.
    passed: Mutex<Option<(PathBuf, Instant)>>,
}

impl Trials {
    /// The platform that works here, by a trial.
    pub(super) async fn platform(
        &self,
        ground: &Ground<'_>,
        program: &Program,
    ) -> Result<Platform, Unavailable> {
        let choose = async || match kvm_may_work() {
            true => match attempt(ground, program, Platform::Kvm, KVM_PATIENCE).await {
                Ok(()) => Platform::Kvm,
                Err(why) => {
                    tracing::info!(%why, "gVisor's KVM platform does not work here: systrap is used");
                    Platform::Systrap
                }
            },
            false => Platform::Systrap,
        };
        let platform = *self.platform.get_or_init(choose).await;
        let fresh = {
            let passed = self.passed.lock().unwrap_or_else(|e| e.into_inner());
            passed
                .as_ref()
                .is_some_and(|(with, at)| with == program.path() && at.elapsed() < TRUST)
        };
        if !fresh {
            attempt(ground, program, platform, PATIENCE)
                .await
                .map_err(|why| Unavailable {
                    reason: format!(
                        "A trial sandbox of `{}` on {platform} failed: {why}",
                        program.path().display()
                    ),
                    next_step: "Try it by hand: `runsc --ignore-cgroups --network=none --platform=systrap do true`; gVisor needs a kernel with seccomp, user namespaces and ptrace allowed".to_owned(),
                })?;
            let mut passed = self.passed.lock().unwrap_or_else(|e| e.into_inner());
            *passed = Some((program.path().to_owned(), Instant::now()));
        }
        Ok(platform)
    }

    /// What was chosen; before any trial, what works everywhere.
    pub(super) fn chosen(&self) -> Platform {
        self.platform.get().copied().unwrap_or(Platform::Systrap)
    }
}

/// Without virtualization in the processor itself KVM is an emulation that hangs; and a sandbox's users must be able to open the device.
fn kvm_may_work() -> bool {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |name: &str| processor.split_whitespace().any(|word| word == name);
    let device = fs::metadata(KVM).is_ok_and(|found| found.permissions().mode() & 0o006 == 0o006);
    device && (has("vmx") || has("svm"))
}

/// Runs a trial to its end and cleans up after it, even if nobody waits any more.
async fn attempt(
    ground: &Ground<'_>,
    program: &Program,
    platform: Platform,
    patience: Duration,
) -> Result<(), String> {
    let trial = Trial {
        host: Arc::clone(ground.host),
        slice: ground.slice.clone(),
        view: ground.view.to_owned(),
        program: program.clone(),
        platform,
        patience,
    };
    tokio::spawn(trial.run())
        .await
        .map_err(|error| error.to_string())?
}

struct Trial {
    host: Arc<Host>,
    slice: Slice,
    view: PathBuf,
    program: Program,
    platform: Platform,
    patience: Duration,
}

impl Trial {
    async fn run(self) -> Result<(), String> {
        let first_id = tokio::task::block_in_place(|| self.host.ids().take());
        let first_id = first_id.map_err(|error| warren_model::chain(&error))?;
        let id = InstanceId::random();
        let folder = self.host.run().join(id.as_str());
        let outcome = match timeout(self.patience, self.start(&id, &folder, first_id)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(warren_model::chain(&error)),
            Err(_) => Err(format!("it takes longer than {:?}", self.patience)),
        };
        let group = self.slice.group(&id);
        let removed = spawn_blocking(move || {
            group.end()?;
            remove_folder(&folder)
        });
        match removed.await {
            Ok(Ok(())) => self.host.ids().give_back(first_id),
            Ok(Err(error)) => {
                tracing::warn!(%error, "a trial could not be removed; the next start of the server will")
            }
            Err(error) => {
                tracing::warn!(%error, "a trial could not be removed; the next start of the server will")
            }
        }
        outcome
    }

    async fn start(
        &self,
        id: &InstanceId,
        folder: &Path,
        first_id: u32,
    ) -> Result<(), EngineError> {
        let output = tokio::task::block_in_place(|| self.lay(id, folder, first_id))?;
        let runsc = Runsc {
            view: &self.view,
            platform: self.platform,
            network: &NetworkPolicy::None,
            instance: id.as_str(),
        };
        let entry = Entry {
            group: &self.slice.group(id),
            first_id,
            folder,
            state: &folder.join(STATE),
            view: &self.view,
            shown: &[Source::of(&self.program)],
            memory: Memory::default().bytes(),
            command: &runsc.run(false),
            output: &output,
        };
        let status = entry.begin().await?.go().await?;
        let said = words(folder);
        // The program's own words prove that it ran inside.
        if status.success() && said.contains("runsc version") {
            return Ok(());
        }
        Err(EngineError::Program {
            program: self.program.path().display().to_string(),
            output: format!("{said} ({status})"),
        })
    }

    fn lay(&self, id: &InstanceId, folder: &Path, first_id: u32) -> Result<File, EngineError> {
        fs::create_dir(folder).map_err(EngineError::host("create the folder", folder))?;
        let limits = super::with_room(Limits::of(Memory::default()));
        self.slice.create(id, &limits)?;
        super::give(folder, first_id)?;
        let file = folder.join("config.json");
        fs::write(&file, self.config().to_string()).map_err(EngineError::host("write", &file))?;
        let output = folder.join(OUTPUT);
        File::create(&output).map_err(EngineError::host("create", &output))
    }

    /// The view is its root, and in it the program itself, which needs nothing else.
    fn config(&self) -> Value {
        let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
        json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": { "uid": 0, "gid": 0 },
                "args": [format!("/{RUNSC}"), "--version"],
                "cwd": "/",
                "noNewPrivileges": true,
            },
            "root": { "path": self.view, "readonly": true },
            "linux": { "namespaces": namespaces },
        })
    }
}
