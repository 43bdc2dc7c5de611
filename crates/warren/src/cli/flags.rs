//! The settings of a function as flags, shared by `deploy` and `update`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::Args;
use warren_model::{
    Environment, EphemeralStorage, Invalid, Memory, Route, Timeout, native::FunctionSpec,
};

use super::failure::Failure;

/// What the names of environment variables must be, in words.
const NAME_RULE: &str =
    "names need at least two characters: a letter first, then letters, digits or _";

/// The members of a [`FunctionSpec`] or a `RunSpec` that have a flag of another name.
const FLAGS: [(&str, &str); 9] = [
    ("timeout_s", "timeout"),
    ("memory_mb", "memory"),
    ("ephemeral_storage_mb", "storage"),
    ("environment", "env"),
    ("tags", "tag"),
    ("routes", "route"),
    ("reserved_concurrency", "concurrency"),
    ("max_output_bytes", "max-output"),
    ("snap_start", "snap-start"),
];
/// Those whose flag has the same name.
const SAME: [&str; 6] = [
    "runtime",
    "handler",
    "engine",
    "network",
    "description",
    "entry",
];

/// The flag that sets a member of a [`FunctionSpec`], without its dashes.
pub(super) fn flag_of(member: &str) -> Option<&'static str> {
    let other = FLAGS.iter().find(|(name, _)| *name == member);
    let same = || SAME.into_iter().find(|name| *name == member);
    other.map(|(_, flag)| *flag).or_else(same)
}

/// Settings of a function.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Function")]
pub(super) struct FunctionFlags {
    /// Language, as an AWS runtime id (`warren runtimes` lists them)
    #[arg(long, value_name = "ID")]
    pub(super) runtime: Option<String>,
    /// What is called, such as app.handler
    #[arg(long, value_name = "FILE.FUNCTION")]
    pub(super) handler: Option<String>,
    /// HTTP route, such as 'GET /items/{id}' or 'POST /items/:id'; repeatable, all together replace those before; 'none' removes them
    #[arg(long = "route", value_name = "METHOD PATH", value_parser = parse_route)]
    routes: Vec<RouteFlag>,
    /// Longest call, in seconds (1 to 900)
    #[arg(long, value_name = "SECONDS", value_parser = parse_timeout, allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Memory, in MB (128 to 10240)
    #[arg(long, value_name = "MB", value_parser = parse_memory, allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Size of /tmp, in MB (512 to 10240)
    #[arg(long, value_name = "MB", value_parser = parse_storage, allow_negative_numbers = true)]
    storage: Option<i64>,
    /// Environment variable; repeatable, all together replace the whole set that there was
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_pair)]
    variables: Vec<(String, String)>,
    /// File of environment variables, NAME=VALUE on each line; --env overrules it
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Isolation (`warren engines` lists them)
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// Take the engine though it can't be used at present: calls are refused with the reason until it can
    #[arg(long)]
    force: bool,
    /// What it may reach: none, internet (no private network, no host, no metadata address), or allow (what --allow names) [default: internet where the server's machine can enforce it]
    #[arg(long, value_name = "POLICY")]
    network: Option<String>,
    /// A destination that it may reach, and nothing else: ADDRESS:PORT, ADDRESS/BITS:PORT, [IPV6]:PORT, NAME:PORT, host:PORT (the server's machine, as host.warren.internal), container:NAME:PORT or network:NAME:PORT (Docker's); repeatable
    #[arg(long = "allow", value_name = "DESTINATION", value_parser = parse_destination)]
    allow: Vec<String>,
    /// Start instances as copies of one whose Init is over, where the engine can and it is faster; 'off' ends that
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = parse_switch)]
    snap_start: Option<bool>,
    /// Free text
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Label; repeatable, all together replace those before
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = parse_pair)]
    tags: Vec<(String, String)>,
    /// Calls at the same time that are kept for it, which is also their limit; 'none' removes the reservation
    #[arg(long, value_name = "N", value_parser = parse_concurrency)]
    concurrency: Option<Concurrency>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concurrency {
    None,
    Reserved(u32),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RouteFlag {
    None,
    Some(Route),
}

impl FunctionFlags {
    /// What they say; what they don't say is absent.
    pub(super) fn spec(&self) -> Result<FunctionSpec, Failure> {
        Ok(FunctionSpec {
            runtime: self.runtime.clone(),
            handler: self.handler.clone(),
            timeout_s: self.timeout,
            memory_mb: self.memory,
            ephemeral_storage_mb: self.storage,
            environment: self.environment()?,
            engine: self.engine.clone(),
            network: policy(self.network.as_deref(), &self.allow)?,
            snap_start: self.snap_start,
            description: self.description.clone(),
            tags: (!self.tags.is_empty()).then(|| self.tags.iter().cloned().collect()),
            force: self.force,
            routes: self.routes()?,
            reserved_concurrency: self.concurrency.map(|concurrency| match concurrency {
                Concurrency::None => None,
                Concurrency::Reserved(limit) => Some(limit),
            }),
            ..FunctionSpec::default()
        })
    }

    fn routes(&self) -> Result<Option<Vec<String>>, Failure> {
        if self.routes.contains(&RouteFlag::None) && self.routes.len() > 1 {
            return Err(Failure::usage(
                "--route none removes all routes and can't stand beside another --route",
            ));
        }
        let routes = self.routes.iter().filter_map(|route| match route {
            RouteFlag::None => None,
            RouteFlag::Some(route) => Some(route.to_string()),
        });
        Ok((!self.routes.is_empty()).then(|| routes.collect()))
    }

    fn environment(&self) -> Result<Option<BTreeMap<String, String>>, Failure> {
        if self.variables.is_empty() && self.env_file.is_none() {
            return Ok(None);
        }
        let mut all = BTreeMap::new();
        if let Some(path) = &self.env_file {
            let text = fs::read_to_string(path).map_err(|error| {
                Failure::usage(format!("--env-file {}: {error}", path.display()))
            })?;
            all = parse_env_file(&text).map_err(|(line, problem)| {
                Failure::usage(format!(
                    "--env-file {}, line {line}: {problem}",
                    path.display()
                ))
            })?;
        }
        for (name, value) in &self.variables {
            // The value may be a secret and is not repeated.
            check_name(name)
                .map_err(|problem| Failure::usage(format!("--env {name}: {problem}")))?;
            all.insert(name.clone(), value.clone());
        }
        Ok(Some(all))
    }
}

/// The policy that `--network` and `--allow` say together.
pub(super) fn policy(network: Option<&str>, allow: &[String]) -> Result<Option<String>, Failure> {
    let example = "such as --allow db.internal:5432 or --allow host:5432 (the server's machine)";
    match (network, allow.is_empty()) {
        (None | Some("allow"), false) => Ok(Some(format!("allow:{}", allow.join(" ")))),
        (Some("allow" | "allow:"), true) => Err(Failure::usage(format!(
            "--network allow opens nothing by itself: name at least one destination, {example}"
        ))),
        (Some(policy), false) => Err(Failure::usage(format!(
            "--network {policy} and --allow can't stand together: what --allow names is all that the function may reach"
        ))
        .hint(format!(
            "Leave out --network to reach what --allow names and nothing else, or leave out --allow to keep '{policy}'."
        ))),
        (Some(policy), true)
            if !["none", "internet"].contains(&policy) && !policy.starts_with("allow:") =>
        {
            Err(Failure::usage(format!(
                "--network {policy} is not known: write --network none, --network internet, or destinations, {example}"
            )))
        }
        (policy, true) => Ok(policy.map(str::to_owned)),
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}

/// Whether an environment variable may have this name.
fn check_name(name: &str) -> Result<(), String> {
    match Environment::new([(name.to_owned(), String::new())].into()) {
        Ok(_) => Ok(()),
        Err(Invalid::Constraint { .. }) => Err(NAME_RULE.to_owned()),
        Err(Invalid::Parameter { .. }) => {
            Err("the name is reserved for the runtime; choose another".to_owned())
        }
    }
}

pub(super) fn parse_destination(text: &str) -> Result<String, String> {
    warren_network::check_destination(text).map(|()| text.to_owned())
}

pub(super) fn parse_timeout(text: &str) -> Result<i64, String> {
    parse_number(text, "seconds", Timeout::MIN, Timeout::MAX)
}

pub(super) fn parse_memory(text: &str) -> Result<i64, String> {
    parse_number(text, "MB", Memory::MIN, Memory::MAX)
}

pub(super) fn parse_storage(text: &str) -> Result<i64, String> {
    parse_number(text, "MB", EphemeralStorage::MIN, EphemeralStorage::MAX)
}

fn parse_number(text: &str, unit: &str, least: u32, most: u32) -> Result<i64, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("write a whole number of {unit}, {least} to {most}"))?;
    match (i64::from(least)..=i64::from(most)).contains(&number) {
        true => Ok(number),
        false => Err(format!("{number} is not between {least} and {most} {unit}")),
    }
}

fn parse_route(text: &str) -> Result<RouteFlag, String> {
    match text {
        "none" => Ok(RouteFlag::None),
        route => route
            .parse()
            .map(RouteFlag::Some)
            .map_err(|invalid: warren_model::Invalid| invalid.to_string()),
    }
}

fn parse_concurrency(text: &str) -> Result<Concurrency, String> {
    match text {
        "none" => Ok(Concurrency::None),
        number => number
            .parse()
            .map(Concurrency::Reserved)
            .map_err(|_| "write a number, or 'none'".to_owned()),
    }
}

/// `NAME=VALUE` lines; empty ones and comments are skipped, `export ` before and quotes around a value are taken away.
fn parse_env_file(text: &str) -> Result<BTreeMap<String, String>, (usize, String)> {
    let mut variables = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = parse_pair(line).map_err(|problem| (number, problem))?;
        let (name, value) = (name.trim_end().to_owned(), value.trim());
        check_name(&name).map_err(|problem| (number, format!("{name}: {problem}")))?;
        let bare = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        variables.insert(name, bare.unwrap_or(value).to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_line_by_line() {
        let read = parse_env_file("# c\n\nA1=1\nexport B1 = \"x y\"\nC1='='\nD1=\n").unwrap();
        let pairs: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A1", "1"), ("B1", "x y"), ("C1", "="), ("D1", "")]);
        let (line, _) = parse_env_file("A1=1\nnonsense\n").unwrap_err();
        assert_eq!(line, 2);
        assert_eq!(
            parse_env_file("A1=1\n\nB=2\n").unwrap_err(),
            (3, format!("B: {NAME_RULE}"))
        );
    }

    #[test]
    fn a_variable_s_name_is_checked_and_its_value_not_repeated() {
        let flags = |name: &str| FunctionFlags {
            variables: vec![(name.to_owned(), "secret".to_owned())],
            ..FunctionFlags::default()
        };
        let text = flags("A").spec().unwrap_err().text();
        assert_eq!(text, format!("--env A: {NAME_RULE} | "));
        let text = flags("AWS_REGION").spec().unwrap_err().text();
        assert!(
            text.contains("--env AWS_REGION: the name is reserved"),
            "{text}"
        );
        assert!(flags("AB").spec().is_ok());
    }

    #[test]
    fn numbers_say_their_range_and_unit() {
        assert_eq!(parse_timeout("900"), Ok(900));
        for (found, words) in [
            (
                parse_timeout("abc"),
                "write a whole number of seconds, 1 to 900",
            ),
            (
                parse_timeout("1.5"),
                "write a whole number of seconds, 1 to 900",
            ),
            (parse_timeout("0"), "0 is not between 1 and 900 seconds"),
            (
                parse_memory("20000"),
                "20000 is not between 128 and 10240 MB",
            ),
            (parse_storage("-1"), "-1 is not between 512 and 10240 MB"),
        ] {
            assert_eq!(found, Err(words.to_owned()));
        }
    }

    #[test]
    fn what_is_not_said_is_absent() {
        assert_eq!(
            FunctionFlags::default().spec().unwrap(),
            FunctionSpec::default()
        );
        let flags = FunctionFlags {
            routes: vec![RouteFlag::None],
            concurrency: Some(Concurrency::None),
            ..FunctionFlags::default()
        };
        let spec = flags.spec().unwrap();
        assert_eq!(spec.routes, Some(Vec::new()));
        assert_eq!(spec.reserved_concurrency, Some(None));
    }

    #[test]
    fn a_policy_that_says_two_things_or_none_is_refused_by_its_flag() {
        let network = |network: Option<&str>, allow: &[&str]| {
            let flags = FunctionFlags {
                network: network.map(str::to_owned),
                allow: allow.iter().map(|one| (*one).to_owned()).collect(),
                ..FunctionFlags::default()
            };
            flags
                .spec()
                .map(|spec| spec.network)
                .map_err(|failure| failure.text())
        };
        let one = ["host:1"];
        for (policy, allow, found) in [
            (None, &[][..], None),
            (Some("none"), &[], Some("none")),
            (None, &one, Some("allow:host:1")),
            (Some("allow"), &one, Some("allow:host:1")),
            (Some("allow:host:1"), &[], Some("allow:host:1")),
        ] {
            assert_eq!(network(policy, allow), Ok(found.map(str::to_owned)));
        }
        for (policy, allow, words) in [
            ("allow", &[][..], "--network allow opens nothing by itself"),
            (
                "internet",
                &one,
                "--network internet and --allow can't stand together",
            ),
            ("lan", &[], "--network lan is not known"),
        ] {
            let text = network(Some(policy), allow).unwrap_err();
            assert!(text.contains(words) && text.contains("--allow"), "{text}");
        }
        assert!(
            parse_destination("10.0.0.1")
                .unwrap_err()
                .contains("has no port")
        );
    }

    #[test]
    fn both_spellings_of_a_route_are_one() {
        assert_eq!(parse_route("GET /a/:id"), parse_route("get /a/{id}"));
        assert!(parse_route("/a").is_err());
    }
}
