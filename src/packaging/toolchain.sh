#!/bin/bash
# Provides a compiler, the source of its standard library, and a C compiler for every target in one
# directory, from Debian packages and PyPI only. Nothing is installed on the system.
#
#   src/packaging/toolchain.sh DIRECTORY [RUST]
#
# Used by static.sh if rustup has no library for a target. RUST is `rust` by default, or `no-rust`
# if only the C compiler is needed. Afterwards DIRECTORY contains the following, each created once
# (1.6 GB, or 0.5 GB without Rust):
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

# Unpacks Debian's compiler, and the libraries it needs that are not installed on this machine.
unpack_rust() {
    mkdir -p "$work/debs/partial" "$root"
    # With --reinstall, packages that are already installed are downloaded too, but not their
    # dependencies.
    apt-get install -q -y --no-install-recommends --reinstall --download-only --allow-downgrades \
        -o Dir::Cache::archives="$work/debs" -o APT::Sandbox::User=root -o Debug::NoLocking=1 \
        "${PACKAGES[@]}"
    for package in "$work"/debs/*.deb; do
        dpkg -x "$package" "$root"
    done
    rm -r "$work/debs"
}

# Prints the directories of the libraries that `unpack_rust` unpacked, separated by colons.
libraries() {
    find "$root/usr/lib" -name '*.so*' -not -path '*/rustlib/*' -printf '%h\n' | sort -u | paste -sd :
}

# Creates a wrapper for an unpacked program, so that it finds its libraries.
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
    # Created last, because its existence means that everything is complete.
    wrap cargo "export RUSTC=$work/rustc RUSTDOC=$work/rustdoc"
fi

if [ ! -x "$work/venv/bin/cargo-zigbuild" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q --disable-pip-version-check "$ZIG" "$ZIGBUILD"
fi
