#!/bin/bash
# Undoes what setup did to this machine: the daemon that it started, the packages that it installed, the test tools. Nothing else.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=docker.sh
source scripts/docker.sh
# shellcheck source-path=SCRIPTDIR source=packages.sh
source scripts/packages.sh

docker_stop
packages_remove
if [ -f "$STATE/cargo_deny.installed" ]; then rm -rf "$CACHE/tools"; fi
rm -rf "$TEST_ENV" "$STATE"

say "Setup is undone. These stay, and are yours to remove:"
for folder in "$REPO/.warren/data" "$REPO/target" "$CACHE"; do
    if [ -d "$folder" ]; then say "  $(du -sh "$folder" | cut -f1)	$folder"; fi
done
