use clap::Args as ClapArgs;
use warren_model::native::FunctionSpec;

use super::{
    connection::Connection, deployed, failure::Failure, flags::FunctionFlags,
    function::RoutesAddress, output::Output, wait,
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
    let before = wait::settled(&client, function).await?;
    let mut changed = client.update(&args.name, &spec).await?;
    if !args.no_wait {
        changed.function = wait::settled(&client, changed.function).await?;
        wait::check(&changed.function)?;
    }
    deployed::warn(&changed);
    let routes = RoutesAddress::ask(&client).await?;
    args.output.print(&changed, |changed| {
        deployed::text(changed, Some(&before), &routes)
    })
}
