use clap::Args as ClapArgs;
use warren_model::native::{Deployed, FunctionSpec};

use super::{
    connection::Connection,
    failure::Failure,
    flags::FunctionFlags,
    function::{RoutesAddress, summary},
    output::Output,
    wait,
};

const EXAMPLES: &str = "\
Examples:
  warren update hello --memory 512 --timeout 30
  warren update hello --env STAGE=prod --env LEVEL=info
  warren update hello --route none --concurrency none";

/// `warren update`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The function
    name: String,
    /// Don't wait until the change is in force
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    function: FunctionFlags,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let spec = args.function.spec()?;
    if spec == FunctionSpec::default() {
        return Err(Failure::usage("no setting to change was given")
            .hint("`warren update --help` lists them; `warren deploy` replaces code."));
    }
    let client = args.connection.client()?;
    let function = client.function(&args.name).await?;
    // An update is refused while another one is under way.
    wait::settled(&client, function).await?;
    let mut deployed = client.update(&args.name, &spec).await?;
    if !args.no_wait {
        deployed.function = wait::settled(&client, deployed.function).await?;
        wait::check(&deployed.function)?;
    }
    let routes = RoutesAddress::ask(&client).await?;
    args.output
        .print(&deployed, |deployed| text(deployed, &routes))
}

fn text(deployed: &Deployed, routes: &RoutesAddress) -> String {
    let what = match deployed.changed.as_slice() {
        [] => "nothing had to change".to_owned(),
        changed => format!("changed: {}", changed.join(", ")),
    };
    let function = &deployed.function;
    format!("{} ({what})\n{}", function.name, summary(function, routes))
}
