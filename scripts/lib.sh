# shellcheck shell=bash disable=SC2034
# Shared by the scripts beside it: places, messages, root. Sourced, never run.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# The data folder of `make run`, named from where the caller is.
DATA=$(realpath -m "${WARREN_DATA_DIR:-$REPO/.warren/data}")
cd "$REPO" || exit 1
# A user's path may lack them; dockerd, mkfs.ext4 and chroot are there.
PATH=$PATH:/usr/sbin:/sbin

# What setup did to this machine, and its logs.
STATE=$REPO/.warren/setup
# Root file systems of the languages, and tools that take minutes to build.
CACHE=${WARREN_CACHE:-$HOME/.cache/warren}
# Everything that only tests need.
TEST_ENV=$REPO/target/test-env
SERVER=$REPO/target/release/warren
# The server that `make run` started, while it runs.
SERVER_PID_FILE=$REPO/.warren/server.pid

mkdir -p "$STATE"

say() { printf '%s\n' "$*"; }
warn() { printf '%s\n' "$*" >&2; }
die() {
    warn "$*"
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# on_terminal: whether somebody can be asked.
on_terminal() { [ -t 0 ] && [ -t 1 ] && [ -z "${CI:-}" ]; }

# need_root REASON: says why, before sudo asks for a password.
need_root() {
    if [ "$(id -u)" -eq 0 ]; then return; fi
    say "    root is needed: $1"
    if ! have sudo; then die "There is no sudo here: run this again as root."; fi
    sudo true
}

# as_root COMMAND...: after need_root.
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }

# as_root_here COMMAND...: with this environment too, which sudo would take away. After need_root.
as_root_here() { scripts/as-root.sh "$@"; }

# keep_root: after need_root. Nobody is asked again while this script runs, however long its parts take.
keep_root() {
    if [ "$(id -u)" -eq 0 ]; then return; fi
    while kill -0 $$ 2>/dev/null && sudo -n true; do sleep 60; done >/dev/null 2>&1 </dev/null &
}

# ask: whether to go ahead. YES=1 (or no terminal) asks nothing.
ask() {
    if [ -n "${YES:-}" ] || ! on_terminal; then return; fi
    local answer
    read -r -p "Go ahead? [Y/n] " answer
    case $answer in '' | y | Y | yes | Yes) ;; *) die "Nothing was changed." ;; esac
}

# progress LOG SECONDS: how many crates cargo has begun, or the last line of any other command; and the time.
progress() {
    local crates
    crates=$(grep -c '^ *Compiling ' "$1" || true)
    if [ "$crates" -gt 0 ]; then
        printf '    %d crates so far' "$crates"
    else
        printf '    %.60s' "$(tail -n 1 "$1" | tr -cd '[:print:]' | sed 's/^ *//')"
    fi
    printf ', %d:%02d' $(($2 / 60)) $(($2 % 60))
}

# logged NAME COMMAND...: output to STATE/NAME.log, its end shown when the command fails. Meanwhile its progress: a terminal sees one line that
# changes, all else a line every 30 s.
logged() {
    local log=$STATE/$1.log pid begun=$SECONDS next=30 status=0 terminal=""
    if [ -t 1 ] && [ -z "${CI:-}" ]; then terminal=yes; fi
    shift
    : >"$log"
    # Ctrl-C ends it too, as it would not in a script's background.
    {
        trap - INT QUIT
        "$@"
    } >"$log" 2>&1 </dev/null &
    pid=$!
    while kill -0 "$pid" 2>/dev/null; do
        if [ -n "$terminal" ]; then
            printf '\r\033[K%s' "$(progress "$log" $((SECONDS - begun)))"
        elif [ $((SECONDS - begun)) -ge "$next" ]; then
            say "$(progress "$log" $((SECONDS - begun)))"
            next=$((next + 30))
        fi
        sleep 0.5
    done
    if [ -n "$terminal" ]; then printf '\r\033[K'; fi
    wait "$pid" || status=$?
    if [ "$status" -ne 0 ]; then
        warn "$(tail -n 20 "$log")"
        warn "failed: $*"
        warn "the whole log: $log"
    fi
    return "$status"
}

# content_key FILE...: changes when one of the files does.
content_key() { cat "$@" | sha256sum | cut -c1-16; }

# server_running: whether an earlier `make run` of this checkout still serves.
server_running() { process_is "$(cat "$SERVER_PID_FILE" 2>/dev/null || true)" warren; }

# process_is PID NAME: whether that process lives and is that program.
process_is() {
    [ -n "$1" ] && [ -r "/proc/$1/comm" ] && [ "$(cat "/proc/$1/comm")" = "$2" ]
}
