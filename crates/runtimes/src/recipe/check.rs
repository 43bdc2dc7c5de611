//! The rules of `recipe.toml`, field by field. Names end up in file names and on command lines, so their alphabets are narrow.

use super::{BUILD_FILE, RecipeToml, Shared};
use crate::files::Files;

/// Longest id, family or name.
const MAX_NAME: usize = 64;

/// One field that breaks its rule.
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) problem: String,
}

fn fault(field: &str, problem: impl Into<String>) -> Fault {
    Fault {
        field: field.to_owned(),
        problem: problem.into(),
    }
}

pub(super) fn check(raw: &RecipeToml, files: &Files, shared: &Shared) -> Result<(), Fault> {
    name("id", &raw.id)?;
    if raw.title.trim().is_empty() || raw.title.chars().any(char::is_control) {
        return Err(fault("title", "must be one line of text"));
    }
    name("family", &raw.family)?;
    for other in &raw.stands_in_for {
        name("stands_in_for", other)?;
        if *other == raw.id {
            return Err(fault("stands_in_for", "names the recipe's own id"));
        }
    }
    command("command", &raw.command)?;
    if let Some(script) = &raw.script {
        command("script.command", &script.command)?;
        if script.endings.is_empty() {
            return Err(fault("script.endings", "must have one at least"));
        }
        for ending in &script.endings {
            name("script.endings", ending)?;
        }
    }
    if raw.example_handler.trim().is_empty() {
        return Err(fault("example_handler", "must not be empty"));
    }
    environment(raw)?;
    bootstrap(raw, files, shared)?;
    tree(raw, shared)
}

/// Lower-case letters, digits, dots, dashes and underscores, beginning with a letter or digit.
fn name(field: &str, text: &str) -> Result<(), Fault> {
    let mut bytes = text.bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = bytes.next().is_some_and(plain)
        && bytes.all(|b| plain(b) || matches!(b, b'.' | b'-' | b'_'))
        && text.len() <= MAX_NAME;
    if good {
        return Ok(());
    }
    Err(fault(
        field,
        format!(
            "is {text:?}; it takes lower-case letters, digits, `.`, `-` and `_`, beginning with a letter or digit, at most {MAX_NAME} in all"
        ),
    ))
}

fn command(field: &str, words: &[String]) -> Result<(), Fault> {
    match words.first() {
        None => Err(fault(field, "must name a program")),
        Some(program) if !program.starts_with('/') => Err(fault(
            field,
            format!("begins with {program:?}; the program needs its full path in the tree"),
        )),
        Some(_) if words.iter().any(|word| word.contains('\0')) => {
            Err(fault(field, "holds a NUL character"))
        }
        Some(_) => Ok(()),
    }
}

fn environment(raw: &RecipeToml) -> Result<(), Fault> {
    for (key, value) in &raw.environment {
        let mut bytes = key.bytes();
        let good = bytes
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good {
            return Err(fault(
                "environment",
                format!("has the name {key:?}; it takes letters, digits and `_`"),
            ));
        }
        if value.contains('\0') {
            return Err(fault(
                &format!("environment.{key}"),
                "holds a NUL character",
            ));
        }
    }
    Ok(())
}

fn bootstrap(raw: &RecipeToml, files: &Files, shared: &Shared) -> Result<(), Fault> {
    let Some(folder) = &raw.bootstrap else {
        return Ok(());
    };
    if let Some(own) = folder.strip_prefix("./") {
        name("bootstrap", own)?;
        if files.below(own).is_empty() {
            return Err(fault(
                "bootstrap",
                format!("names {folder:?}, and there are no files in that folder of the recipe"),
            ));
        }
        return Ok(());
    }
    if shared.bootstraps.contains_key(folder) {
        return Ok(());
    }
    let known: Vec<&str> = shared.bootstraps.keys().map(String::as_str).collect();
    Err(fault(
        "bootstrap",
        format!(
            "names {folder:?}; shared ones are {}, and \"./NAME\" is a folder of the recipe's own",
            list(&known)
        ),
    ))
}

fn tree(raw: &RecipeToml, shared: &Shared) -> Result<(), Fault> {
    name("tree.suite", &raw.tree.suite)?;
    for package in &raw.tree.packages {
        let mut bytes = package.bytes();
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let good = package.len() > 1
            && bytes.next().is_some_and(plain)
            && bytes.all(|b| plain(b) || matches!(b, b'.' | b'-' | b'+'));
        if !good {
            return Err(fault(
                "tree.packages",
                format!("holds {package:?}, which is no name of a Debian package"),
            ));
        }
    }
    for part in &raw.tree.parts {
        let known = shared
            .parts
            .iter()
            .filter(|(_, files)| files.contains(BUILD_FILE));
        let known: Vec<&str> = known.map(|(name, _)| name.as_str()).collect();
        if !known.contains(&part.as_str()) {
            return Err(fault(
                "tree.parts",
                format!("names {part:?}; there are {}", list(&known)),
            ));
        }
    }
    for tool in &raw.tree.tools {
        // `g++` is one.
        name("tree.tools", tool.trim_end_matches('+'))?;
    }
    Ok(())
}

fn list(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
