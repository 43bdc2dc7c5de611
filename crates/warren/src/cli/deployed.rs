//! What a change made of a function, as people read it.

use std::collections::BTreeMap;

use warren_model::native::{Deployed, Function};

use super::{
    flags::flag_of,
    function::{RoutesAddress, summary},
};

/// What was done, and what matters of the function as it is now. `before` is the function before the change.
pub(super) fn text(
    deployed: &Deployed,
    before: Option<&Function>,
    routes: &RoutesAddress,
) -> String {
    let function = &deployed.function;
    let what = match (deployed.created, deployed.changed.as_slice()) {
        (true, _) => "created".to_owned(),
        (false, []) => "nothing had to change".to_owned(),
        (false, changed) => {
            let names = changed.iter().map(|name| flag_of(name).unwrap_or(name));
            format!("changed: {}", names.collect::<Vec<_>>().join(", "))
        }
    };
    let state = match function.in_preparation() {
        true => "is being prepared",
        false => "is active",
    };
    let variables = before.map(|before| variables(&before.environment, &function.environment));
    format!(
        "{} {state} ({what})\n{}",
        function.name,
        summary(function, routes, variables.unwrap_or_default()),
    )
}

/// Says what the server warns of.
pub(super) fn warn(deployed: &Deployed) {
    for warning in &deployed.warnings {
        eprintln!("warning: {warning}");
    }
}

/// The names of the variables that were set or removed; values may be secrets.
fn variables(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let names = |names: Vec<&String>| {
        let names: Vec<_> = names.into_iter().map(String::as_str).collect();
        names.join(", ")
    };
    let set = after
        .iter()
        .filter(|(name, value)| before.get(*name) != Some(*value));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let set = names(set.map(|(name, _)| name).collect());
    let removed = names(removed.collect());
    match (set.is_empty(), removed.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!("{set} set"),
        (true, false) => format!("removed {removed}"),
        (false, false) => format!("{set} set; removed {removed}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::function::tests::example;

    #[test]
    fn a_change_is_told_in_flags_and_names_what_it_removed() {
        let client = warren_client::Client::new("http://127.0.0.1:7070", None).unwrap();
        let list = warren_model::native::RouteList {
            routes: Vec::new(),
            port: Some(7071),
        };
        let routes = RoutesAddress::of(&client, &list);
        let before = example();
        let mut function = example();
        function.environment = BTreeMap::from([
            ("A".to_owned(), "1".to_owned()),
            ("C".to_owned(), "3".to_owned()),
        ]);
        let changed = ["reserved_concurrency", "timeout_s", "environment", "code"];
        let deployed = Deployed {
            function,
            created: false,
            changed: changed.map(str::to_owned).to_vec(),
            warnings: Vec::new(),
        };
        insta::assert_snapshot!(text(&deployed, Some(&before), &routes));
        let unchanged = Deployed {
            function: example(),
            created: false,
            changed: Vec::new(),
            warnings: Vec::new(),
        };
        let text = text(&unchanged, Some(&before), &routes);
        assert!(text.starts_with("hello is active (nothing had to change)"));
        assert!(!text.contains("env"), "{text}");
    }
}
