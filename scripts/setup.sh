#!/bin/bash
# Makes this machine ready. usage: setup.sh run|test|bench
# Idempotent and quick when there is nothing to do. DRY=1 lists what it would do; YES=1 (or no terminal) asks nothing.
# What it installs is recorded in .warren/setup, for scripts/uninstall.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=docker.sh
source scripts/docker.sh
# shellcheck source-path=SCRIPTDIR source=packages.sh
source scripts/packages.sh
# shellcheck source-path=SCRIPTDIR source=gvisor.sh
source scripts/gvisor.sh

purpose=${1:-run}
case $purpose in run | test | bench) ;; *) die "usage: setup.sh run|test|bench" ;; esac

CARGO_DENY_VERSION=0.20.2

# A step is three functions: NAME_needed, NAME_text (with its sizes), NAME_do. They are looked at in this order. Before tests the build is a suite
# of its own: what does not depend on it is tested even when it fails.
steps=(packages docker gvisor build)
if [ "$purpose" = test ]; then steps=(packages docker gvisor python_env js_env cargo_deny); fi

packages_needed() { [ -n "$(packages_missing "$purpose")" ]; }
packages_text() {
    local missing
    missing=$(packages_missing "$purpose")
    say "install ${missing//$'\n'/ } (Debian packages; $(packages_size "$missing"))"
}
packages_do() { packages_install "$(packages_missing "$purpose")"; }

# Packages bring the daemon's program where there is none; this step makes one answer.
docker_needed() { ! docker_answers; }
docker_text() {
    # A DRY run installs nothing: what would come with docker.io is not there yet.
    if [ -z "$(docker_package)" ] && ! have dockerd && [ -z "${DOCKER_HOST:-}" ]; then
        docker_elsewhere
    else
        say "start the Docker daemon (log: ${DOCKER_LOG#"$REPO"/})"
    fi
}
docker_do() {
    local package
    package=$(docker_package)
    if [ -n "$package" ]; then packages_install "$package"; fi
    docker_start
}

python_env_key() { content_key tests/requirements.txt; }
python_env_needed() { [ "$(cat "$TEST_ENV/python/.key" 2>/dev/null)" != "$(python_env_key)" ]; }
python_env_text() { say "Python test tools into target/test-env, about 20 s (45 MB download, 245 MB on disk; log: .warren/setup/python_env.log)"; }
python_env_do() {
    rm -rf "$TEST_ENV/python"
    mkdir -p "$TEST_ENV"
    # shellcheck disable=SC2016
    logged python_env sh -euc '
        python3 -m venv "$1"
        "$1/bin/python" -m pip install --disable-pip-version-check --no-input --requirement tests/requirements.txt
    ' sh "$TEST_ENV/python"
    python_env_key >"$TEST_ENV/python/.key"
}

js_env_key() { content_key scripts/test-env/package.json scripts/test-env/package-lock.json; }
js_env_needed() { [ "$(cat "$TEST_ENV/js/.key" 2>/dev/null)" != "$(js_env_key)" ]; }
js_env_text() { say "JavaScript test tools into target/test-env, about 10 s (50 MB download, 205 MB on disk; log: .warren/setup/js_env.log)"; }
js_env_do() {
    rm -rf "$TEST_ENV/js"
    mkdir -p "$TEST_ENV/js"
    cp scripts/test-env/package.json scripts/test-env/package-lock.json "$TEST_ENV/js/"
    logged js_env npm ci --prefix "$TEST_ENV/js" --ignore-scripts --no-audit --no-fund
    js_env_key >"$TEST_ENV/js/.key"
}

# Three minutes to compile, so it is kept beside the language trees.
cargo_deny_needed() { ! have cargo-deny && [ ! -x "$CACHE/tools/bin/cargo-deny" ]; }
cargo_deny_text() { say "cargo-deny $CARGO_DENY_VERSION into $CACHE/tools, about 3 min (log: .warren/setup/cargo_deny.log)"; }
cargo_deny_do() {
    # Without it one part of `make lint` is skipped and says so; that is no reason to stop here.
    if CARGO_TARGET_DIR=$REPO/target/cargo-deny logged cargo_deny \
        cargo install cargo-deny --locked --version "$CARGO_DENY_VERSION" --root "$CACHE/tools"; then
        touch "$STATE/cargo_deny.installed"
    else
        warn "    cargo-deny can't be installed here; licences will not be checked"
    fi
    rm -rf "$REPO/target/cargo-deny"
}

build_needed() { ! scripts/build.sh --fresh; }
build_text() {
    if [ -x "$SERVER" ]; then
        say "build what has changed (log: .warren/setup/build.log)"
    else
        say "build the server, 5 to 10 min (150 MB download, 2 GB on disk; log: .warren/setup/build.log)"
    fi
}
build_do() { logged build scripts/build.sh; }

require_cargo() {
    if have cargo; then return; fi
    die "Rust is missing, and setup does not install it for you. Get rustup from https://rustup.rs (or \`apt-get install rustup\`
from Debian 13 and Ubuntu 24.04 on); it reads rust-toolchain.toml here and fetches the right version. Then run this again."
}

main() {
    local step index=0 needed=()
    require_cargo
    for step in "${steps[@]}"; do
        if "${step}_needed"; then needed+=("$step"); fi
    done
    if [ ${#needed[@]} -eq 0 ]; then
        if [ -n "${DRY:-}" ]; then say "Set-up has nothing to do."; fi
        return
    fi
    # A machine that only builds what has changed is asked nothing.
    if [ -n "${DRY:-}" ] || [ "${needed[*]}" != build ] || [ ! -x "$SERVER" ]; then
        say "To do (disk free: $(df -h --output=avail . | tail -n 1 | tr -d ' ')B):"
        for step in "${needed[@]}"; do say "  - $("${step}_text")"; done
        if [ -n "${DRY:-}" ]; then return; fi
        ask
    fi
    for step in "${needed[@]}"; do
        index=$((index + 1))
        # One step may have done the work of another.
        if "${step}_needed"; then
            say "[$index/${#needed[@]}] $("${step}_text")"
            "${step}_do"
        fi
    done
}

main
