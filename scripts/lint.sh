#!/bin/bash
# shellcheck disable=SC2317  # functions are called by name
# Everything that reads the code without running it. Every check runs; non-zero if one fails.
# usage: lint.sh [format|rest]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

status=0
check() {
    local name=$1
    shift
    say "-- $name"
    "$@" || {
        warn "lint: $name failed"
        status=1
    }
}

licences() {
    local deny
    if have cargo-deny; then
        deny=cargo-deny
    elif [ -x "$CACHE/tools/bin/cargo-deny" ]; then
        deny=$CACHE/tools/bin/cargo-deny
    else
        say "SKIPPED licences and bans: cargo-deny is not installed; \`scripts/setup.sh test\` does it"
        return
    fi
    # Advisories are left out: their database comes from elsewhere and changes by the day.
    "$deny" --log-level error check --hide-inclusion-graph licenses bans sources
}

shell_scripts() {
    if ! have shellcheck; then
        say "SKIPPED shell scripts: shellcheck is not installed; \`scripts/setup.sh test\` does it"
        return
    fi
    shellcheck --external-sources .ci/run scripts/*.sh runtimes/*/build.sh runtimes/parts/*/build.sh tests/fixtures/runtimes/*/build.sh
}

# Where packages come from is each machine's own business: npm writes it into lock files unless it is told not to.
lock_files() {
    if grep -rn '"resolved"' --include package-lock.json --exclude-dir node_modules --exclude-dir target .; then return 1; fi
}

case ${1:-all} in format | all) check "format" cargo fmt --all --check ;; esac
case ${1:-all} in
rest | all)
    check "clippy" cargo clippy --release --workspace --all-targets --quiet -- -D warnings
    check "crate arrows" python3 scripts/check_arrows.py
    check "specification" python3 scripts/check_spec.py
    check "licences, bans, sources" licences
    check "shell scripts" shell_scripts
    check "lock files" lock_files
    ;;
esac
exit "$status"
