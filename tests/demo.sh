#!/bin/bash
# A demonstration of plakar on a fresh machine: builds it, backs up a directory to a new store,
# lists the snapshot, checks it, restores it, and compares. All files are created in a temporary
# directory, which is removed at the end.
#
#   tests/demo.sh [DIRECTORY]     the directory to back up, which is only read
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)

# The given directory, or one that most machines have, or the sources of plakar.
default=/usr/share/doc
test -r "$default" || default=$top/src
source=$(realpath "${1:-$default}")

"$top/.ci/setup"
# Builds with the profile of the tests, which then reuse the dependencies. A release build (`make`)
# uses whole-program optimization and takes longer.
(cd "$top" && CARGO_INCREMENTAL=0 cargo build)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PLAKAR_REPOSITORY=$work/store
export PLAKAR_PASSPHRASE='only for this demonstration'
export XDG_CACHE_HOME=$work/cache

# Prints a command, and runs it.
plakar() {
    printf '\n$ plakar %s\n' "$*"
    "$top/target/debug/plakar" "$@"
}

plakar create
plakar backup "$source"
plakar backup "$source"
plakar ls
plakar check
plakar restore -to "$work/restored" latest

printf '\n$ diff -r --no-dereference %s %s\n' "$source" "$work/restored"
diff -r --no-dereference "$source" "$work/restored"
echo "no difference: $(find "$source" | wc -l) names came back as they were"
du -sh "$source" "$PLAKAR_REPOSITORY" | sed "s|$work/||"
