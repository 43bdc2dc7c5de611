# shellcheck shell=bash
# The private copy of `runsc` for the engine gvisor: below the cache, in a folder that is named by the file's SHA-256, so that whoever uses it can check
# it. Sourced after lib.sh.

RUNSC_COPIES=$CACHE/tools/runsc
# From Debian 13: the one of Debian 12 is of 2022 and hangs.
RUNSC_SUITE=trixie
# The file that was tested. Debian may build the same version again; then its signature stands for the file, and setup says so.
RUNSC_TESTED=ce52e04038baa76d6069afae5fc1bee60c153bbf0276f2c3c25506553526f38f

# A `runsc` of the user's own counts before the copy.
gvisor_needed() {
    local copy
    if have runsc; then return 1; fi
    for copy in "$RUNSC_COPIES"/*/runsc; do
        if [ -x "$copy" ] && runsc_is_whole "$copy"; then return 1; fi
    done
}

# runsc_is_whole FILE: whether it is what its folder's name says.
runsc_is_whole() { [ "$(sha256sum "$1" | cut -d' ' -f1)" = "$(basename "$(dirname "$1")")" ]; }

gvisor_text() { say "runsc for the engine gvisor into $RUNSC_COPIES, about 10 s (20 MB download, 30 MB on disk; log: .warren/setup/gvisor.log)"; }

gvisor_do() {
    local work digest
    need_root "taking a Debian package apart"
    work=$(mktemp -d)
    # Without it functions with this engine are refused with the reason; that is none to stop here.
    if ! logged gvisor as_root mmdebstrap --variant=extract --include=runsc "$RUNSC_SUITE" "$work/root"; then
        as_root rm -rf "$work"
        warn "    runsc can't be had here: the engine gvisor can't be used until there is one in the PATH"
        return
    fi
    digest=$(sha256sum "$work/root/usr/bin/runsc" | cut -d' ' -f1)
    if [ "$digest" != "$RUNSC_TESTED" ]; then
        warn "    runsc is another build than the one that was tested (SHA-256 $digest); Debian's signature was checked"
    fi
    # Whole under its name, or not there.
    mkdir -p "$RUNSC_COPIES"
    rm -rf "${RUNSC_COPIES:?}/${digest:?}" "$RUNSC_COPIES/.new"
    mkdir "$RUNSC_COPIES/.new"
    cp "$work/root/usr/bin/runsc" "$RUNSC_COPIES/.new/runsc"
    chmod 0755 "$RUNSC_COPIES/.new/runsc"
    mv "$RUNSC_COPIES/.new" "$RUNSC_COPIES/$digest"
    as_root rm -rf "$work"
    touch "$STATE/gvisor.installed"
}
