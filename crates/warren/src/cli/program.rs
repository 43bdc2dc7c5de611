//! How this program was called, for the commands that hints name.

/// What people type instead of `warren`: the first argument, as it was given.
pub(super) fn name() -> String {
    let called = std::env::args_os().next();
    let called = called.map(|called| called.to_string_lossy().into_owned());
    quoted(called.filter(|called| !called.is_empty()))
}

fn quoted(called: Option<String>) -> String {
    let called = called.unwrap_or_else(|| "warren".to_owned());
    let plain = |c: char| c.is_alphanumeric() || "/._-+~".contains(c);
    match called.chars().all(plain) {
        true => called,
        false => format!("'{}'", called.replace('\'', r"'\''")),
    }
}

/// A text whose commands (`warren ...` in quotes) can be typed as they are.
pub(super) fn commands(text: &str) -> String {
    with_name(text, &name())
}

fn with_name(text: &str, name: &str) -> String {
    text.replace("`warren ", &format!("`{name} "))
        .replace("'warren ", &format!("'{name} "))
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
            with_name("`warren list` or 'warren logs f'; no warren serves", &name),
            "`target/release/warren list` or 'target/release/warren logs f'; no warren serves"
        );
    }
}
