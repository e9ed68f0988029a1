#!/bin/bash
# Prints the time of the last change of the sources, in seconds since 1970: $SOURCE_DATE_EPOCH,
# else the date of the commit, else, without a repository, that of the newest source file.
# Therefore all builds of the same sources contain the same dates.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ -n "${SOURCE_DATE_EPOCH-}" ]; then
    echo "$SOURCE_DATE_EPOCH"
elif ! git log -1 --format=%ct 2>/dev/null; then
    find Cargo.toml Cargo.lock CHANGELOG.md src man -type f -printf '%T@\n' | sort -n | tail -n 1 | cut -d . -f 1
fi
