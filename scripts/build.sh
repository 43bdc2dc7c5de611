#!/bin/bash
# Builds target/release/warren, in the one profile that tests and benchmarks use too.
# usage: build.sh [--fresh], which only says by its exit status whether the last build is still good
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sources=(crates runtimes Cargo.toml Cargo.lock rust-toolchain.toml)
if [ -d dashboard ]; then sources+=(dashboard); fi
stamp=$STATE/build.stamp

if [ "${1:-}" = --fresh ]; then
    [ -x "$SERVER" ] && [ -f "$stamp" ] && [ -z "$(find "${sources[@]}" -newer "$stamp" -print -quit)" ]
    exit
fi

# Stamped with the time before: what changes meanwhile is built next time.
touch "$stamp.new"
# The whole workspace, so that crates have the same features here as in tests and are compiled once.
cargo build --release --workspace --bins
mv "$stamp.new" "$stamp"
