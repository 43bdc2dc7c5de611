#!/bin/bash
# Sets up, starts Warren, deploys and calls two example functions, and serves on until Ctrl-C.
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
    { cat <&3 >/dev/null; kill -TERM $$; } &
    exec 3<&-
    exec "$@"'

start_server() {
    local endpoint
    endpoint=$(docker_endpoint)
    need_root "Warren makes root file systems and mounts a private disk for each function"
    # The address of the client's context is the server's too.
    coproc lifeline {
        as_root sh -c "$ROOTS_SIDE" sh "$SERVER_PID_FILE" env DOCKER_HOST="$endpoint" WARREN_CACHE="$CACHE" \
            "$SERVER" serve --data-dir "$DATA" --listen "$LISTEN" --routes-listen "$ROUTES_LISTEN" >"$SERVER_LOG" 2>&1
    }
    # shellcheck disable=SC2154
    server=$lifeline_PID lifeline_end=${lifeline[1]}
    trap stop_server EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
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

# call PATH: the answer, and how long it took in milliseconds.
call() {
    local answer
    answer=$(curl -fsS --max-time 60 -w '\t%{time_total}' "$ROUTES_URL$1")
    printf '%s\t%s\n' "${answer%$'\t'*}" "$(awk -v s="${answer##*$'\t'}" 'BEGIN { printf "%.1f", s * 1000 }')"
}

# example NAME RUNTIME HANDLER PATH: deploys it and shows a cold and a warm call.
example() {
    local name=$1 path=$4 answer cold warm engine
    say ""
    say "$name ($2), deployed from examples/$name, at $ROUTES_URL$path"
    # Its language tree is built at first need: the command shows the progress.
    "$SERVER" deploy "examples/$name" --runtime "$2" --handler "$3" --route "GET $path" --json "${CONNECTION[@]}" >/dev/null
    IFS=$'\t' read -r answer cold < <(call "$path?name=Ada")
    IFS=$'\t' read -r answer warm < <(call "$path?name=Ada")
    engine=$("$SERVER" get "$name" --json "${CONNECTION[@]}" | sed -nE 's/^ *"engine": "(.*)",?$/\1/p')
    say "  answer  $answer"
    say "  engine  ${engine:-unknown}   first call $cold ms   warm call $warm ms"
}

deploy_examples() {
    local elsewhere=""
    if [ "$LISTEN" != 127.0.0.1:7070 ]; then elsewhere="  export WARREN_SERVER=$URL"$'\n'; fi
    example hello-python python3.13 app.handler /hello
    example hello-node nodejs22.x index.handler /hello-node
    cat <<EOF

Warren serves on. In another terminal, from this folder:

${elsewhere}  curl '$ROUTES_URL/hello?name=Ada'
  eval "\$(${SERVER#"$REPO"/} env)"              # any AWS client, by its environment
  aws lambda invoke --function-name hello-python --payload fileb://examples/event.json out.json
  ${SERVER#"$REPO"/} deploy examples/word-count --runtime nodejs22.x --handler index.handler --route 'POST /words' --env LANG=en
  ${SERVER#"$REPO"/} invoke word-count --data '{"text":"a b a"}'
  ${SERVER#"$REPO"/} logs word-count --follow

Ctrl-C ends it; functions and logs stay in ${DATA#"$REPO"/}.
EOF
}

scripts/setup.sh run

if healthy; then
    if server_running; then
        say "Warren serves already at $URL (its log: $SERVER_LOG)."
        exit 0
    fi
    die "Something else answers at $URL. End it, or choose another address: WARREN_LISTEN=127.0.0.1:7170 make run"
fi

mkdir -p "$DATA"
start_server
wait_for_server
share_key
say "Warren serves at $URL (data: ${DATA#"$REPO"/}, log: ${SERVER_LOG#"$REPO"/}). Ctrl-C ends it."
deploy_examples
wait "$server"
