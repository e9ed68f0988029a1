#!/usr/bin/env python3
"""Runs the static program and the dynamic one in turns over the same files, and prints the medians.

The static one has another C library: its own way to give out memory, which is slow where threads
ask for much of it, and its own memcpy. After the table come the ratios to be held. What is read is
in the page cache, and nothing is restored onto a disk if there is a file system in memory, since
that is what differs least.

The programs: make, make static. The data: corpora.sh linux random. The figures of every step are
added to $BENCH/static.jsonl. Environment: BENCH (default target/bench), PLAKAR (default
target/release/plakar), STATIC (default target/static/x86_64-unknown-linux-musl/release/plakar)."""

import argparse
import os
import signal
import subprocess
import sys

from measure import BENCH, PLAKAR, TOP, environment, is_restored, judge, median, record
from measure import timed, warm

STATIC = os.path.join(TOP, "target/static/x86_64-unknown-linux-musl/release/plakar")
PROGRAMS = {"dynamic": PLAKAR, "static": os.path.abspath(os.environ.get("STATIC", STATIC))}
MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else BENCH
WORK, OUT = BENCH + "/static", MEMORY + "/plakar-bench-static"

STEPS = ["first", "again", "check", "restore"]
RATIO_TARGET = 1.1


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpora", default="linux,random", help="directories of $BENCH/corpus")
    parser.add_argument("--reps", type=int, default=5)
    arguments = parser.parse_args()
    runs = []
    try:
        for corpus in arguments.corpora.split(","):
            files = f"{BENCH}/corpus/{corpus}"
            warm(files)
            for repetition in range(arguments.reps):
                # Whoever goes first meets another state of the machine than who goes second.
                for kind in sorted(PROGRAMS, reverse=repetition % 2 == 1):
                    measure(kind, corpus, files, runs)
            table(runs, corpus)
    finally:
        clear()
    for corpus in arguments.corpora.split(","):
        for step in ("first", "restore"):
            ours, theirs = (median(runs, "wall_s", kind=k, corpus=corpus, step=step) for k in ("static", "dynamic"))
            judge(f"static beside dynamic, {corpus}, {step}", ours / theirs, RATIO_TARGET)


def clear():
    subprocess.run(["rm", "-rf", WORK, OUT], check=True)


def measure(kind, corpus, files, runs):
    """All steps with one of the programs, on a new store."""
    clear()
    os.makedirs(WORK + "/home")
    plakar = [PROGRAMS[kind], "-quiet", "at", WORK + "/store"]
    words = {
        "create": ["create"],
        "first": ["backup", files],
        "again": ["backup", files],
        "check": ["check"],
        "restore": ["restore", "-to", OUT],
    }
    with open(f"{BENCH}/log-static-{kind}", "ab") as log:
        for step in ["create"] + STEPS:
            took = timed(plakar + words[step], log, env=environment(WORK + "/home", WORK + "/cache"))
            took |= {"kind": kind, "corpus": corpus, "step": step}
            runs.append(took)
            record(took, "static")
    if not is_restored(files, OUT):
        print(f"!! {kind} restored {corpus} differently", flush=True)


def table(runs, corpus):
    print(f"\n| {corpus} | program | wall s | cpu s | peak MiB |")
    print("|---|---|---|---|---|")
    for step in STEPS:
        for kind in PROGRAMS:
            wanted = {"kind": kind, "corpus": corpus, "step": step}
            wall, cpu, peak = (median(runs, name, **wanted) for name in ("wall_s", "cpu_s", "peak_mib"))
            print(f"| {step} | {kind} | {wall:.2f} | {cpu:.2f} | {peak:.0f} |")
    print(flush=True)


if __name__ == "__main__":
    main()
