//! Every case of `tests/fixtures/packages/cases.toml` against the check; `tests/e2e/test_packages.py` sends the same zips to a server.

#[path = "../examples/hostile_packages/cases/mod.rs"]
#[allow(dead_code, reason = "shared with an example")]
mod cases;

use std::collections::BTreeMap;

use warren_package::{Limits, PackageError, Target, check};

/// As the catalogue has it: the family, and what runs.
fn target(runtime: &str) -> Target {
    match runtime {
        "python3.12" | "python3.13" => Target::here("python", runtime, "python3.13"),
        "nodejs22.x" => Target::here("nodejs", runtime, runtime),
        "provided.al2023" => Target::here("provided", runtime, runtime),
        other => panic!("no target for {other}"),
    }
}

#[tokio::test]
async fn every_case_comes_to_what_the_table_says() {
    let mut wrong = Vec::new();
    for case in cases::all() {
        let Some(zip) = cases::zip(&case.name) else {
            wrong.push(format!("{}: no zip", case.name));
            continue;
        };
        let result = check(zip.into(), Limits::default(), target(&case.runtime)).await;
        let code = result.as_ref().err().map(|error| match error {
            PackageError::ZipTooLarge { .. } => ("RequestEntityTooLargeException", 413),
            _ => ("InvalidParameterValueException", 400),
        });
        let message = result.err().map(|error| error.to_string());
        let stated = case.code.as_deref().map(|code| (code, case.status));
        if message != case.message || code != stated {
            wrong.push(format!("{}: {code:?} {message:?}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_class_has_three_hostile_cases() {
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for case in cases::all() {
        *classes.entry(case.class).or_default() += usize::from(case.code.is_some());
    }
    assert!(classes.values().sum::<usize>() >= 30);
    for (class, cases) in classes {
        assert!(cases >= 3, "{class}: {cases}");
    }
}
