#!/bin/bash
# Measures Warren and its peers on this machine, after setup: bench/README.md.
# ROUNDS=3 SECONDS_EACH=10 COLD=10 WARM_UP=3 are the defaults; a quick look: ROUNDS=1 SECONDS_EACH=3 COLD=3 make bench
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=docker.sh
source scripts/docker.sh

PEERS=$REPO/bench/peers

peers_key() { content_key "$PEERS/package.json" "$PEERS/package-lock.json"; }

if [ "$(cat "$PEERS/node_modules/.key" 2>/dev/null)" != "$(peers_key)" ]; then
    say "The peers into bench/peers/node_modules, about 20 s (90 MB download, 345 MB on disk; log: .warren/setup/peers.log)"
    if [ -n "${DRY:-}" ]; then exit; fi
    logged peers npm ci --prefix "$PEERS" --ignore-scripts --no-audit --no-fund
    peers_key >"$PEERS/node_modules/.key"
fi
if [ -n "${DRY:-}" ]; then exit; fi
# The function in Rust, as a user's own would be built.
cargo build --release --locked --quiet --manifest-path tests/fixtures/functions/rust/Cargo.toml --target-dir target/fixtures
python3 -m unittest discover --quiet -s bench -p 'test_*.py'

need_root "Warren makes root file systems and mounts a private disk for each function"
as_root env PYTHONDONTWRITEBYTECODE=1 DOCKER_HOST="$(docker_endpoint)" WARREN_CACHE="$CACHE" WARREN_SERVER="$SERVER" \
    ROUNDS="${ROUNDS:-3}" SECONDS_EACH="${SECONDS_EACH:-10}" COLD="${COLD:-10}" WARM_UP="${WARM_UP:-3}" HOST_KIND="${HOST_KIND:-}" \
    python3 bench/bench.py
