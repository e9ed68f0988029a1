#!/bin/bash
# Builds the program as a single file without dependencies: no library, no interpreter, no
# configuration of the C library.
#
#   src/packaging/static.sh x86_64-unknown-linux-musl | aarch64-unknown-linux-musl |
#                           armv7-unknown-linux-musleabihf
#
# The result is target/static/TARGET/release/plakar. The standard library for the target is that of
# rustup (`rustup target add TARGET`). If it is not installed and cannot be, it is compiled from
# source, with a compiler that includes this source (toolchain.sh, in target/toolchain or
# $STATIC_WORK). The C compiler and linker is zig in both cases, because it includes musl for every
# target.
#
# This script is below `src`, like everything that builds and installs the program: the top level
# contains only files for a reader new to the project.
set -euo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
target=$1
work=${STATIC_WORK:-$top/target/toolchain}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

# The binary contains no path of this machine: neither those of the sources, which panic messages
# contain, nor those of the C code in libraries. The last matching mapping applies.
remap=("$cargo_home=/cargo" "$top=/plakar")
# Panics abort, so the stack is never unwound: unwind tables would be a tenth of the file.
flags=(-C target-feature=+crt-static -C force-unwind-tables=no)
# The binary is position-independent, for address space randomization. zig ignores the
# corresponding options of rustc.
flags+=(-C link-arg=-pie)
cflags=(-fno-asynchronous-unwind-tables -fno-unwind-tables)
# AWS-LC's AES-GCM for AVX-512 is 0.7 MB of unrolled code. AVX2 already achieves gigabytes per
# second.
cflags+=(-DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX)

libraries=$(rustc --print target-libdir --target "$target" 2>/dev/null || true)
if [ -d "$libraries" ]; then
    command -v cargo-zigbuild >/dev/null || src/packaging/toolchain.sh "$work" no-rust
    build=()
else
    src/packaging/toolchain.sh "$work"
    work=$(cd "$work" && pwd)
    # Cargo passes relative paths to the compiler for sources below the top level.
    remap+=("$work=/toolchain" "${work#"$top"/}=/toolchain")
    # The unwinder would require parts of glibc. With `panic = "abort"` it is not used.
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
# Libraries use the time of the commit instead of the time of the build.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(src/packaging/date.sh)}
export SOURCE_DATE_EPOCH

cargo-zigbuild zigbuild --release --locked --target-dir target/static --target "$target" "${build[@]}"
