#!/bin/bash
# Installs the programs with which compare.py and served.py compare plakar, below $BENCH. Changes
# nothing else on the system, except for libraries needed for compiling. Requires Debian and root.
# Can be repeated: existing programs are kept.
#
#   tests/bench/peers.sh [restic|rest-server|borg|rustic|bupstash]...
#                                                     (default: restic borg)
#
# restic and rest-server are those of Debian's unstable suite, unpacked but not installed. If that
# suite is unavailable, restic is that of the installed suite. borg comes from PyPI. rustic and
# bupstash come from crates.io and compile for ten minutes or more.
#
# BENCH is the directory for all files (default: target/bench).
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
BENCH=${BENCH:-$top/target/bench}
mkdir -p "$BENCH/bin"
BENCH=$(cd "$BENCH" && pwd)

say() {
    echo "peers.sh: $*" >&2
}

# Installs those of the given packages that are missing.
need() {
    local missing=() package
    for package in "$@"; do
        dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    test ${#missing[@]} = 0 && return
    apt-get update -q
    apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# Prints the Debian mirror of this machine. The script queries apt, which reads both formats of
# sources lists, including comments and options.
mirror() {
    local sites
    # shellcheck disable=SC2016 # it is apt-get that fills it in
    sites=$(apt-get indextargets --format '$(REPO_URI)' \
        'Created-By: Packages' 'Origin: Debian' 'Label: Debian')
    # Does not use `head`: it would kill the writer, and pipefail would end the script.
    echo "${sites%%$'\n'*}"
}

# Runs apt-get with a separate sources list for the unstable suite, and with all directories that
# apt writes to below $BENCH.
apt_of_sid() {
    apt-get -q -o Dir::Etc::sourcelist="$BENCH/apt/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::Lists="$BENCH/apt/lists" -o Dir::Cache="$BENCH/apt/cache" \
        -o APT::Sandbox::User=root "$@"
}

# Fails if the unstable suite is unavailable.
prepare_sid() {
    local site
    mkdir -p "$BENCH/apt/lists/partial" "$BENCH/apt/cache/archives/partial"
    site=$(mirror)
    if test -z "$site"; then
        apt-get update -q
        site=$(mirror)
    fi
    test -n "$site" || return 1
    echo "deb $site sid main" >"$BENCH/apt/sources.list"
    apt_of_sid update --error-on=any
}

# Unpacks the package $1, downloaded by the command in the other arguments, as $BENCH/$1.
unpack() {
    local package=$1
    shift
    rm -rf "$BENCH/fetch"
    mkdir -p "$BENCH/fetch"
    (cd "$BENCH/fetch" && "$@" download "$package")
    rm -rf "${BENCH:?}/$package"
    dpkg -x "$BENCH/fetch/$package"_*.deb "$BENCH/$package"
    rm -rf "$BENCH/fetch"
}

install_restic() {
    local from=apt_of_sid
    test -x "$BENCH/bin/restic" && return
    if ! prepare_sid; then
        say "no unstable suite here; restic will be that of this machine's suite"
        from=apt-get
        apt-get update -q
    fi
    unpack restic "$from"
    ln -sf "$BENCH/restic/usr/bin/restic" "$BENCH/bin/restic"
}

install_rest_server() {
    local package=restic-rest-server
    test -x "$BENCH/bin/rest-server" && return
    prepare_sid
    unpack "$package" apt_of_sid
    ln -sf "$(find "$BENCH/$package" -type f -path '*bin/*' -print -quit)" "$BENCH/bin/rest-server"
}

install_borg() {
    need gcc libacl1-dev libssl-dev liblz4-dev libzstd-dev libxxhash-dev pkg-config \
        python3-dev python3-venv
    test -x "$BENCH/borg/bin/pip" || python3 -m venv "$BENCH/borg"
    test -x "$BENCH/borg/bin/borg" || "$BENCH/borg/bin/pip" install -q 'borgbackup==1.4.*'
    ln -sf "$BENCH/borg/bin/borg" "$BENCH/bin/borg"
}

# Compiles version $3 of crate $2, whose program is $1, with the flags in the other arguments.
install_crate() {
    local program=$1 crate=$2 version=$3
    shift 3
    if ! test -x "$BENCH/$program/bin/$program"; then
        CARGO_TARGET_DIR=$BENCH/build cargo install -q "$crate" --version "$version" --locked \
            --root "$BENCH/$program" "$@"
        rm -rf "$BENCH/build"
    fi
    ln -sf "$BENCH/$program/bin/$program" "$BENCH/bin/$program"
}

test $# -gt 0 || set -- restic borg
for peer in "$@"; do
    case $peer in
    restic) install_restic ;;
    rest-server) install_rest_server ;;
    borg) install_borg ;;
    rustic) install_crate rustic rustic-rs 0.11.4 --no-default-features ;;
    bupstash)
        need libsodium-dev pkg-config
        install_crate bupstash bupstash 0.12.0
        ;;
    *)
        say "no such peer: $peer"
        exit 64
        ;;
    esac
done
ls "$BENCH/bin"
