use std::fs;

use super::*;
use crate::recipe::tests::GOOD;

fn with_own(recipes: &[(&str, String)]) -> (tempfile::TempDir, Catalogue) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in recipes {
        let recipe = folder.path().join(name);
        fs::create_dir_all(recipe.join("runtime")).unwrap();
        fs::write(recipe.join(RECIPE_FILE), text).unwrap();
        fs::write(recipe.join("runtime/bootstrap.rb"), "loop {}").unwrap();
    }
    let catalogue = Catalogue::load(folder.path()).unwrap();
    (folder, catalogue)
}

#[test]
fn the_built_in_recipes_are_sound() {
    let catalogue = Catalogue::built_in().unwrap();
    let ids: Vec<&str> = catalogue.recipes().map(|r| r.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "nodejs20.x",
            "nodejs22.x",
            "nodejs24.x",
            "provided.al2023",
            "python3.13"
        ]
    );
    for recipe in catalogue.recipes() {
        assert!(
            recipe.tree.size_mb > 0 && recipe.tree.download_mb > 0,
            "{}",
            recipe.id
        );
        assert_ne!(Lifecycle::of(&recipe.id), Lifecycle::Unknown);
        let bootstrap = catalogue.bootstrap_files(recipe);
        assert_eq!(
            bootstrap.is_some(),
            recipe.interface == crate::Interface::Stream
        );
    }
}

#[test]
fn an_older_python_is_served_openly_by_a_newer_one() {
    let catalogue = Catalogue::built_in().unwrap();
    assert!(!catalogue.resolve("python3.13").unwrap().stands_in);
    for id in ["python3.9", "python3.10", "python3.11", "python3.12"] {
        let found = catalogue.resolve(id).unwrap();
        assert!(found.stands_in);
        assert_eq!(found.recipe.id, "python3.13");
    }
    assert!(catalogue.resolve("provided.al2").unwrap().stands_in);
}

#[test]
fn refusals_tell_dead_missing_and_misspelt_runtimes_apart() {
    let catalogue = Catalogue::built_in().unwrap();
    for id in ["python3.6", "nodejs14.x", "provided", "go1.x"] {
        let error = catalogue.resolve(id).unwrap_err();
        assert!(matches!(error, ResolveError::Deprecated { .. }), "{error}");
        assert!(error.to_string().starts_with(&format!(
            "The runtime parameter of {id} is no longer supported"
        )));
    }
    for (id, words) in [
        (
            "python2.7",
            "Nearest here: python3.13, python3.12, python3.11,",
        ),
        (
            "nodejs14.x",
            "Nearest here: nodejs24.x, nodejs22.x, nodejs20.x.",
        ),
        ("provided", "Nearest here: provided.al2023, provided.al2."),
        ("go1.x", "provided.al2023 runs any program"),
    ] {
        let error = catalogue.resolve(id).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
    for id in ["java21", "python3.14"] {
        let error = catalogue.resolve(id).unwrap_err();
        assert!(matches!(error, ResolveError::NotOffered { .. }), "{error}");
    }
    let error = catalogue.resolve("python313").unwrap_err();
    assert_eq!(
        error.to_string(),
        "the runtime \"python313\" is not known; there are nodejs20.x, nodejs22.x, nodejs24.x, provided.al2, provided.al2023, \
         python3.10, python3.11, python3.12, python3.13, python3.9"
    );
}

#[test]
fn an_own_recipe_adds_a_language_and_may_replace_a_built_in_one() {
    let own = GOOD
        .replace("ruby3.4", "python3.13")
        .replace("ruby3.3", "python3.12");
    let (_folder, catalogue) = with_own(&[("a", GOOD.to_owned()), ("b", own)]);
    assert!(catalogue.rejected().is_empty());
    assert_eq!(catalogue.resolve("ruby3.3").unwrap().recipe.id, "ruby3.4");
    assert_eq!(
        catalogue.resolve("python3.13").unwrap().recipe.family,
        "ruby"
    );
    assert_eq!(
        catalogue.resolve("python3.12").unwrap().recipe.family,
        "ruby"
    );
    // What the replaced recipe stood in for is gone with it.
    assert!(catalogue.resolve("python3.11").is_err());
}

#[test]
fn a_recipe_of_its_own_wins_over_one_that_stands_in() {
    let own = GOOD
        .replace("ruby3.4", "python3.12")
        .replace("ruby3.3", "ruby3.2");
    let (_folder, catalogue) = with_own(&[("a", own)]);
    let found = catalogue.resolve("python3.12").unwrap();
    assert!(!found.stands_in);
    assert_eq!(found.recipe.family, "ruby");
}

#[test]
fn a_broken_own_recipe_is_left_out_and_named() {
    let broken = GOOD.replace("\"trixie\"", "\"\"");
    let twice = GOOD.to_owned();
    let (_folder, catalogue) = with_own(&[("a", GOOD.to_owned()), ("b", broken), ("c", twice)]);
    let faults: Vec<String> = catalogue
        .rejected()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults[0].contains("b/recipe.toml") && faults[0].contains("`tree.suite`"),
        "{faults:?}"
    );
    assert!(
        faults[1].contains("c/recipe.toml") && faults[1].contains("`id`"),
        "{faults:?}"
    );
    assert!(catalogue.resolve("ruby3.4").is_ok());
}
