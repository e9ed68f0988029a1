#!/bin/bash
# Builds the program as one file that needs no other: no library, no interpreter, no
# configuration of the C library's.
#
#   src/packaging/static.sh x86_64-unknown-linux-musl | aarch64-unknown-linux-musl |
#                           armv7-unknown-linux-musleabihf
#
# The result is target/static/TARGET/release/plakar. The standard library for the target is
# rustup's (`rustup target add TARGET`); where that is not there and cannot be had, it is
# built along, by a compiler that came with its source (toolchain.sh, in target/toolchain or
# $STATIC_WORK). The C compiler and linker is zig in both cases, since it brings musl for
# every target.
#
# This is below `src`, with all that builds and installs the program: the top level is for
# what somebody who looks for the first time should see.
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
target=$1
work=${STATIC_WORK:-$top/target/toolchain}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# No path of this machine stands in the binary: neither those of the sources, which messages
# of panics name, nor those of the C in libraries. The last one that fits is taken.
remap=("$cargo_home=/cargo" "$top=/plakar")
# Nobody unwinds the stack, since panics abort: the tables for that would be a tenth of the file.
flags=(-C target-feature=+crt-static -C force-unwind-tables=no)
# It lies in memory somewhere else each time it runs. What rustc says to that end, zig ignores.
flags+=(-C link-arg=-pie)
cflags=(-fno-asynchronous-unwind-tables -fno-unwind-tables)
# AWS-LC's AES-GCM for AVX-512 is 0.7 MB of unrolled code for what AVX2 does at gigabytes a second.
cflags+=(-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX)

libraries=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
if [ -d "$libraries" ]; then
    command -v cargo-zigbuild >/dev/null || src/packaging/toolchain.sh "$work" no-rust
    build=()
else
    src/packaging/toolchain.sh "$work"
    work=$(cd "$work" && pwd)
    # Cargo tells the compiler of what is below the top in short.
    remap+=("$work=/toolchain" "${work#"$top"/}=/toolchain")
    # The unwinder would want parts of glibc; with `panic = "abort"` nobody unwinds.
    flags+=(-C link-self-contained=no)
    build=("-Zbuild-std=std,panic_abort" "-Zbuild-std-features=")
    export RUSTC_BOOTSTRAP=1 CARGO=$work/cargo RUSTC=$work/rustc RUSTDOC=$work/rustdoc
fi
export PATH=$work/venv/bin:$PATH
export CARGO_ZIGBUILD_CACHE_DIR=$top/target/static/zigbuild
export ZIG_GLOBAL_CACHE_DIR=$top/target/static/zig ZIG_LOCAL_CACHE_DIR=$top/target/static/zig

flags+=("${remap[@]/#/--remap-path-prefix=}")
export RUSTFLAGS="${flags[*]} ${RUSTFLAGS-}"
cflags+=("${remap[@]/#/-ffile-prefix-map=}")
export CFLAGS="${cflags[*]} ${CFLAGS-}"
export OPENSSL_SRC_PERL=$top/src/packaging/openssl.sh
# What would be the time of the build in libraries is the time of the commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(src/packaging/date.sh)}
export SOURCE_DATE_EPOCH

cargo-zigbuild zigbuild --release --locked --target-dir target/static --target "$target" "${build[@]}"
