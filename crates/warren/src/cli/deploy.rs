use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args as ClapArgs;
use serde::Serialize;
use warren_client::Client;
use warren_model::native::{CodeSpec, Deployed, Function, FunctionSpec, Runtime};

use super::{
    connection::Connection, deployed, failure::Failure, flags::FunctionFlags,
    function::RoutesAddress, guess, output::Output, package, program, source::Source, wait,
};

const EXAMPLES: &str = "\
Examples:
  warren deploy examples/hello-python --route 'GET /hello'
  warren deploy app.py --name hello --memory 256 --env STAGE=test
  warren deploy code.zip --runtime nodejs22.x --handler index.handler

A second deploy changes what is not as you say, and leaves what you don't say as it is.";

/// `warren deploy`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder, file or zip with the code; of a folder .git, .venv, __pycache__, .DS_Store, and a venv with a pyvenv.cfg are left out
    path: PathBuf,
    /// Name of the function [default: that of the folder or file]
    #[arg(long)]
    name: Option<String>,
    /// Don't wait until it is prepared
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    function: FunctionFlags,
    #[command(flatten)]
    connection: Connection,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    deployed: Deployed,
    /// The routes as URLs.
    urls: Vec<String>,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let source = Source::read(&args.path)?;
    if let Some(packed) = &source.packed {
        eprintln!("{packed}");
    }
    let name = args
        .name
        .clone()
        .or_else(|| source.name.clone())
        .ok_or_else(|| {
            Failure::usage(format!("{} gives no name", args.path.display()))
                .hint("Name the function with --name.")
        })?;
    let mut spec = args.function.spec()?;
    let client = args.connection.client()?;
    let mut before = existing(&client, &name).await?;
    let runtimes = client.runtimes().await?.runtimes;
    match before.take() {
        // An update is refused while another one is under way.
        Some(function) => before = Some(wait::settled(&client, function).await?),
        None => complete(&runtimes, &mut spec, &source)?,
    }
    let broken = look_through(&runtimes, &spec, before.as_ref(), &source);
    spec.code = Some(CodeSpec::Zip(STANDARD.encode(&source.zip)));
    let mut deployed = client.deploy(&name, &spec).await?;
    if !args.no_wait {
        deployed.function = wait::settled(&client, deployed.function).await?;
        wait::check(&deployed.function)?;
    }
    if deployed.created && spec.network.is_none() && deployed.function.network == "none" {
        eprintln!(
            "{}",
            program::commands(
                "It has no network: the server's machine lacks what the policy 'internet' needs (`warren doctor` says what). --network none says that this is meant."
            )
        );
    }
    deployed::warn(&deployed);
    let routes = RoutesAddress::ask(&client).await?;
    let report = Report {
        urls: routes.routes(&deployed.function),
        deployed,
    };
    args.output.print(&report, |report| {
        let text = deployed::text(&report.deployed, before.as_ref(), &routes);
        match &broken {
            Some(why) => format!("{text}\nEvery call will fail until this is mended: {why}\n"),
            None => text + &next(&report.deployed.function, &routes, program::command),
        }
    })
}

async fn existing(client: &Client, name: &str) -> Result<Option<Function>, Failure> {
    match client.function(name).await {
        Ok(function) => Ok(Some(function)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn find<'r>(runtimes: &'r [Runtime], id: &str) -> Option<&'r Runtime> {
    let serves = |runtime: &&Runtime| {
        runtime.id == id || runtime.stands_in_for.iter().any(|other| other == id)
    };
    runtimes.iter().find(serves)
}

/// Says what may not be meant; the answer is why no call can work, if none can.
fn look_through(
    runtimes: &[Runtime],
    spec: &FunctionSpec,
    before: Option<&Function>,
    source: &Source,
) -> Option<String> {
    let runtime = spec.runtime.as_ref().or(before.map(|f| &f.runtime));
    let handler = spec.handler.as_ref().or(before.map(|f| &f.handler));
    let runtime = runtime.and_then(|id| find(runtimes, id));
    for warning in package::warnings(source, runtime) {
        eprintln!("warning: {warning}");
    }
    let broken = package::broken(source, runtime, handler.map_or("", String::as_str))?;
    let broken = program::commands(&broken);
    eprintln!("warning: {broken} Every call will fail until that is mended.");
    Some(broken)
}

/// Guesses what a new function needs and nobody said, and says so.
fn complete(runtimes: &[Runtime], spec: &mut FunctionSpec, source: &Source) -> Result<(), Failure> {
    if spec.runtime.is_some() && spec.handler.is_some() {
        return Ok(());
    }
    let runtime = match &spec.runtime {
        Some(id) => match find(runtimes, id) {
            Some(runtime) => runtime,
            // The server refuses it, with all that there are.
            None => {
                spec.handler.get_or_insert_with(|| "app.handler".to_owned());
                return Ok(());
            }
        },
        None => {
            let (runtime, file) = guess::runtime(&source.files, runtimes)?;
            eprintln!(
                "Taking {} ({}) for the runtime because of {file}; --runtime chooses another.",
                runtime.id, runtime.title
            );
            spec.runtime = Some(runtime.id.clone());
            runtime
        }
    };
    if spec.handler.is_none() {
        let handler = guess::handler(&source.files, runtime)?;
        eprintln!("Taking {handler} for the handler; --handler names another.");
        spec.handler = Some(handler);
    }
    Ok(())
}

/// What can be done with a function; `command` makes commands of this program.
fn next(function: &Function, routes: &RoutesAddress, command: fn(&str) -> String) -> String {
    let mut text = format!(
        "\nTry next:\n  {}\n",
        command(&format!("invoke {} --data '{{}}'", function.name))
    );
    let path = function.routes.iter().find_map(|route| callable(route));
    if let Some(path) = path.filter(|_| routes.is_known()) {
        text.push_str(&format!("  curl {}\n", routes.url(path)));
    }
    text.push_str(&format!(
        "  {}\n",
        command(&format!("logs {} --follow", function.name))
    ));
    text
}

/// The path of a route that a plain `curl` gets.
fn callable(route: &str) -> Option<&str> {
    let (method, path) = route.split_once(' ')?;
    (["GET", "ANY"].contains(&method) && !path.contains('{')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::function::tests::example;

    #[test]
    fn only_plain_routes_are_offered_to_curl() {
        assert_eq!(callable("GET /a"), Some("/a"));
        assert_eq!(callable("ANY /"), Some("/"));
        assert_eq!(callable("POST /a"), None);
        assert_eq!(callable("GET /a/{id}"), None);
    }

    #[test]
    fn a_deploy_says_what_it_did() {
        let list = warren_model::native::RouteList {
            routes: Vec::new(),
            port: Some(7071),
        };
        let client = Client::new("http://127.0.0.1:7070", None).unwrap();
        let routes = RoutesAddress::of(&client, &list);
        let mut function = example();
        function.routes.push("GET /hello".to_owned());
        let created = Deployed {
            function,
            created: true,
            changed: Vec::new(),
            warnings: Vec::new(),
        };
        let text = deployed::text(&created, None, &routes);
        let next = next(&created.function, &routes, |rest| format!("warren {rest}"));
        insta::assert_snapshot!(text + &next);
    }
}
