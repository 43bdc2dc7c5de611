# shellcheck shell=bash
# Finding, starting and stopping a Docker daemon. Sourced after lib.sh.
# A daemon that answers is used as it is: its configuration is never written, and one that setup did not start is never restarted.

DOCKER_SOCKET=/var/run/docker.sock
DOCKER_PID_FILE=/var/run/docker.pid
# The daemon that setup started: its pid and start time, so that another process under the same number is let alone.
DOCKER_STARTED=$STATE/dockerd
DOCKER_LOG=$STATE/dockerd.log
# Seconds that a daemon may take before it answers.
DOCKER_PATIENCE=60

# docker_endpoint: the address that clients of this user talk to (DOCKER_HOST, the client's context, or the usual socket).
docker_endpoint() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        say "$DOCKER_HOST"
    elif have docker; then
        docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || say "unix://$DOCKER_SOCKET"
    else
        say "unix://$DOCKER_SOCKET"
    fi
}

# docker_roots: whether a daemon runs here that only root may talk to. That will do: Warren is root, and so are its tests.
docker_roots() {
    [ "$(docker_endpoint)" = "unix://$DOCKER_SOCKET" ] && [ -S "$DOCKER_SOCKET" ] && [ ! -w "$DOCKER_SOCKET" ] && [ -n "$(docker_running_pid)" ]
}

# docker_answers: whether a daemon is there. A client alone proves none.
docker_answers() {
    local endpoint
    if docker_roots; then
        # Nobody is asked for a password to know this: without one, a daemon that runs behind its socket is believed.
        if ! sudo -n true 2>/dev/null; then return; fi
        sudo -n curl -fsS --max-time 10 --unix-socket "$DOCKER_SOCKET" http://docker/_ping >/dev/null 2>&1
        return
    fi
    if have docker; then
        timeout 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
        return
    fi
    endpoint=$(docker_endpoint)
    case $endpoint in
    unix://*) curl -fsS --max-time 10 --unix-socket "${endpoint#unix://}" http://docker/_ping >/dev/null 2>&1 ;;
    tcp://*) curl -fsS --max-time 10 "http://${endpoint#tcp://}/_ping" >/dev/null 2>&1 ;;
    *) return 1 ;;
    esac
}

docker_start_time() { awk '{print $22}' "/proc/$1/stat" 2>/dev/null; }

docker_running_pid() {
    local pid
    pid=$(cat "$DOCKER_PID_FILE" 2>/dev/null || true)
    if process_is "$pid" dockerd; then say "$pid"; fi
}

docker_wait() {
    local end=$((SECONDS + DOCKER_PATIENCE))
    until docker_answers; do
        if [ "$SECONDS" -ge "$end" ]; then return 1; fi
        sleep 0.2
    done
}

# docker_elsewhere: what its owner can do on a machine that has podman or containerd, which docker.io might remove, and no dockerd.
docker_elsewhere() {
    say "No Docker daemon answers, and none is installed beside what is here already. Setup changes neither:"
    if have podman; then say "    podman: start its socket (\`systemctl start podman.socket\`) and set DOCKER_HOST=unix:///run/podman/podman.sock"; fi
    if have containerd; then say "    containerd: install the daemon that goes with it (docker-ce beside Docker's own containerd.io, docker.io beside Debian's containerd)"; fi
    say "    Then run this again."
}

# docker_start: makes the installed daemon answer.
docker_start() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        die "DOCKER_HOST is $DOCKER_HOST and no Docker daemon answers there. Start that one, or unset DOCKER_HOST to use one on this machine."
    fi
    if ! have dockerd; then die "$(docker_elsewhere)"; fi
    if [ -d /run/systemd/system ]; then
        need_root "starting the Docker daemon"
        as_root systemctl start docker
        say systemd >"$DOCKER_STARTED"
    elif [ -n "$(docker_running_pid)" ]; then
        : # it is there and still starting
    else
        # Left by a daemon that was killed; dockerd refuses to start when the number now belongs to another process.
        need_root "starting the Docker daemon"
        as_root rm -f "$DOCKER_PID_FILE" "$DOCKER_SOCKET" /run/docker/containerd/containerd.pid
        # Detached: it outlives this script and its terminal.
        # shellcheck disable=SC2016
        as_root sh -c 'setsid nohup dockerd >"$1" 2>&1 </dev/null &' sh "$DOCKER_LOG"
        docker_wait || true
        local pid
        pid=$(docker_running_pid)
        if [ -n "$pid" ]; then say "$pid $(docker_start_time "$pid")" >"$DOCKER_STARTED"; fi
    fi
    if ! docker_wait; then
        if [ -f "$DOCKER_LOG" ]; then warn "$(tail -n 20 "$DOCKER_LOG")"; fi
        die "the Docker daemon does not answer after $DOCKER_PATIENCE s at $(docker_endpoint). Its log: $DOCKER_LOG, or \`journalctl -u docker\`."
    fi
}

# docker_stop: ends the daemon that setup started, and no other.
docker_stop() {
    local pid started
    [ -f "$DOCKER_STARTED" ] || return 0
    read -r pid started <"$DOCKER_STARTED"
    if [ "$pid" = systemd ]; then
        need_root "stopping the Docker daemon that setup started"
        as_root systemctl stop docker.socket docker
    elif process_is "$pid" dockerd && [ "$(docker_start_time "$pid")" = "$started" ]; then
        need_root "stopping the Docker daemon that setup started"
        as_root kill "$pid"
        for _ in $(seq 100); do
            process_is "$pid" dockerd || break
            sleep 0.1
        done
    fi
    rm -f "$DOCKER_STARTED"
}

# docker_here COMMAND...: the client, as root where the daemon is root's.
docker_here() { if docker_roots; then as_root docker "$@"; else docker "$@"; fi; }

# docker_containers: those that the server of this checkout made and that are still there, one a line. Their folders are in its data.
docker_containers() {
    local id
    for id in $(docker_here ps --all --quiet --filter label=warren.server); do
        if docker_here inspect --format '{{range .Mounts}}{{.Source}}{{println}}{{end}}' "$id" | grep -qF "$DATA/"; then say "$id"; fi
    done
}

# docker_images: the language trees of this cache that the daemon has, one a line.
docker_images() {
    local name digest
    for name in $(docker_here images --format '{{.Repository}}:{{.Tag}}' warren/tree); do
        digest=${name##*:}
        # A killed server may have left one under the name that it has until it is whole.
        if [ -d "$CACHE/trees/${digest%%-unfinished-*}" ]; then say "$name"; fi
    done
}
