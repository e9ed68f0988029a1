#!/bin/bash
# Packs a static binary, which must exist, with all files that `make install` installs:
#
#   src/packaging/dist.sh TARGET     target/dist/plakar-VERSION-TARGET.tar.gz and .sha256
#
# To unpack it: `tar -C /usr/local --strip-components=1 -xzf FILE`. The same sources result in the
# same archive, bit for bit: names are sorted, and times, owners and modes do not depend on this
# machine.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
binary=${BINARY:-target/static/$target/release/plakar}
out=${DIST:-target/dist}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
name=plakar-$version-$target
date=$(src/packaging/date.sh)

if git rev-parse --git-dir >/dev/null 2>&1 && [ -n "$(git status --porcelain)" ]; then
    echo "dist: warning: what is packed is not the commit it tells: there are changes" >&2
fi

# The program prints the completions: this binary if it runs here, else in an emulator.
runner=()
case $target in
aarch64-*) emulator=qemu-aarch64 ;;
armv7-*) emulator=qemu-arm ;;
*) emulator= ;;
esac
if ! "$binary" version >/dev/null 2>&1 && [ -n "$emulator" ]; then
    runner=("$emulator")
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
make --no-print-directory install DESTDIR="$stage/root" PREFIX=/usr/local \
    BINARY="$binary" COMPLETER="${runner[*]} $binary"
mv "$stage/root/usr/local" "$stage/$name"
src/packaging/licences.sh "$target" >"$stage/$name/share/doc/plakar/LICENCES"

mkdir -p "$out"
archive=$out/$name.tar.gz
tar -C "$stage" --format=ustar --sort=name --mtime="@$date" --owner=0 --group=0 --numeric-owner \
    --mode=u=rwX,go=rX -cf - "$name" | gzip -n -9 >"$archive.new"
mv "$archive.new" "$archive"
(cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
echo "$archive"
