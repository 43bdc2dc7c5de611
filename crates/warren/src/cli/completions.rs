use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;

use super::{failure::Failure, output};

const EXAMPLES: &str = "\
Examples:
  warren completions bash > ~/.local/share/bash-completion/completions/warren
  warren completions fish > ~/.config/fish/completions/warren.fish";

/// `warren completions`.
#[derive(Debug, ClapArgs)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::Cli::command(),
        "warren",
        &mut script,
    );
    output::raw(&script)
}
