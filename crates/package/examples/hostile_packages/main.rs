//! Writes the packages of `tests/fixtures/packages/cases.toml` into a folder, with `index.json` beside them, for the end-to-end tests.
//! usage: hostile_packages FOLDER

mod cases;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("which folder?")?);
    fs::create_dir_all(&folder)?;
    let all = cases::all();
    for case in &all {
        let zip = cases::zip(&case.name).ok_or_else(|| format!("no zip for {}", case.name))?;
        fs::write(folder.join(format!("{}.zip", case.name)), zip)?;
    }
    fs::write(folder.join("index.json"), serde_json::to_vec(&all)?)?;
    println!("{} packages in {}", all.len(), folder.display());
    Ok(())
}
