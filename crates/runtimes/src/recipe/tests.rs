use std::borrow::Cow;
use std::path::Path;

use super::*;

pub(crate) const GOOD: &str = r#"
id = "ruby3.4"
title = "Ruby 3.4"
family = "ruby"
stands_in_for = ["ruby3.3"]
interface = "stream"
command = ["/usr/bin/ruby", "/var/runtime/bootstrap.rb"]
bootstrap = "./runtime"
example_handler = "app.handler"

[environment]
GEM_PATH = "/opt/ruby"

[tree]
suite = "trixie"
packages = ["ruby"]
size_mb = 150
download_mb = 40
"#;

pub(crate) fn folder(recipe: &str) -> Files {
    let mut files = Files::default();
    let mut add = |name: &str, text: &str| {
        files.add(
            Path::new(name),
            Cow::Owned(text.as_bytes().to_vec()),
            name.ends_with(".sh"),
        );
    };
    add(RECIPE_FILE, recipe);
    add("runtime/bootstrap.rb", "loop {}");
    files
}

fn parse(recipe: &str) -> Result<Recipe, RecipeError> {
    Recipe::parse(
        "recipes/ruby",
        folder(recipe),
        Origin::BuiltIn,
        &Shared::default(),
    )
}

#[test]
fn a_good_recipe_is_read_as_written() {
    let recipe = parse(GOOD).unwrap();
    assert_eq!(recipe.id, "ruby3.4");
    assert_eq!(recipe.interface, Interface::Stream);
    assert_eq!(recipe.bootstrap, Some(Bootstrap::Own("runtime".to_owned())));
    assert_eq!(recipe.environment["GEM_PATH"], "/opt/ruby");
    assert!(recipe.serves("ruby3.3"));
    assert!(!recipe.serves("ruby3.2"));
    assert!(!recipe.sized_by_memory);
    let sized = parse(&format!("sized_by_memory = true\n{GOOD}")).unwrap();
    assert!(sized.sized_by_memory);
    // It says nothing of the tree.
    assert_eq!(sized.tree_digest(), recipe.tree_digest());
}

#[test]
fn each_fault_names_its_file_and_field() {
    let cases = [
        ("\"ruby3.4\"", "\"../x\"", "`id`"),
        ("\"Ruby 3.4\"", "\" \"", "`title`"),
        ("\"ruby3.3\"", "\"ruby3.4\"", "`stands_in_for`"),
        ("\"/usr/bin/ruby\"", "\"ruby\"", "`command`"),
        ("\"./runtime\"", "\"ruby\"", "`bootstrap`"),
        ("\"./runtime\"", "\"./../etc\"", "`bootstrap`"),
        ("\"./runtime\"", "\"./nothing\"", "`bootstrap`"),
        ("GEM_PATH", "\"GEM-PATH\"", "`environment`"),
        ("\"trixie\"", "\"--help\"", "`tree.suite`"),
        ("[\"ruby\"]", "[\"ruby,x\"]", "`tree.packages`"),
        ("[\"ruby\"]", "[]\nparts = [\"x\"]", "`tree.parts`"),
        ("\"app.handler\"", "\"\"", "`example_handler`"),
    ];
    for (from, to, field) in cases {
        let error = parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(
            error.contains("recipes/ruby/recipe.toml") && error.contains(field),
            "{from} -> {to}: {error}"
        );
    }
}

#[test]
fn unknown_and_missing_fields_are_refused() {
    let error = parse(&GOOD.replace("family", "familly")).unwrap_err();
    assert!(matches!(error, RecipeError::Syntax { .. }));
    assert!(error.to_string().contains("familly"), "{error}");
    let error = parse(&GOOD.replace("interface = \"stream\"\n", "")).unwrap_err();
    assert!(error.to_string().contains("interface"), "{error}");
    let error = parse(&GOOD.replace("\"stream\"", "\"http\"")).unwrap_err();
    assert!(error.to_string().contains("runtime-api"), "{error}");
}

#[test]
fn the_tree_digest_covers_what_the_tree_is_made_of_and_nothing_else() {
    let base = parse(GOOD).unwrap().tree_digest().clone();
    let with = |from: &str, to: &str| {
        parse(&GOOD.replace(from, to))
            .unwrap()
            .tree_digest()
            .clone()
    };
    assert_eq!(base, with("Ruby 3.4", "Ruby"));
    assert_eq!(base, with("150", "151"));
    assert_ne!(base, with("[\"ruby\"]", "[\"ruby\", \"tzdata\"]"));
    assert_ne!(base, with("trixie", "forky"));
    let mut files = folder(GOOD);
    files.add(Path::new(BUILD_FILE), Cow::Borrowed(b"#!/bin/sh"), true);
    let built = Recipe::parse("x", files, Origin::BuiltIn, &Shared::default()).unwrap();
    assert_ne!(&base, built.tree_digest());
    assert_eq!(base.as_str().parse::<TreeDigest>().unwrap(), base);
    assert!("../../etc".parse::<TreeDigest>().is_err());
}
