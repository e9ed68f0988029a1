#!/bin/bash
# A compiler, the source of its standard library, and a C compiler that knows every target,
# from Debian's packages and PyPI alone, into one directory: nothing is installed.
#
#   src/packaging/toolchain.sh DIRECTORY [RUST]
#
# For static.sh, where rustup has no library for a target. RUST is `rust` by default, or
# `no-rust` where only the C compiler is wanted. DIRECTORY then has, each made once (1.6 GB,
# or 0.5 without Rust):
#
#   cargo, rustc, rustdoc   Debian's newest, kept for its browsers, with the library's source
#   venv/bin                zig, which is a C compiler and a linker with musl for every target,
#                           and cargo-zigbuild, which has cargo use it
set -euo pipefail

work=$1
rust=${2:-rust}
ZIG=ziglang==0.17.1
ZIGBUILD=cargo-zigbuild==0.24.0
PACKAGES=(cargo-web rustc-web rust-web-src libstd-rust-web-dev)

mkdir -p "$work"
work=$(cd "$work" && pwd)
root=$work/root

# Unpacks Debian's compiler, and those libraries that it wants and this machine lacks.
unpack_rust() {
    mkdir -p "$work/debs/partial" "$root"
    # Named twice: what is installed already is fetched all the same, its libraries are not.
    apt-get install -q -y --no-install-recommends --reinstall --download-only --allow-downgrades \
        -o Dir::Cache::archives="$work/debs" -o APT::Sandbox::User=root -o Debug::NoLocking=1 \
        "${PACKAGES[@]}"
    for package in "$work"/debs/*.deb; do
        dpkg -x "$package" "$root"
    done
    rm -r "$work/debs"
}

# Prints where the libraries are that `unpack_rust` unpacked, with colons between.
libraries() {
    find "$root/usr/lib" -name '*.so*' -not -path '*/rustlib/*' -printf '%h\n' | sort -u | paste -sd :
}

# Puts a command in front of one of the unpacked programs that lets it find its libraries.
wrap() {
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH=%s\n%s\nexec %s/usr/bin/%s "$@"\n' \
        "$(libraries)" "$2" "$root" "$1" >"$work/$1.new"
    chmod 755 "$work/$1.new"
    mv "$work/$1.new" "$work/$1"
}

if [ "$rust" = rust ] && [ ! -x "$work/cargo" ]; then
    unpack_rust
    wrap rustc ''
    wrap rustdoc ''
    # Last, for it is what tells that everything is there.
    wrap cargo "export RUSTC=$work/rustc RUSTDOC=$work/rustdoc"
fi

if [ ! -x "$work/venv/bin/cargo-zigbuild" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q --disable-pip-version-check "$ZIG" "$ZIGBUILD"
fi
