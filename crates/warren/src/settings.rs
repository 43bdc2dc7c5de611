//! What `warren serve` is told: by flag, by variable, or by `warren.toml` in the working directory, or else in the data folder; in this order.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use warren_model::EngineName;
use warren_telemetry::Retention;

use crate::database::Database;

/// The settings file's name.
const FILE: &str = "warren.toml";
/// The data folder, if none is named.
pub(crate) const DATA_DIR: &str = ".warren/data";
/// Covers the usual answer of a function that has nothing to wait for, and the usual next request of a client in a loop.
const BUSY_POLL_US: u32 = 100;
/// With longer moments nearly every peer is quick, and a processor never rests.
const MAX_BUSY_POLL_US: u32 = 1_000;
/// Some ten images of functions with heavy imports.
const CHECKPOINT_DISK_MB: u64 = 2_048;

/// What a number of the settings may be, with its default.
struct Bounds {
    key: &'static str,
    least: u32,
    most: u32,
    default: u32,
    unit: &'static str,
}

const MAX_INSTANCES: Bounds = Bounds {
    key: "max_instances",
    least: 1,
    most: 10_000,
    default: 200,
    unit: "instances",
};
/// More can't come: both addresses take 2,000 connections each.
const QUEUE_CALLS: Bounds = Bounds {
    key: "queue_calls",
    least: 0,
    most: 4_000,
    default: 1_000,
    unit: "calls",
};
const QUEUE_WAIT_S: Bounds = Bounds {
    key: "queue_wait_s",
    least: 1,
    most: 900,
    default: 10,
    unit: "seconds",
};
const FREEZE_S: Bounds = Bounds {
    key: "freeze_s",
    least: 0,
    most: 86_400,
    default: 60,
    unit: "seconds",
};
const IDLE_S: Bounds = Bounds {
    key: "idle_s",
    least: 1,
    most: 86_400,
    default: 600,
    unit: "seconds",
};

const RECORDS_KEEP_DAYS: Bounds = Bounds {
    key: "records_keep_days",
    least: 1,
    most: 3_650,
    default: 7,
    unit: "days",
};
/// Some 150 bytes each, so 150 MB by default.
const RECORDS_MAX: Bounds = Bounds {
    key: "records_max",
    least: 1_000,
    most: 100_000_000,
    default: 1_000_000,
    unit: "records",
};

/// Where functions are: flags of every command that opens the data folder itself.
#[derive(Debug, Default, Args)]
pub(crate) struct PlaceFlags {
    /// Where code, logs and keys are kept, and functions with sqlite [default: .warren/data]
    #[arg(long, value_name = "DIR", env = "WARREN_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where functions are kept: sqlite, in the data folder, or postgres://USER:PASSWORD@HOST/DATABASE [default: sqlite]
    #[arg(
        long,
        value_name = "URL",
        env = "WARREN_DATABASE",
        hide_env_values = true
    )]
    database: Option<String>,
    /// Another settings file than warren.toml in the working directory or the data folder
    #[arg(long, value_name = "FILE", env = "WARREN_CONFIG")]
    config: Option<PathBuf>,
}

/// Flags of `warren serve`; each has a variable and a key of the same name in `warren.toml`.
#[derive(Debug, Default, Args)]
pub(crate) struct ServeFlags {
    #[command(flatten)]
    place: PlaceFlags,
    /// Address of the Lambda API and the native API [default: 127.0.0.1:7070]
    #[arg(long, value_name = "ADDRESS:PORT", env = "WARREN_LISTEN", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// Address of the functions' HTTP routes [default: 127.0.0.1:7071]
    #[arg(long, value_name = "ADDRESS:PORT", env = "WARREN_ROUTES_LISTEN", value_parser = parse_address)]
    routes_listen: Option<SocketAddr>,
    /// Memory for all instances together, those that are started ahead too, in MB [default: 80 % of the host's]
    #[arg(long, value_name = "MB", env = "WARREN_MEMORY_MB")]
    memory_mb: Option<u64>,
    /// Instances at the same time, 1 to 10000 [default: 200]
    #[arg(long, value_name = "N", env = "WARREN_MAX_INSTANCES")]
    max_instances: Option<u32>,
    /// Calls that may wait for an instance at the same time, 0 to 4000; more are refused with 429 [default: 1000]
    #[arg(long, value_name = "N", env = "WARREN_QUEUE_CALLS")]
    queue_calls: Option<u32>,
    /// How long a call may wait for an instance before it is refused with 429, in seconds, 1 to 900 [default: 10]
    #[arg(long, value_name = "S", env = "WARREN_QUEUE_WAIT_S")]
    queue_wait_s: Option<u32>,
    /// How long an instance is kept without a call, in seconds, 1 to 86400 [default: 600]
    #[arg(long, value_name = "S", env = "WARREN_IDLE_S")]
    idle_s: Option<u32>,
    /// How long an instance may be without a call before it is frozen until the next, so that it uses no processor, in seconds, at most 86400; 0: never
    /// [default: 60]
    #[arg(long, value_name = "S", env = "WARREN_FREEZE_S")]
    freeze_s: Option<u32>,
    /// Memory for sandboxes that are started ahead, before a call needs them, in MB of --memory-mb; 0: none are [default: 5 % of it, at most 512; 0 below 800]
    #[arg(long, value_name = "MB", env = "WARREN_STEM_MEMORY_MB")]
    stem_memory_mb: Option<u64>,
    /// Disk for checkpoints of functions with --snap-start, in MB; 0: none are made [default: 2048]
    #[arg(long, value_name = "MB", env = "WARREN_CHECKPOINT_DISK_MB")]
    checkpoint_disk_mb: Option<u64>,
    /// Engine of new functions that name none: docker or runc [default: docker]
    #[arg(long, value_name = "NAME", env = "WARREN_DEFAULT_ENGINE")]
    default_engine: Option<EngineName>,
    /// How long to poll for the next message of a peer that was as quick the last time, in microseconds, at most 1000; 0: never. Costs up to a whole
    /// processor; used on hosts with 2 or 3 [default: 100]
    #[arg(long, value_name = "US", env = "WARREN_BUSY_POLL_US")]
    busy_poll_us: Option<u32>,
    /// Name server for functions with a network; repeatable [default: those of this machine]
    #[arg(
        long = "name-server",
        value_name = "ADDRESS",
        env = "WARREN_NAME_SERVERS",
        value_delimiter = ','
    )]
    name_servers: Vec<IpAddr>,
    /// Whether calls are recorded: on or off [default: on]
    #[arg(long, value_name = "on|off", env = "WARREN_RECORDS")]
    records: Option<Switch>,
    /// How long records of calls are kept, in days, 1 to 3650 [default: 7]
    #[arg(long, value_name = "DAYS", env = "WARREN_RECORDS_KEEP_DAYS")]
    records_keep_days: Option<u32>,
    /// Most records of calls, 1000 to 100000000; the oldest go first [default: 1000000]
    #[arg(long, value_name = "N", env = "WARREN_RECORDS_MAX")]
    records_max: Option<u32>,
    /// Where language trees are kept, shared by servers [default: ~/.cache/warren]
    #[arg(long, value_name = "DIR", env = "WARREN_CACHE")]
    cache_dir: Option<PathBuf>,
}

/// An address and a port, both in numbers.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        let port = text.trim_start_matches(':');
        let example = match port.parse::<u16>() {
            Ok(port) => format!("127.0.0.1:{port} (this machine only) or 0.0.0.0:{port}"),
            Err(_) => "127.0.0.1:7070 or [::1]:7070".to_owned(),
        };
        format!("write an address in numbers and a port, such as {example}")
    })
}

/// What is on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
enum Switch {
    #[default]
    On,
    Off,
}

/// `warren.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data_dir: Option<PathBuf>,
    database: Option<String>,
    listen: Option<SocketAddr>,
    routes_listen: Option<SocketAddr>,
    memory_mb: Option<u64>,
    max_instances: Option<u32>,
    queue_calls: Option<u32>,
    queue_wait_s: Option<u32>,
    idle_s: Option<u32>,
    freeze_s: Option<u32>,
    stem_memory_mb: Option<u64>,
    checkpoint_disk_mb: Option<u64>,
    default_engine: Option<EngineName>,
    busy_poll_us: Option<u32>,
    #[serde(default)]
    name_servers: Vec<IpAddr>,
    records: Option<Switch>,
    records_keep_days: Option<u32>,
    records_max: Option<u32>,
    cache_dir: Option<PathBuf>,
}

/// Where functions are, complete.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) data_dir: PathBuf,
    pub(crate) database: Database,
}

/// Settings of a server, complete.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) listen: SocketAddr,
    pub(crate) routes_listen: SocketAddr,
    /// None: 80 % of the host's.
    pub(crate) memory_mb: Option<u64>,
    pub(crate) max_instances: u32,
    pub(crate) queue_calls: u32,
    pub(crate) queue_wait: Duration,
    pub(crate) idle_after: Duration,
    /// Zero: never.
    pub(crate) freeze_after: Duration,
    /// None: a share of what instances have.
    pub(crate) stem_memory_mb: Option<u64>,
    /// Zero: no checkpoints.
    pub(crate) checkpoint_disk_mb: u64,
    pub(crate) default_engine: EngineName,
    /// Zero: never.
    pub(crate) busy_poll: Duration,
    /// None: those of this machine.
    pub(crate) name_servers: Vec<IpAddr>,
    /// How long calls' records are kept; none: calls are not recorded.
    pub(crate) records: Option<Retention>,
    pub(crate) cache_dir: PathBuf,
}

impl Place {
    /// Joins flags (which clap has joined with variables) and the file.
    pub(crate) fn load(flags: PlaceFlags) -> anyhow::Result<Self> {
        let file = File::of(&flags)?;
        Self::join(flags, &file)
    }

    /// As a server over this data folder would be told by variables and its file, with its name servers; for whoever looks at both from outside.
    pub(crate) fn seen(
        data_dir: &Path,
        database: Option<String>,
    ) -> anyhow::Result<(Self, Vec<IpAddr>)> {
        let flags = PlaceFlags {
            data_dir: Some(data_dir.to_owned()),
            database,
            config: std::env::var_os("WARREN_CONFIG").map(PathBuf::from),
        };
        let file = File::of(&flags)?;
        let named = std::env::var("WARREN_NAME_SERVERS").unwrap_or_default();
        let mut named: Vec<IpAddr> = named.split(',').filter_map(|ip| ip.parse().ok()).collect();
        if named.is_empty() {
            named.clone_from(&file.name_servers);
        }
        Ok((Self::join(flags, &file)?, named))
    }

    fn join(flags: PlaceFlags, file: &File) -> anyhow::Result<Self> {
        let database = flags.database.as_deref().or(file.database.as_deref());
        Ok(Self {
            data_dir: flags
                .data_dir
                .or_else(|| file.data_dir.clone())
                .unwrap_or_else(|| PathBuf::from(DATA_DIR)),
            database: match database {
                Some(text) => Database::parse(text)?,
                None => Database::Sqlite,
            },
        })
    }
}

impl Settings {
    /// As [`Place::load`].
    pub(crate) fn load(flags: ServeFlags) -> anyhow::Result<Self> {
        let file = File::of(&flags.place)?;
        Self::join(flags, file)
    }

    fn join(flags: ServeFlags, file: File) -> anyhow::Result<Self> {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let place = Place::join(flags.place, &file)?;
        let cache_dir = flags
            .cache_dir
            .or(file.cache_dir)
            .or_else(warren_runtimes::Trees::default_folder)
            .ok_or_else(|| anyhow!("no cache folder: set --cache-dir, WARREN_CACHE or HOME"))?;
        Ok(Self {
            place,
            listen: flags.listen.or(file.listen).unwrap_or(loopback(7070)),
            routes_listen: flags
                .routes_listen
                .or(file.routes_listen)
                .unwrap_or(loopback(7071)),
            memory_mb: flags.memory_mb.or(file.memory_mb),
            max_instances: MAX_INSTANCES.hold(flags.max_instances.or(file.max_instances))?,
            queue_calls: QUEUE_CALLS.hold(flags.queue_calls.or(file.queue_calls))?,
            queue_wait: seconds(QUEUE_WAIT_S.hold(flags.queue_wait_s.or(file.queue_wait_s))?),
            idle_after: seconds(IDLE_S.hold(flags.idle_s.or(file.idle_s))?),
            freeze_after: seconds(FREEZE_S.hold(flags.freeze_s.or(file.freeze_s))?),
            stem_memory_mb: flags.stem_memory_mb.or(file.stem_memory_mb),
            checkpoint_disk_mb: flags
                .checkpoint_disk_mb
                .or(file.checkpoint_disk_mb)
                .unwrap_or(CHECKPOINT_DISK_MB),
            default_engine: flags
                .default_engine
                .or(file.default_engine)
                .unwrap_or_default(),
            busy_poll: busy_poll(flags.busy_poll_us.or(file.busy_poll_us))?,
            name_servers: match flags.name_servers.is_empty() {
                true => file.name_servers,
                false => flags.name_servers,
            },
            records: records(
                flags.records.or(file.records).unwrap_or_default(),
                flags.records_keep_days.or(file.records_keep_days),
                flags.records_max.or(file.records_max),
            )?,
            cache_dir,
        })
    }
}

impl File {
    /// The file that these flags name, or that is where one is looked for.
    fn of(flags: &PlaceFlags) -> anyhow::Result<Self> {
        if let Some(path) = &flags.config {
            return read(path)?
                .with_context(|| format!("the settings file {} is not there", path.display()));
        }
        match read(Path::new(FILE))? {
            Some(file) => Ok(file),
            None => of_data_dir(flags.data_dir.as_deref().unwrap_or(Path::new(DATA_DIR))),
        }
    }
}

impl Bounds {
    /// What was asked for, if it is within them; the default if nothing was.
    fn hold(&self, asked: Option<u32>) -> anyhow::Result<u32> {
        let value = asked.unwrap_or(self.default);
        if value < self.least || value > self.most {
            let flag = self.key.replace('_', "-");
            bail!(
                "{} is {value}: give {} to {} {} (--{flag}, WARREN_{}, or {} in {FILE})",
                self.key,
                self.least,
                self.most,
                self.unit,
                self.key.to_uppercase(),
                self.key
            );
        }
        Ok(value)
    }
}

fn seconds(count: u32) -> Duration {
    Duration::from_secs(count.into())
}

/// How long records are kept. The bounds are checked even where there are none.
fn records(
    switch: Switch,
    keep_days: Option<u32>,
    most: Option<u32>,
) -> anyhow::Result<Option<Retention>> {
    let days = RECORDS_KEEP_DAYS.hold(keep_days)?;
    let retention = Retention {
        age: seconds(days * 86_400),
        number: RECORDS_MAX.hold(most)?.into(),
    };
    Ok((switch == Switch::On).then_some(retention))
}

fn busy_poll(asked_us: Option<u32>) -> anyhow::Result<Duration> {
    let moment_us = asked_us.unwrap_or(BUSY_POLL_US);
    if moment_us > MAX_BUSY_POLL_US {
        bail!(
            "busy_poll_us is {moment_us}: give at most {MAX_BUSY_POLL_US} microseconds, or 0 to turn it off (--busy-poll-us, WARREN_BUSY_POLL_US, or busy_poll_us in {FILE})"
        );
    }
    Ok(Duration::from_micros(moment_us.into()))
}

/// The settings in the data folder; none if there is no file.
fn of_data_dir(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(FILE);
    let file = read(&path)?.unwrap_or_default();
    if file.data_dir.is_some() {
        bail!(
            "{} is in the data folder, so it can't name another: remove `data_dir` from it",
            path.display()
        );
    }
    Ok(file)
}

fn read(path: &Path) -> anyhow::Result<Option<File>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("could not read {}", path.display()));
        }
    };
    toml::from_str(&text).map(Some).map_err(|error| {
        // Without the line itself, which may hold a password.
        let line = error
            .span()
            .map_or(0, |span| text[..span.start.min(text.len())].lines().count());
        anyhow!(
            "{} is not in order near line {}: {}",
            path.display(),
            line.max(1),
            error.message()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> ServeFlags {
        ServeFlags {
            cache_dir: Some("/cache".into()),
            ..ServeFlags::default()
        }
    }

    #[test]
    fn flags_come_before_the_file_before_defaults() {
        let file: File =
            toml::from_str("listen = \"127.0.0.1:1\"\nmax_instances = 5\ndata_dir = \"/f\"")
                .unwrap();
        let settings = Settings::join(
            ServeFlags {
                max_instances: Some(9),
                ..flags()
            },
            file,
        )
        .unwrap();
        assert_eq!(settings.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!(settings.max_instances, 9);
        assert_eq!(settings.place.data_dir, Path::new("/f"));
        assert_eq!(settings.routes_listen, "127.0.0.1:7071".parse().unwrap());
    }

    #[test]
    fn numbers_are_bounded() {
        let join = |text: &str| Settings::join(flags(), toml::from_str(text).unwrap());
        let settings = join("").unwrap();
        assert_eq!((settings.max_instances, settings.queue_calls), (200, 1_000));
        assert_eq!(settings.queue_wait, Duration::from_secs(10));
        assert_eq!(settings.idle_after, Duration::from_secs(600));
        assert_eq!(settings.freeze_after, Duration::from_secs(60));
        assert_eq!(settings.stem_memory_mb, None);
        let settings = join("queue_calls = 0\nqueue_wait_s = 900\nidle_s = 1").unwrap();
        assert_eq!(settings.queue_calls, 0);
        assert_eq!(settings.queue_wait, Duration::from_secs(900));
        for (text, words) in [
            (
                "max_instances = 0",
                "1 to 10000 instances (--max-instances, WARREN_MAX_INSTANCES",
            ),
            (
                "queue_calls = 4001",
                "0 to 4000 calls (--queue-calls, WARREN_QUEUE_CALLS",
            ),
            (
                "queue_wait_s = 0",
                "1 to 900 seconds (--queue-wait-s, WARREN_QUEUE_WAIT_S",
            ),
            (
                "idle_s = 86401",
                "1 to 86400 seconds (--idle-s, WARREN_IDLE_S",
            ),
        ] {
            let error = join(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn records_are_kept_as_long_as_asked() {
        let join = |text: &str| Settings::join(flags(), toml::from_str(text).unwrap());
        let kept = join("").unwrap().records.unwrap();
        assert_eq!(kept.age, Duration::from_secs(7 * 86_400));
        assert_eq!(kept.number, 1_000_000);
        let kept = join("records_keep_days = 3650\nrecords_max = 1000").unwrap();
        assert_eq!(kept.records.unwrap().age.as_secs(), 315_360_000);
        assert_eq!(kept.records.unwrap().number, 1_000);
        assert_eq!(join("records = 'off'").unwrap().records, None);
        for (text, words) in [
            (
                "records_keep_days = 0",
                "1 to 3650 days (--records-keep-days",
            ),
            (
                "records_max = 999",
                "1000 to 100000000 records (--records-max, WARREN_RECORDS_MAX",
            ),
            ("records = 'off'\nrecords_max = 0", "records_max is 0"),
        ] {
            let error = join(text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = toml::from_str::<File>("records = 'maybe'").unwrap_err();
        assert!(error.to_string().contains("`on` or `off`"), "{error}");
    }

    #[test]
    fn polling_is_bounded() {
        assert_eq!(busy_poll(None).unwrap(), Duration::from_micros(100));
        assert_eq!(busy_poll(Some(0)).unwrap(), Duration::ZERO);
        assert_eq!(busy_poll(Some(1_000)).unwrap(), Duration::from_millis(1));
        let error = busy_poll(Some(1_001)).unwrap_err().to_string();
        assert!(error.contains("1001") && error.contains("1000"), "{error}");
    }

    #[test]
    fn the_data_folder_may_hold_the_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(of_data_dir(folder.path()).unwrap().max_instances, None);
        let put = |text| std::fs::write(folder.path().join(FILE), text).unwrap();
        put("max_instances = 7");
        assert_eq!(of_data_dir(folder.path()).unwrap().max_instances, Some(7));
        put("data_dir = '/elsewhere'");
        let error = of_data_dir(folder.path()).unwrap_err().to_string();
        assert!(error.contains("data_dir"), "{error}");
    }

    #[test]
    fn the_database_s_password_is_not_shown() {
        let url = "postgres://ada:s3cret@db/warren";
        let settings = Settings::join(
            ServeFlags {
                place: PlaceFlags {
                    database: Some(url.to_owned()),
                    ..PlaceFlags::default()
                },
                ..flags()
            },
            toml::from_str("database = \"sqlite\"").unwrap(),
        )
        .unwrap();
        assert!(matches!(settings.place.database, Database::Postgres(_)));
        assert!(!format!("{settings:?}").contains("s3cret"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        std::fs::write(
            &path,
            format!("listen = \"127.0.0.1:1\"\ndatabase = \"{url}"),
        )
        .unwrap();
        let error = format!("{:#}", read(&path).unwrap_err());
        assert!(error.contains("line 2"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn unknown_keys_are_refused_by_name() {
        let error = toml::from_str::<File>("liste = 1").unwrap_err();
        assert!(error.to_string().contains("liste"), "{error}");
    }

    #[test]
    fn an_address_without_its_half_is_refused_with_an_example() {
        for text in ["7480", ":7480"] {
            let error = parse_address(text).unwrap_err();
            assert!(error.contains("such as 127.0.0.1:7480"), "{error}");
        }
        let error = parse_address("localhost:7480").unwrap_err();
        assert!(error.contains("such as 127.0.0.1:7070"), "{error}");
        assert!(parse_address("[::1]:7480").is_ok());
    }
}
