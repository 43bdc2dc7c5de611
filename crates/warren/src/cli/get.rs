use clap::Args as ClapArgs;

use super::{
    connection::Connection,
    failure::Failure,
    function::{RoutesAddress, details},
    output::Output,
};

/// `warren get`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The function
    name: String,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = args.connection.client()?;
    let function = client.function(&args.name).await?;
    let routes = RoutesAddress::ask(&client).await?;
    args.output
        .print(&function, |function| details(function, &routes))
}
