#!/bin/bash
# Runs a command as root with the environment of the caller, as sudo alone does not. usage: as-root.sh COMMAND...
# A script of its own, since cargo takes it for the runner of tests.
set -euo pipefail
if [ "$(id -u)" -eq 0 ]; then exec "$@"; fi
exec sudo --preserve-env env "PATH=$PATH" "HOME=$HOME" "$@"
