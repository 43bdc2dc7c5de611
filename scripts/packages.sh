# shellcheck shell=bash
# Which programs of the host are missing, and installing them. Sourced after lib.sh and docker.sh.

# Packages that setup installed and that were not there before, one a line.
PACKAGES_INSTALLED=$STATE/packages

debian_like() { have apt-get && have dpkg-query; }

# packages_missing PURPOSE: the Debian packages that would bring what is not here, one a line. Programs are looked for, not packages: any source will do.
packages_missing() {
    local purpose=$1
    have curl || say curl
    have cc || say gcc libc6-dev
    have python3 || say python3
    # The languages' root file systems are made by these.
    have mmdebstrap || say mmdebstrap
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || say debian-archive-keyring
    # Looked for and not run: it takes a second to say its version.
    python3 -c 'import sys; from importlib.util import find_spec; sys.exit(find_spec("pip") is None)' 2>/dev/null || say python3-pip
    have npm || say npm
    # The private disk of each function's /tmp.
    have mkfs.ext4 || say e2fsprogs
    # Networks of functions: rules, and the way out.
    have nft || say nftables
    have pasta || passt_package
    if [ "$purpose" = test ]; then
        have ip || say iproute2
        have shellcheck || say shellcheck
        # The Bash recipe of the tests runs here too.
        have jq || say jq
        # A clock that jumps, for one program only.
        [ -n "$(find /usr/lib -name libfaketimeMT.so.1 2>/dev/null)" ] || say faketime
        # Its programs; the tests start servers of their own.
        [ -n "$(find /usr/lib/postgresql -name initdb 2>/dev/null)" ] || say postgresql
    fi
    if [ "$purpose" = bench ]; then
        have wrk || say wrk
    fi
    if [ "$purpose" = test ] || [ "$purpose" = bench ]; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || say python3-venv
        # The native part of AWS's own client for Node.js is compiled by these.
        have g++ || say g++
        have make || say make
        have cmake || say cmake
        have autoreconf || say autoconf
        have automake || say automake
        have libtoolize || say libtool
    fi
    docker_package
}

# The releases before it have none; there functions go without a network, and `warren doctor` says so.
passt_package() {
    case $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release 2>/dev/null) in
    buster | bullseye | focal | jammy) ;;
    *) say passt ;;
    esac
}

# A bare `docker` client is no daemon, and a daemon that answers from elsewhere needs no package. Where nothing can ask the one behind the socket yet,
# the docker step asks again.
docker_package() {
    if ! have docker && ! have curl && [ -S "$DOCKER_SOCKET" ]; then return; fi
    if docker_answers || have dockerd || [ -n "${DOCKER_HOST:-}" ]; then return; fi
    if have podman || have containerd; then return; fi
    say docker.io
}

# packages_size "NAME..." in apt's own words, without changing anything.
packages_size() {
    local words=() said
    if ! debian_like; then
        say "size unknown"
        return
    fi
    mapfile -t words < <(tr ' ' '\n' <<<"$1")
    said=$(LC_ALL=C apt-get install --assume-no --no-install-recommends "${words[@]}" 2>/dev/null || true)
    said=$(grep -E '^(Need to get|After this operation)' <<<"$said" |
        sed -E 's/^Need to get (.*) of archives\./\1 download/; s/^After this operation, (.*) of additional.*/\1 on disk/' |
        paste -sd, | sed 's/,/, /')
    say "${said:-up to 165 MB download, 700 MB on disk}"
}

# packages_install "NAME...": and remembers what came along.
packages_install() {
    local words=() install=() before after
    mapfile -t words < <(tr ' ' '\n' <<<"$1")
    if ! debian_like; then
        warn "This system has no apt. Install with its own package manager what these Debian packages bring, then run this again:"
        printf '  %s\n' "${words[@]}" >&2
        if [[ " ${words[*]} " == *" mmdebstrap "* ]]; then
            warn "mmdebstrap needs apt and dpkg too; most distributions have all three as packages."
        fi
        exit 1
    fi
    before=$(packages_all)
    need_root "installing Debian packages"
    install=(logged packages as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${words[@]}")
    if [[ " ${words[*]} " == *" postgresql "* ]]; then install=(without_cluster "${install[@]}"); fi
    logged apt-update as_root apt-get update
    "${install[@]}"
    after=$(packages_all)
    comm -13 <(printf '%s\n' "$before") <(printf '%s\n' "$after") >>"$PACKAGES_INSTALLED"
}

# without_cluster COMMAND...: Debian's package postgresql makes and starts a database cluster when it is first installed; nobody here needs one.
without_cluster() {
    local setting=/etc/postgresql-common/createcluster.d/warren.conf status=0
    as_root mkdir -p "${setting%/*}"
    say "create_main_cluster = false" | as_root tee "$setting" >/dev/null
    "$@" || status=$?
    as_root rm -f "$setting"
    return "$status"
}

packages_all() {
    dpkg-query --show --showformat '${db:Status-Abbrev}${Package}\n' | sed -n 's/^ii *//p' | sort -u
}

# packages_essential NAME...: those that apt removes only by force, and what they need.
packages_essential() {
    LC_ALL=C apt-get remove --simulate "$@" 2>/dev/null |
        sed -n '/^WARNING: The following essential/,/^[0-9]/ s/^  //p' |
        sed -E 's/\(due to [^)]*\)//g' | tr -s ' ' '\n' | sed '/^$/d' | sort -u
}

# packages_remove: what packages_install brought, and nothing that was there before.
packages_remove() {
    local words=()
    [ -s "$PACKAGES_INSTALLED" ] || return 0
    mapfile -t words < <(packages_all | comm -12 - <(sort -u "$PACKAGES_INSTALLED"))
    # What apt itself would not do without (e2fsprogs and its libraries) stays.
    mapfile -t words < <(printf '%s\n' "${words[@]}" | comm -23 - <(packages_essential "${words[@]}") | sed "/^$/d")
    if [ ${#words[@]} -gt 0 ]; then
        need_root "removing the Debian packages that setup installed"
        logged packages-remove as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get remove --yes "${words[@]}"
        say "removed ${#words[@]} packages: ${words[*]}"
    fi
    rm -f "$PACKAGES_INSTALLED"
}
