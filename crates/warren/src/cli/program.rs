//! How this program was called, for the commands that hints name.

use std::ffi::OsString;

use clap::Subcommand;

use super::Command;

/// What people type instead of `warren`: the first argument, as it was given.
pub(super) fn name() -> String {
    let called = std::env::args_os().next();
    let called = called.map(|called| called.to_string_lossy().into_owned());
    quoted(called.filter(|called| !called.is_empty()))
}

fn quoted(called: Option<String>) -> String {
    word(&called.unwrap_or_else(|| "warren".to_owned()))
}

/// One word of a shell.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "/._-+~:=@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

/// A command that can be typed as it is: with the program's name, and with the server and the data folder that were named to this one.
pub(super) fn command(rest: &str) -> String {
    format!("{} {rest}{}", name(), connection(std::env::args_os()))
}

/// A text whose commands (`warren ...` in quotes) can be typed as they are.
pub(super) fn commands(text: &str) -> String {
    with_name(text, &name(), &connection(std::env::args_os()))
}

/// The flags among these arguments that say where the server is, as they are written behind another command. A key is named and not repeated.
fn connection(arguments: impl Iterator<Item = OsString>) -> String {
    const FLAGS: [&str; 3] = ["--server", "--data-dir", "--key"];
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let mut text = String::new();
    while let Some(argument) = arguments.next().filter(|argument| argument != "--") {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (argument, None),
        };
        if !FLAGS.contains(&flag.as_str()) {
            continue;
        }
        match value.or_else(|| arguments.next()) {
            Some(_) if flag == "--key" => text.push_str(" --key ID:SECRET"),
            Some(value) => text.push_str(&format!(" {flag} {}", word(&value))),
            None => {}
        }
    }
    text
}

/// Whether a command asks a server, which can be named to it.
fn asks_a_server(command: &str) -> bool {
    let all = Command::augment_subcommands(clap::Command::new("warren"));
    let command = all.find_subcommand(command);
    command.is_some_and(|command| {
        let mut flags = command.get_arguments();
        flags.any(|flag| flag.get_long() == Some("server"))
    })
}

fn with_name(text: &str, name: &str, connection: &str) -> String {
    let mut found = String::new();
    let mut rest = text;
    loop {
        let next = ['`', '\'']
            .into_iter()
            .filter_map(|quote| Some((rest.find(&format!("{quote}warren "))?, quote)))
            .min();
        let Some((begin, quote)) = next else {
            return found + rest;
        };
        let (before, command) = rest.split_at(begin + 1);
        let command = &command["warren ".len()..];
        let (command, after) = command.split_at(command.find(quote).unwrap_or(command.len()));
        found.push_str(&format!("{before}{name} {command}"));
        let first = command.split(' ').next().unwrap_or_default();
        if !connection.is_empty() && asks_a_server(first) && !command.contains("--help") {
            found.push_str(connection);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_named_as_the_program_was_called() {
        assert_eq!(quoted(None), "warren");
        assert_eq!(quoted(Some("./my warren".to_owned())), "'./my warren'");
        let name = quoted(Some("target/release/warren".to_owned()));
        assert_eq!(
            with_name(
                "`warren list` or 'warren logs f'; no warren serves",
                &name,
                ""
            ),
            "`target/release/warren list` or 'target/release/warren logs f'; no warren serves"
        );
    }

    #[test]
    fn the_server_that_was_named_is_named_again() {
        let given = |words: &[&str]| connection(words.iter().map(OsString::from));
        let flags = given(&[
            "warren",
            "invoke",
            "f",
            "--server",
            "http://b:1",
            "--data-dir=my dir",
        ]);
        assert_eq!(flags, " --server http://b:1 --data-dir 'my dir'");
        assert_eq!(
            given(&["warren", "list", "--key", "A:b"]),
            " --key ID:SECRET"
        );
        assert_eq!(given(&["warren", "get", "--", "--server"]), "");
        assert_eq!(
            with_name(
                "`warren logs f` or `warren serve`; `warren update --help`, 'warren list",
                "warren",
                " --server http://b:1"
            ),
            "`warren logs f --server http://b:1` or `warren serve`; `warren update --help`, 'warren list --server http://b:1"
        );
        for (command, asks) in [
            ("run app.py", true),
            ("calls f", true),
            ("invoke f", true),
            ("doctor", true),
            ("env", true),
            ("completions bash", false),
            ("serve", false),
            ("nothing", false),
        ] {
            let named = with_name(&format!("'warren {command}'"), "warren", " --server b");
            assert_eq!(named.contains("--server"), asks, "{named}");
        }
    }
}
