//! A PostgreSQL server of a test's own: its programs as Debian's package `postgresql` brings them, a folder, a Unix socket and no other address.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::super::Address;

/// Who runs the server where the tests run as root, which PostgreSQL refuses: nobody.
const NOBODY: &str = "65534";
const PATIENCE: Duration = Duration::from_secs(30);

/// Ends with the test.
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// None, and why on the terminal, where there is no PostgreSQL.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            println!("SKIPPED PostgreSQL: it is not installed; `scripts/setup.sh test` does it");
            return None;
        };
        let folder = TempDir::new().unwrap();
        if as_root() {
            chown(folder.path(), Some(65534), Some(65534)).unwrap();
        }
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let mut server = Self {
            folder,
            programs,
            process: None,
        };
        let made = server
            .command("initdb")
            .args([
                "--no-sync",
                "--auth=trust",
                "--encoding=UTF8",
                "--no-locale",
            ])
            .args(["--username=warren", "--pgdata"])
            .arg(server.data())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb: {made}");
        server.run();
        Some(server)
    }

    /// Starts the server, and waits until it answers.
    pub(crate) fn run(&mut self) {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        let process = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(self.folder.path())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        let begun = Instant::now();
        while !self.answers() {
            assert!(begun.elapsed() < PATIENCE, "no answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops it at once, with all connections.
    pub(crate) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let quit = Command::new("kill")
                .args(["-QUIT", &process.id().to_string()])
                .status();
            assert!(quit.unwrap().success());
            process.wait().unwrap();
        }
    }

    /// A new database.
    pub(crate) fn database(&self, name: &str) -> Address {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.address(name)
    }

    pub(crate) fn address(&self, database: &str) -> Address {
        self.url(database).parse().unwrap()
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?user=warren&host={}",
            self.folder.path().display()
        )
    }

    /// What `psql` prints.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> String {
        let done = self
            .command("psql")
            .args([
                "-qAt", "-U", "warren", "-d", database, "-c", statement, "-h",
            ])
            .arg(self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{statement}: {said}");
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    fn answers(&self) -> bool {
        let mut ready = self.command("pg_isready");
        let ready = ready.arg("-q").arg("-h").arg(self.folder.path()).status();
        ready.is_ok_and(|status| status.success())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// One of PostgreSQL's programs, which ends when the test does.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if as_root() {
            command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
        }
        command.arg(self.programs.join(program)).current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"))
}

fn as_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap()) == 0
}
