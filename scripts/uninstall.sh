#!/bin/bash
# Undoes what setup and the server did to this machine: containers, images, the daemon that setup started, the packages that it installed, the test
# tools. Nothing else. DRY=1 only lists them; YES=1 (or no terminal) asks nothing.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=docker.sh
source scripts/docker.sh
# shellcheck source-path=SCRIPTDIR source=packages.sh
source scripts/packages.sh

if [ -z "${DRY:-}" ] && server_running; then die "Warren still serves (process $(cat "$SERVER_PID_FILE")): end \`make run\` first: with Ctrl-C, or sudo kill $(cat "$SERVER_PID_FILE")."; fi

containers=() images=()
docker_note=""
if ! have docker || ! docker_answers; then
    docker_note="no Docker daemon answers: containers (label warren.server) and images (warren/tree), if any, stay"
else
    if docker_roots; then need_root "the Docker daemon's socket is root's"; fi
    mapfile -t containers < <(docker_containers)
    mapfile -t images < <(docker_images)
fi

# size FOLDER: the part that this user may see.
size() { du -sh "$1" 2>/dev/null | cut -f1 || true; }

say "To be removed:"
if [ -n "$docker_note" ]; then say "  ($docker_note)"; fi
for container in "${containers[@]}"; do say "  container $container"; done
for image in "${images[@]}"; do say "  image $image, made of a language tree in $CACHE (imported again at need)"; done
if [ -s "$PACKAGES_INSTALLED" ]; then say "  $(sort -u "$PACKAGES_INSTALLED" | wc -l) Debian packages that setup installed: $(sort -u "$PACKAGES_INSTALLED" | paste -sd ' ')"; fi
if [ -f "$DOCKER_STARTED" ]; then say "  (stopped:) the Docker daemon that setup started"; fi
if [ -f "$STATE/cargo_deny.installed" ] || [ -f "$STATE/gvisor.installed" ]; then say "  $CACHE/tools"; fi
for folder in "$TEST_ENV" "$STATE"; do
    if [ -d "$folder" ]; then say "  $folder"; fi
done
if [ -n "${DRY:-}" ]; then exit; fi
ask

if [ ${#containers[@]} -gt 0 ]; then docker_here rm --force --volumes "${containers[@]}" >/dev/null || true; fi
for image in "${images[@]}"; do
    docker_here image rm "$image" >/dev/null || warn "$image stays: something else uses it"
done
docker_stop
packages_remove
if [ -f "$STATE/cargo_deny.installed" ] || [ -f "$STATE/gvisor.installed" ]; then rm -rf "$CACHE/tools"; fi
rm -rf "$TEST_ENV" "$STATE"

say "Setup is undone. These stay, and are yours to remove (what root made in them with sudo):"
for folder in "$DATA" "$REPO/target" "$CACHE"; do
    if [ -d "$folder" ]; then say "  $(size "$folder")	$folder"; fi
done
if [ -d /var/lib/docker ]; then say "  	/var/lib/docker (Docker's own, all other images and containers with it)"; fi
