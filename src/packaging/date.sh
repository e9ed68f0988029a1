#!/bin/bash
# Prints when the sources were last changed, in seconds since 1970: $SOURCE_DATE_EPOCH, or the
# date of the commit, or, without the history, that of the newest file among them. What is
# made of the same sources has the same dates in it, whenever it is made.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -n "${SOURCE_DATE_EPOCH-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
elif ! git log -1 --format=%ct 2>/dev/null; then
    find Cargo.toml Cargo.lock CHANGELOG.md src man -type f -printf '%T@\n' | sort -n | tail -n 1 | cut -d . -f 1
fi
