#!/bin/bash
# Runs the suites one after another, all of them whatever fails, and says what came of each and how long it took.
# usage: test.sh; SUITES="unit e2e" for some of them, SUITES=long for one that runs only so
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=docker.sh
source scripts/docker.sh

LOGS=$REPO/target/test-logs
SKIPPED=$LOGS/skipped
# What cargo nextest writes with scripts/nextest.toml.
JUNIT=$REPO/target/nextest/default/junit.xml

# Setup has said what it would do.
if [ -n "${DRY:-}" ]; then
    say "Then the suites run. One of them builds the server, 5 to 10 min and 2 GB on disk when it is the first build."
    exit
fi

mkdir -p "$LOGS"
: >"$SKIPPED"
failed=()
summary=()

# suite NAME FUNCTION: output to the terminal and to a log.
suite() {
    local name=$1 begun=$SECONDS result=passed
    if [ -n "${SUITES:-}" ] && [[ " $SUITES " != *" $name "* ]]; then return; fi
    say ""
    say "== $name"
    if ! "suite_$name" 2>&1 | tee "$LOGS/$name.log"; then
        result=FAILED
        failed+=("$name")
    fi
    grep -ahoE '^\s*SKIPPED.*' "$LOGS/$name.log" | sed "s/^ */$name: /" >>"$SKIPPED" || true
    summary+=("$(printf '%-10s %-7s %4d s' "$name" "$result" "$((SECONDS - begun))")")
}

suite_format() { scripts/lint.sh format; }

suite_lint() { scripts/lint.sh rest; }

suite_build() { scripts/build.sh; }

# The function in Rust, built as a user's own would be: outside the workspace. What makes hostile packages is part of it.
suite_fixtures() {
    cargo build --release --workspace --quiet --example hostile_packages &&
        cargo build --release --locked --quiet --manifest-path tests/fixtures/functions/rust/Cargo.toml --target-dir target/fixtures
}

# The languages' root file systems, those of the tests with AWS's own clients among them: at once where they are in the cache, about 3 min where not.
suite_trees() {
    cargo build --release --workspace --quiet --example build_trees &&
        as_root_here target/release/examples/build_trees tests/fixtures/runtimes/
}

suite_unit() {
    local status=0
    if cargo nextest --version >/dev/null 2>&1; then
        rm -f "$JUNIT"
        cargo nextest run --release --workspace --no-fail-fast --config-file scripts/nextest.toml || status=$?
        # The output of tests that pass is not shown, and a test that skips passes.
        if [ -f "$JUNIT" ]; then grep -aoE 'SKIPPED[^<]*' "$JUNIT" | sort -u || true; fi
    else
        say "cargo-nextest is not installed: cargo test, slower"
        cargo test --release --workspace --no-fail-fast -- --show-output || status=$?
    fi
    return "$status"
}

# A folder without tests has lost them, and that is a failure.
pytest=("$TEST_ENV/python/bin/python" -m pytest -rs -p no:cacheprovider --timeout 300 --durations 5)

suite_bootstrap() { "${pytest[@]}" tests/bootstrap; }

suite_e2e() { as_root_here "${pytest[@]}" tests/e2e; }

# The tables that every engine must hold, once more on those that are not the default: by what is there, and what the host shows of it. All of them take a
# quarter of an hour, so each day has those that try the engine itself hardest, and `make test-long` all.
ENGINES=(runc gvisor)
CONFORMANCE=(tests/e2e/test_{first_call,languages,limits,packages,abuse,network,network_allow,crash,load,records}.py)
declare -A DAILY=([runc]="first_call limits packages abuse network crash records" [gvisor]="first_call limits abuse")
suite_engines() {
    local engine status=0 tables
    for engine in "${ENGINES[@]}"; do
        say "-- engine $engine"
        tables=("${CONFORMANCE[@]}")
        if [ "${1:-}" != all ]; then
            read -ra tables <<<"${DAILY[$engine]}"
            tables=("${tables[@]/#/tests/e2e/test_}")
            tables=("${tables[@]/%/.py}")
        fi
        WARREN_DEFAULT_ENGINE=$engine as_root_here "${pytest[@]}" "${tables[@]}" || status=$?
    done
    return "$status"
}

# What takes too long for every day; only when it is asked for: `make test-long`.
suite_long() {
    local status=0
    as_root_here "${pytest[@]}" tests/e2e -m long -s --timeout 1800 || status=$?
    suite_engines all || status=$?
    return "$status"
}

# What tests find in their environment.
PATH=$TEST_ENV/python/bin:$PATH
WARREN_TEST_SERVER=$SERVER
WARREN_TEST_NODE_MODULES=$TEST_ENV/js/node_modules
WARREN_TEST_NODE=$(find "$WARREN_TEST_NODE_MODULES" -path '*/bin/node' -type f 2>/dev/null | head -n 1 || true)
DOCKER_HOST=$(docker_endpoint)
# Byte code beside the sources would make cargo take the bootstraps for changed.
PYTHONDONTWRITEBYTECODE=1
# Built by the suite `fixtures`.
WARREN_TEST_RUST_BOOTSTRAP=$REPO/target/fixtures/release/bootstrap
export WARREN_TEST_RUST_BOOTSTRAP
export PATH WARREN_TEST_SERVER WARREN_TEST_NODE WARREN_TEST_NODE_MODULES DOCKER_HOST PYTHONDONTWRITEBYTECODE

# Built by this user, run by root: cargo starts each test through it.
if [ "$(id -u)" -ne 0 ]; then
    runner=CARGO_TARGET_$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')_RUNNER
    export "$runner=$REPO/scripts/as-root.sh"
fi
# Root's cache is this user's.
export WARREN_CACHE=$CACHE

if [ -z "${SUITES:-}" ] || [[ " $SUITES " =~ " "(trees|unit|e2e|engines|long)" " ]]; then
    need_root "the suites trees, unit and e2e make root file systems and mount disks, as Warren does"
    keep_root
fi

suite format
suite build
suite fixtures
suite trees
suite lint
suite unit
# The Node.js versions that the recipes have; without the trees, whichever is on the path.
nodes=$(find "$CACHE/scripts/node" -name node -type f 2>/dev/null | paste -sd: || true)
if [ -n "$nodes" ]; then export WARREN_TEST_NODES=$nodes; fi
suite bootstrap
suite e2e
suite engines
if [ -n "${SUITES:-}" ]; then suite long; fi

say ""
if [ -s "$SKIPPED" ]; then
    say "Skipped:"
    sed 's/^/  /' "$SKIPPED"
fi
say "Suites (logs in target/test-logs):"
for line in "${summary[@]}"; do say "  $line"; done
if [ ${#failed[@]} -gt 0 ]; then die "failed: ${failed[*]}"; fi
