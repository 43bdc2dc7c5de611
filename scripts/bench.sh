#!/bin/bash
# Measures Warren and its peers on this machine: bench/run.sh, after setup.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ -x bench/run.sh ] || die "bench/run.sh is not here yet"
exec bench/run.sh "$@"
