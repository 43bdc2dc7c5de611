//! Help texts, as they are printed.

use clap::CommandFactory;

#[test]
fn the_command_line_is_in_order() {
    crate::Cli::command().debug_assert();
}

#[test]
fn help_of_every_command() {
    let mut cli = crate::Cli::command().term_width(100);
    cli.build();
    insta::assert_snapshot!("help_warren", cli.render_help());
    for command in cli.get_subcommands_mut() {
        let name = command.get_name().to_owned();
        if name != "serve" && name != "help" {
            let help = command.clone().term_width(100).render_help();
            insta::assert_snapshot!(format!("help_{name}"), help);
        }
    }
}
