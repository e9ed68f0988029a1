#!/bin/bash
# Creates the data that compare.py backs up, below $BENCH/corpus. Requires Debian, and root for
# `linux`. Can be repeated: existing data is kept.
#
#   tests/bench/corpora.sh [linux|big|many|million]...     (default: linux big)
#
#   linux    a kernel's source tree: 78,579 files, 1.32 GB (Debian's linux-source-6.1,
#            or the newest there is, which has more)
#   big      one file of 4 GiB: 64 times 32 MiB of a tar of /usr, then 32 MiB that do
#            not compress
#   many     300,000 files of 1 to 4 KiB in 3,000 directories, 0.78 GB, half of them
#            hex digits, half random
#   million  1,000,000 files of 0 to 2 KiB in 10,000 directories, 1.1 GB, likewise
#
# BENCH is the directory for all files (default: target/bench).
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
BENCH=${BENCH:-$top/target/bench}
mkdir -p "$BENCH/corpus"
cd "$BENCH/corpus"

# Each function fills the directory $1, which gets its final name when it is complete.

make_linux() {
    local fetch package
    fetch=$(mktemp -d -p .)
    package=linux-source-6.1
    apt-get update -q
    if ! apt-cache show "$package" >/dev/null 2>&1; then
        package=$(apt-cache search --names-only '^linux-source-[0-9.]+$' |
            cut -d ' ' -f 1 | sort -V | tail -n 1)
    fi
    (cd "$fetch" && apt-get -q -o APT::Sandbox::User=root download "$package" && dpkg -x ./*.deb .)
    tar -xJf "$fetch"/usr/src/linux-source-*.tar.xz -C "$1"
    rm -rf "$fetch"
}

make_big() {
    python3 - "$1/big.img" <<'PYTHON'
import subprocess
import sys

MIB = 1 << 20
PART_BYTES, PARTS = 32 * MIB, 64
TAR = "tar --sort=name --mtime=@0 --owner=0 --group=0 -cf - -C /usr bin include lib share"
RANDOM = "openssl enc -aes-128-ctr -K 000102030405060708090a0b0c0d0e0f -iv 00 -in /dev/zero"


def start(command):
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return subprocess.Popen(command.split(), **pipes)


files, random = start(TAR), start(RANDOM)
with open(sys.argv[1], "wb") as image:
    for _ in range(PARTS):
        part = files.stdout.read(PART_BYTES)
        image.write(part)
        image.write(random.stdout.read(2 * PART_BYTES - len(part)))
files.kill()
random.kill()
PYTHON
}

# Creates $2 directories of 100 files of $3 to $4 bytes.
make_small_files() {
    python3 - "$@" <<'PYTHON'
import os
import random
import sys

root, (directories, least_bytes, most_bytes) = sys.argv[1], map(int, sys.argv[2:])
dice = random.Random(4242)
for directory in range(directories):
    path = f"{root}/d{directory // 100:03d}/s{directory % 100:02d}"
    os.makedirs(path)
    for file in range(100):
        size_bytes = dice.randint(least_bytes, most_bytes)
        is_random = file % 2
        contents = dice.randbytes(size_bytes if is_random else size_bytes // 2)
        with open(f"{path}/f{file:03d}.dat", "wb") as new:
            new.write(contents if is_random else contents.hex().encode())
PYTHON
}

test $# -gt 0 || set -- linux big
for corpus in "$@"; do
    test -e "$corpus" && continue
    rm -rf .new
    mkdir .new
    case $corpus in
    linux) make_linux .new ;;
    big) make_big .new ;;
    many) make_small_files .new 3000 1024 4096 ;;
    million) make_small_files .new 10000 0 2048 ;;
    *)
        echo "corpora.sh: no such corpus: $corpus" >&2
        exit 64
        ;;
    esac
    mv .new "$corpus"
done
for corpus in "$@"; do
    printf '%-8s %8s files %14s bytes\n' \
        "$corpus" "$(find "$corpus" -type f | wc -l)" "$(du -sb "$corpus" | cut -f 1)"
done
