#!/bin/bash
# Prints the licenses of everything that is linked into a static binary, as required for its
# distribution: each package with its license expression, then each license text once, with the
# packages that contain it.
#
#   src/packaging/licences.sh TARGET
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
work=${STATIC_WORK:-target/toolchain}
texts=$(mktemp -d)
trap 'rm -rf "$texts"' EXIT

# Prints name, version and license of each linked package. Packages that run only during the build
# are not linked, except that OpenSSL has the form of such a package.
packages() {
    cargo tree --locked --target "$target" -e normal,no-proc-macro --prefix none --format '{p};{l}'
    cargo tree --locked --target "$target" -e normal,build --prefix none --format '{p};{l}' | grep '^openssl-src '
}

# Stores one license text under its checksum, with the name of its package.
note() {
    local name=$1 file=$2 sum
    sum=$(sha256sum <"$file" | cut -d ' ' -f 1)
    [ -e "$texts/$sum" ] || cp "$file" "$texts/$sum"
    echo "$name" >>"$texts/$sum.names"
}

echo "plakar is made of these packages, beside its own part and the standard library of Rust:"
echo
while IFS=';' read -r package licence; do
    read -r name version _ <<<"$package"
    [ "$name" != plakar ] || continue
    directory=$(echo "$sources"/*/"$name-${version#v}")
    echo "$name ${version#v}: $licence"
    while read -r file; do
        note "$name" "$file"
    done < <(find "$directory" -maxdepth 4 -type f \
        \( -iname 'LICEN[CS]E*' -o -iname 'COPYING*' -o -iname 'COPYRIGHT*' -o -iname 'NOTICE*' \) \
        -not -iname '*.py' -not -iname '*.rs' | sort)
done < <(packages | sed 's/ (\*)$//' | LC_ALL=C sort -u)

for file in "$work"/venv/lib/python3*/site-packages/ziglang/lib/libc/musl/COPYRIGHT; do
    [ ! -r "$file" ] || { echo "musl: MIT" && note musl "$file"; }
done

for file in "$texts"/*.names; do
    printf '\n%s\n\n' "$(printf '=%.0s' {1..72})"
    LC_ALL=C sort -u "$file" | paste -sd ' ' | fold -s -w 72
    echo
    cat "${file%.names}"
done
