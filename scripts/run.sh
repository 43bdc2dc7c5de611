#!/bin/bash
# shellcheck disable=SC2317  # traps call functions too
# Sets up, starts Warren, deploys two example functions into a data folder that has none, calls them, and serves on until Ctrl-C.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source-path=SCRIPTDIR source=docker.sh
source scripts/docker.sh

LISTEN=${WARREN_LISTEN:-127.0.0.1:7070}
ROUTES_LISTEN=${WARREN_ROUTES_LISTEN:-127.0.0.1:7071}
URL=http://$LISTEN
ROUTES_URL=http://$ROUTES_LISTEN
CONNECTION=(--server "$URL" --data-dir "$DATA")
SERVER_LOG=$REPO/.warren/server.log
# There while the examples of a fresh data folder are not all deployed: Ctrl-C during the first build of a language must not lose them.
EXAMPLES_UNFINISHED=$DATA/examples.unfinished
# Seconds that the server may take before it answers.
PATIENCE=30

healthy() { curl -fsS --max-time 2 "$URL/healthz" >/dev/null 2>&1; }

# Root's side of the server: writes its process id, and ends it when the other end of the standard input closes, that is when this script is gone,
# however it went. No signal would do: sudo passes on none from its own process group, and may ask for a password after a while.
# shellcheck disable=SC2016
ROOTS_SIDE='
    exec 3<&0 </dev/null
    echo $$ >"$1"
    shift
    # Ctrl-C, or an end of its own, may have come first.
    { cat <&3 >/dev/null; kill -TERM $$ 2>/dev/null; } &
    exec 3<&-
    exec "$@"'

start_server() {
    local endpoint name settings=()
    endpoint=$(docker_endpoint)
    # sudo drops them.
    for name in WARREN_MEMORY_MB WARREN_MAX_INSTANCES WARREN_BUSY_POLL_US WARREN_CONFIG WARREN_LOG; do
        if [ -n "${!name:-}" ]; then settings+=("$name=${!name}"); fi
    done
    # The log of a crash is read after the next start.
    if [ -s "$SERVER_LOG" ]; then mv -f "$SERVER_LOG" "$SERVER_LOG.1"; fi
    need_root "Warren makes root file systems and mounts a private disk for each function"
    # The address of the client's context is the server's too.
    coproc lifeline {
        as_root sh -c "$ROOTS_SIDE" sh "$SERVER_PID_FILE" env DOCKER_HOST="$endpoint" WARREN_CACHE="$CACHE" "${settings[@]}" \
            "$SERVER" serve --data-dir "$DATA" --listen "$LISTEN" --routes-listen "$ROUTES_LISTEN" >"$SERVER_LOG" 2>&1
    }
    # shellcheck disable=SC2154
    server=$lifeline_PID lifeline_end=${lifeline[1]}
    trap stop_server EXIT
    # The usual end: make need not call it an error.
    trap 'say_goodbye; exit 0' INT
    trap 'say_goodbye; exit 143' TERM HUP
}

say_goodbye() {
    stop_server
    # After the terminal's ^C.
    if [ -t 1 ]; then say ""; fi
    say "Warren has stopped; functions and logs stay in ${DATA#"$REPO"/}. \`make run\` starts it again."
}

stop_server() {
    # Once more is no reason to leave it half way.
    trap '' INT TERM HUP
    trap - EXIT
    exec {lifeline_end}>&-
    wait "$server" 2>/dev/null || true
    rm -f "$SERVER_PID_FILE"
}

wait_for_server() {
    local end=$((SECONDS + PATIENCE))
    until healthy; do
        if ! kill -0 "$server" 2>/dev/null || [ "$SECONDS" -ge "$end" ]; then
            warn "$(tail -n 20 "$SERVER_LOG")"
            die "the server does not answer at $URL/healthz; its log: $SERVER_LOG"
        fi
        sleep 0.05
    done
}

# share_key: the key pair is for whoever called, and so is the way to it. All else in the data folder stays root's.
share_key() {
    local user
    user=$(id -u)
    # `sudo make run`.
    if [ "$user" -eq 0 ]; then user=${SUDO_UID:-0}; fi
    if [ "$user" -ne 0 ]; then as_root chown --no-dereference "$user" "$DATA" "$DATA/credentials"; fi
}

# client COMMAND...: one of the server's client commands.
client() { "$SERVER" "$@" "${CONNECTION[@]}"; }

# call PATH: the answer, and how long it took in milliseconds.
call() {
    local answer
    answer=$(curl -fsS --max-time 60 -w '\t%{time_total}' "$ROUTES_URL$1") || return
    printf '%s\t%s\n' "${answer%$'\t'*}" "$(awk -v s="${answer##*$'\t'}" 'BEGIN { printf "%.1f", s * 1000 }')"
}

# show NAME PATH: a cold and a warm call.
show() {
    local first again engine
    first=$(call "$2?name=Ada") || return
    again=$(call "$2?name=Ada") || return
    engine=$(client get "$1" --json | sed -nE 's/^ *"engine": "(.*)",?$/\1/p')
    say "  answer  ${again%$'\t'*}"
    say "  engine  ${engine:-unknown}   first call ${first##*$'\t'} ms   warm call ${again##*$'\t'} ms"
}

# example NAME RUNTIME HANDLER PATH: deploys it into a fresh data folder, and shows it. Later it is its owner's: shown if it is still there with its
# route, and never deployed again. What fails is a warning; the server serves on.
example() {
    local name=$1 path=$4 function deploy=(deploy "examples/$1" --runtime "$2" --handler "$3" --route)
    if function=$(client get "$name" --json 2>/dev/null); then
        if ! grep -qF "\"GET $path\"" <<<"$function"; then return 0; fi
        say ""
        say "$name, at $ROUTES_URL$path"
    elif [ -e "$EXAMPLES_UNFINISHED" ]; then
        say ""
        say "$name ($2), deployed from examples/$name, at $ROUTES_URL$path"
        # Its language tree is built at first need: the command shows the progress. Not by a function: Ctrl-C would say goodbye to /dev/null too.
        if ! "$SERVER" "${deploy[@]}" "GET $path" --json "${CONNECTION[@]}" >/dev/null; then
            warn "WARNING: the example $name could not be deployed. To try again:"
            warn "  ${SERVER#"$REPO"/} ${deploy[*]} 'GET $path'"
            return 0
        fi
    else
        return 0
    fi
    if show "$name" "$path"; then
        shown+=("$name")
    else
        warn "WARNING: $name did not answer as it should. Its log: ${SERVER#"$REPO"/} logs $name"
    fi
}

examples() {
    local list
    shown=()
    if list=$(client list --json); then
        if ! grep -q '"name"' <<<"$list"; then touch "$EXAMPLES_UNFINISHED"; fi
        example hello-python python3.13 app.handler /hello
        example hello-node nodejs22.x index.handler /hello-node
        rm -f "$EXAMPLES_UNFINISHED"
    else
        warn "WARNING: the server does not list its functions; the examples are left out."
    fi
}

say_how_on() {
    local warren=${SERVER#"$REPO"/} hello=""
    if [[ " ${shown[*]} " == *" hello-python "* ]]; then hello=yes; fi
    say ""
    say "Warren serves on. In another terminal, from this folder:"
    say ""
    if [ "$LISTEN" != 127.0.0.1:7070 ]; then say "  export WARREN_SERVER=$URL"; fi
    if [ "$DATA" != "$REPO/.warren/data" ]; then say "  export WARREN_DATA_DIR=$(printf '%q' "$DATA")"; fi
    if [ -n "$hello" ]; then say "  curl '$ROUTES_URL/hello?name=Ada'"; fi
    say "  eval \"\$($warren env)\"              # any AWS client, by its environment"
    if [ -n "$hello" ]; then say "  aws lambda invoke --function-name hello-python --payload fileb://examples/event.json out.json"; fi
    cat <<EOF
  $warren deploy examples/word-count --runtime nodejs22.x --handler index.handler --route 'POST /words' --env LANG=en
  $warren invoke word-count --data '{"text":"a b a"}'
  curl -H 'content-type: application/json' -d '{"text":"a b a"}' $ROUTES_URL/words
  $warren logs word-count --follow

Ctrl-C ends it (in the background: sudo kill \$(cat ${SERVER_PID_FILE#"$REPO"/})); functions and logs stay in ${DATA#"$REPO"/}.
EOF
}

scripts/setup.sh run
if [ -n "${DRY:-}" ]; then exit; fi

if healthy; then
    if server_running; then
        say "Warren serves already at $URL (its log: $SERVER_LOG)."
        exit 0
    fi
    die "Something else answers at $URL. End it, or choose another address: WARREN_LISTEN=127.0.0.1:7170 make run"
fi

if server_running; then
    # Its process id and its log would be overwritten.
    die "An earlier \`make run\` of this folder still serves or is ending (process $(cat "$SERVER_PID_FILE")), not at $URL. End that first: with Ctrl-C, or sudo kill $(cat "$SERVER_PID_FILE")."
fi

mkdir -p "$DATA"
start_server
wait_for_server
share_key
say "Warren serves at $URL (data: ${DATA#"$REPO"/}, log: ${SERVER_LOG#"$REPO"/}). Ctrl-C ends it."
examples
say_how_on
wait "$server" || true
die "The server has ended by itself. Its log: ${SERVER_LOG#"$REPO"/}, and after the next start ${SERVER_LOG#"$REPO"/}.1"
