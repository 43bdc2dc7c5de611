//! The settings of a function as flags, shared by `deploy` and `update`.

use std::{collections::BTreeMap, fs, path::PathBuf};

use clap::Args;
use warren_model::{Route, native::FunctionSpec};

use super::failure::Failure;

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
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<i64>,
    /// Memory, in MiB (128 to 10240)
    #[arg(long, value_name = "MB")]
    memory: Option<i64>,
    /// Size of /tmp, in MiB (512 to 10240)
    #[arg(long, value_name = "MB")]
    storage: Option<i64>,
    /// Environment variable; repeatable, all together replace those before
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = parse_pair)]
    variables: Vec<(String, String)>,
    /// File of environment variables, NAME=VALUE on each line; --env overrules it
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Isolation (`warren engines` lists them)
    #[arg(long, value_name = "NAME")]
    engine: Option<String>,
    /// What it may reach: none, or internet (no private network, no host, no metadata address) [default: internet where the server's machine can enforce it]
    #[arg(long, value_name = "POLICY")]
    network: Option<String>,
    /// A destination that it may reach, and nothing else: ADDRESS:PORT, ADDRESS/BITS:PORT or [IPV6]:PORT; repeatable
    #[arg(long = "allow", value_name = "DESTINATION", conflicts_with = "network")]
    allow: Vec<String>,
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
            network: self.network(),
            description: self.description.clone(),
            tags: (!self.tags.is_empty()).then(|| self.tags.iter().cloned().collect()),
            routes: self.routes()?,
            reserved_concurrency: self.concurrency.map(|concurrency| match concurrency {
                Concurrency::None => None,
                Concurrency::Reserved(limit) => Some(limit),
            }),
            ..FunctionSpec::default()
        })
    }

    fn network(&self) -> Option<String> {
        match self.allow.is_empty() {
            true => self.network.clone(),
            false => Some(format!("allow:{}", self.allow.join(" "))),
        }
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
        all.extend(self.variables.iter().cloned());
        Ok(Some(all))
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
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
        let value = value.trim();
        let bare = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
        variables.insert(name.trim_end().to_owned(), bare.unwrap_or(value).to_owned());
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files_are_read_line_by_line() {
        let read = parse_env_file("# c\n\nA=1\nexport B = \"x y\"\nC='='\nD=\n").unwrap();
        let pairs: Vec<_> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "x y"), ("C", "="), ("D", "")]);
        let (line, _) = parse_env_file("A=1\nnonsense\n").unwrap_err();
        assert_eq!(line, 2);
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
    fn both_spellings_of_a_route_are_one() {
        assert_eq!(parse_route("GET /a/:id"), parse_route("get /a/{id}"));
        assert!(parse_route("/a").is_err());
    }
}
