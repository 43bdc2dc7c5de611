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
SERVER_PID_FILE=$REPO/.warren/server.pid
SERVER_LOG=$REPO/.warren/server.log
# Seconds that the server may take before it answers.
PATIENCE=30

healthy() { curl -fsS --max-time 2 "$URL/healthz" >/dev/null 2>&1; }

# ours: whether the server at work is the one that an earlier `make run` of this checkout started.
ours() {
    local pid
    pid=$(cat "$SERVER_PID_FILE" 2>/dev/null || true)
    process_is "$pid" warren || process_is "$pid" sudo
}

start_server() {
    local endpoint command=()
    endpoint=$(docker_endpoint)
    need_root "Warren makes root file systems and mounts a private disk for each function"
    if [ "$(id -u)" -ne 0 ]; then command=(sudo); fi
    # The address of the client's context is the server's too. No function around it: $! must be the server.
    command+=(env DOCKER_HOST="$endpoint" WARREN_CACHE="$CACHE" "$SERVER" serve --data-dir "$DATA" --listen "$LISTEN" --routes-listen "$ROUTES_LISTEN")
    "${command[@]}" >"$SERVER_LOG" 2>&1 </dev/null &
    server=$!
    say "$server" >"$SERVER_PID_FILE"
    # Ctrl-C does not reach it (a shell's background processes ignore it), so it is told on the way out.
    trap stop_server EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
}

stop_server() {
    trap - EXIT INT TERM
    if kill -0 "$server" 2>/dev/null; then
        as_root kill -TERM "$server" 2>/dev/null || true
        wait "$server" || true
    fi
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
    example hello-python python3.13 app.handler /hello
    example hello-node nodejs22.x index.handler /hello-node
    cat <<EOF

Warren serves on. In another terminal, from this folder:

  curl '$ROUTES_URL/hello?name=Ada'
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
    if ours; then
        say "Warren serves already at $URL (its log: $SERVER_LOG)."
        exit 0
    fi
    die "Something else answers at $URL. End it, or choose another address: WARREN_LISTEN=127.0.0.1:7170 make run"
fi

mkdir -p "$DATA"
start_server
wait_for_server
say "Warren serves at $URL (data: ${DATA#"$REPO"/}, log: ${SERVER_LOG#"$REPO"/}). Ctrl-C ends it."
deploy_examples
wait "$server"
