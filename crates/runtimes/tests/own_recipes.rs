//! The recipe of `tests/fixtures/runtimes`, as a user would add it: a folder, and nothing else changes.

use std::path::Path;

use warren_runtimes::{Catalogue, Interface, Kit};

#[test]
fn the_bash_recipe_of_the_tests_is_a_language_like_the_built_in_ones() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/runtimes");
    let catalogue = Catalogue::load(&own).expect("the folder is readable");
    assert!(
        catalogue.rejected().is_empty(),
        "{:?}",
        catalogue.rejected()
    );
    let found = catalogue.resolve("bash5").expect("its id resolves");
    assert!(!found.stands_in);
    assert_eq!(found.recipe.interface, Interface::RuntimeApi);

    let data = tempfile::tempdir().expect("a temporary folder");
    let kit = Kit::install(data.path(), &catalogue).expect("the kit is laid out");
    let runtime = kit
        .runtime_folder(&found.recipe)
        .expect("it has a bootstrap");
    assert!(runtime.join("bootstrap.sh").is_file());
}
