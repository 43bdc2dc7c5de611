//! Compiles the agent, fully static, so that the library can carry its bytes into every sandbox, and the addon by which Node.js gets new entropy.
//!
//! The agent by a nested cargo with a target folder of its own: the outer one holds the lock of the common folder while it runs this.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// What an outer cargo, or clippy through it, sets for the crate at hand; the agent's build must not inherit it.
const INHERITED: [&str; 10] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
];

/// A finished agent to carry instead of compiling one: for packagers.
const FINISHED_AGENT: &str = "WARREN_AGENT_BINARY";

fn main() -> ExitCode {
    match carry_agent().and_then(|()| carry_addon()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn carry_agent() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    for watched in [
        "build.rs",
        "../agent",
        "../protocol",
        "../../Cargo.toml",
        "../../runtimes",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(watched).display());
    }
    println!("cargo::rerun-if-env-changed={FINISHED_AGENT}");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let agent = match env::var_os(FINISHED_AGENT) {
        Some(finished) => PathBuf::from(finished),
        None => build_agent(&here.join("../../Cargo.toml"), &agent_target(&out))?,
    };
    // A copy of this build's own: the nested target folder is shared by every profile and by clippy.
    let copy = out.join("agent");
    fs::copy(&agent, &copy)
        .map_err(|error| format!("copy {} to {}: {error}", agent.display(), copy.display()))?;
    println!("cargo::rustc-env=WARREN_AGENT={}", copy.display());
    Ok(())
}

/// A shared object without any library: the compiler alone makes it.
fn carry_addon() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let source = here.join("addon/reseed.rs");
    println!("cargo::rerun-if-changed={}", source.display());
    let addon = PathBuf::from(env::var("OUT_DIR")?).join("reseed.node");
    let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(compiler)
        .args(["--edition", "2024", "--crate-type", "cdylib", "--target"])
        .arg(env::var("TARGET")?)
        .args(["-C", "panic=abort", "-C", "opt-level=s"])
        .args(["-C", "strip=symbols", "-C", "link-arg=-nostdlib", "-o"])
        .args([&addon, &source])
        .output()?;
    if !output.status.success() {
        return Err(format!(
            "the addon for Node.js does not compile ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    println!("cargo::rustc-env=WARREN_RESEED={}", addon.display());
    Ok(())
}

/// One folder for all builds beside the outer target folder's profiles, so that neither clippy nor another profile compiles the agent again; below
/// `OUT_DIR` where cargo lays its folders out otherwise.
fn agent_target(out: &Path) -> PathBuf {
    match out
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
    {
        Some(target) => target.join("agent"),
        None => out.join("agent-target"),
    }
}

fn build_agent(manifest: &Path, target: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new(env::var("CARGO")?);
    for variable in INHERITED {
        cargo.env_remove(variable);
    }
    for (variable, _) in env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PROFILE_") || name.starts_with("CARGO_FEATURE_") {
            cargo.env_remove(&variable);
        }
    }
    cargo
        .args(["rustc", "--quiet", "--locked", "--release"])
        .args(["--package", "warren-agent", "--bin", "warren-agent"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        // Small: it is copied into each data folder and read by nobody.
        .args(["--config", "profile.release.debug=false"])
        .args(["--config", "profile.release.strip=true"])
        .args(["--config", "profile.release.codegen-units=4"])
        .args(["--", "-C", "target-feature=+crt-static"]);
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!(
            "the agent does not compile ({}); `cargo build --release -p warren-agent` shows why:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(target.join("release/warren-agent"))
}
