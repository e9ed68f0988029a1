#!/usr/bin/env python3
"""Makes stores of 20 snapshots of a tree that changes in between, removes most of them and frees
their room, with ours and restic in turns, and prints the medians.

    ours    prune -apply -years 1 -per-year N, then maintenance -grace 0s
    restic  forget --keep-last N --prune

With -grace 0s all is done in one run, as restic does it. Between two snapshots one file in a
hundred has 64 bytes appended, others each time, and one in two hundred goes. The page cache is
dropped before (where we may), and what is left is restored and compared, and checked.

After the table comes the ratio to be held, with its target. The programs and the data: peers.sh
restic, corpora.sh linux. The figures of every step are added to $BENCH/keep.jsonl. Environment: BENCH
(default target/bench), PLAKAR, the program of ours (default target/release/plakar)."""

import argparse
import os
import random
import signal
import subprocess
import sys
import time

from measure import BENCH, PLAKAR, drop_page_cache, environment, is_restored, judge, median
from measure import put_aside, record, remove_all, size_bytes, timed

WORK = BENCH + "/keep"
FILES, FILLED = WORK + "/files", WORK + "/filled"

SNAPSHOTS = 20
APPENDED_SHARE, REMOVED_SHARE = 100, 200
TOOLS = ["plakar", "restic"]
RATIO_TARGET = 0.5


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = parse()
    if not os.path.exists(FILLED):
        renew()
        fill(f"{BENCH}/corpus/{arguments.corpus}")
    runs = []
    for _ in range(arguments.reps):
        for tool in TOOLS:
            with open(f"{BENCH}/log-keep-{tool}", "ab") as log:
                free(tool, arguments.keep, runs, log)
    table(runs)
    if not arguments.leave:
        remove_all(WORK)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", default="linux", help="a directory of $BENCH/corpus")
    parser.add_argument("--keep", type=int, default=1, help="how many snapshots are kept")
    parser.add_argument("--leave", action="store_true", help="leave the stores for the next run")
    parser.add_argument("--reps", type=int, default=3)
    return parser.parse_args()


def renew():
    put_aside(WORK)
    for tool in TOOLS:
        os.makedirs(f"{WORK}/{tool}/home")


def fill(corpus):
    """The stores with all their snapshots, kept so that they can be freed again and again."""
    subprocess.run(["cp", "-a", corpus, FILES], check=True)
    dice = random.Random(2026)
    for tool in TOOLS:
        run(tool, "create")
    for number in range(SNAPSHOTS):
        if number:
            change(dice)
        for tool in TOOLS:
            run(tool, "backup")
    os.mkdir(FILLED)


def change(dice):
    paths = sorted(os.path.join(d, name) for d, _, names in os.walk(FILES) for name in names)
    paths = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    for path in dice.sample(paths, len(paths) // APPENDED_SHARE):
        with open(path, "ab") as file:
            file.write(dice.randbytes(64))
    for path in dice.sample(paths, len(paths) // REMOVED_SHARE):
        os.remove(path)


def run(tool, step):
    with open(f"{BENCH}/log-keep-{tool}", "ab") as log:
        timed(commands(tool, f"{WORK}/{tool}/store")[step], log, env=environment_of(tool))


def environment_of(tool):
    return environment(f"{WORK}/{tool}/home", f"{WORK}/{tool}/cache")


def commands(tool, store, keep=1, out=None):
    if tool == "restic":
        restic = ["restic", "-q", "-r", store]
        return {
            "create": restic + ["init"],
            "backup": restic + ["backup", FILES],
            "free": [restic + ["forget", "--keep-last", str(keep), "--prune"]],
            "restore": restic + ["restore", "latest", "--target", out],
            "check": restic + ["check", "--read-data"],
        }
    plakar = [PLAKAR, "-quiet", "at", store]
    return {
        "create": plakar + ["create"],
        "backup": plakar + ["backup", FILES],
        "free": [
            plakar + ["prune", "-apply", "-years", "1", "-per-year", str(keep)],
            plakar + ["maintenance", "-grace", "0s"],
        ],
        "restore": plakar + ["restore", "-to", out],
        "check": plakar + ["check"],
    }


def free(tool, keep, runs, log):
    """Frees a copy of the store."""
    attempt = f"{WORK}/{tool}-{time.time_ns()}"
    store, out = attempt + "/store", attempt + "/out"
    os.makedirs(out)
    subprocess.run(["cp", "-a", f"{WORK}/{tool}/store", store], check=True)
    before_bytes = size_bytes(store)
    os.sync()
    drop_page_cache()
    words = commands(tool, store, keep, out)
    steps = [timed(step, log, env=environment_of(tool)) for step in words["free"]]
    result = {name: sum(step[name] for step in steps) for name in ("wall_s", "cpu_s")}
    result |= {"peak_mib": max(step["peak_mib"] for step in steps), "tool": tool}
    result["freed_mb"] = (before_bytes - size_bytes(store)) / 1e6
    result["left_mb"] = size_bytes(store) / 1e6
    runs.append(result)
    record(result, "keep")
    timed(words["check"], log, env=environment_of(tool))
    timed(words["restore"], log, env=environment_of(tool))
    if not is_restored(FILES, out):
        print(f"!! {tool} restored differently", flush=True)


def table(runs):
    print("| program | wall s | cpu s | peak MiB | freed MB | left MB |")
    print("|---|---|---|---|---|---|")
    names = {"wall_s": ".2f", "cpu_s": ".2f", "peak_mib": ".0f", "freed_mb": ".1f", "left_mb": ".1f"}
    for tool in TOOLS:
        figures = [format(median(runs, name, tool=tool), form) for name, form in names.items()]
        print(f"| {tool} | {' | '.join(figures)} |")
    ours, theirs = (median(runs, "wall_s", tool=tool) for tool in TOOLS)
    judge("freeing beside restic, wall", ours / theirs, RATIO_TARGET)
    ours, theirs = (median(runs, "cpu_s", tool=tool) for tool in TOOLS)
    judge("freeing beside restic, CPU", ours / theirs, RATIO_TARGET)


if __name__ == "__main__":
    main()
