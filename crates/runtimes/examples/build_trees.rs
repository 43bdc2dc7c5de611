//! Builds root file systems into the cache: all of them, or those named. An argument with a slash is a folder of further recipes.
//! `cargo run --release --workspace --example build_trees -- python3.13 tests/fixtures/runtimes/`

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;

use warren_runtimes::{Catalogue, Trees};

#[tokio::main]
async fn main() -> ExitCode {
    match build().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn build() -> Result<(), Box<dyn Error>> {
    let (folders, asked): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.contains('/'));
    let catalogue = match folders.as_slice() {
        [] => Catalogue::built_in()?,
        [folder] => Catalogue::load(Path::new(folder))?,
        _ => return Err("one folder of recipes at most".into()),
    };
    if let Some(error) = catalogue.rejected().first() {
        return Err(error.to_string().into());
    }
    let folder = Trees::default_folder().ok_or("neither WARREN_CACHE nor HOME is set")?;
    let trees = Trees::new(folder);
    for recipe in catalogue.recipes() {
        if !asked.is_empty() && !asked.contains(&recipe.id) {
            continue;
        }
        let last = Mutex::new(String::new());
        let tree = trees
            .ensure(recipe, |progress| {
                let line = progress.to_string();
                if let Ok(mut last) = last.lock()
                    && *last != line
                {
                    println!("{line}");
                    *last = line;
                }
            })
            .await?;
        println!(
            "{}: {} MB, built in {:.1} s, {}",
            recipe.id,
            tree.size_bytes / 1_000_000,
            tree.build_ms as f64 / 1000.0,
            tree.path.display()
        );
    }
    Ok(())
}
