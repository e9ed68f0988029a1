#!/usr/bin/env python3
"""How soon, how fast and in how much memory snapshots are listed, walked and compared.

  ls             of 1,000 snapshots
  ls -recursive  of a snapshot of the corpus `million` (corpora.sh makes it)
  diff           of two snapshots of it that differ in 10 files
  locate         of one name among the million

For each: seconds to the first byte on a pipe (opening the store takes one argon2 of it),
seconds in all, peak memory, and lines. Medians of the runs, the first of which finds the index
cache as the backup left it. Stores are made once, below $BENCH/listing, and kept.

Environment: BENCH (default target/bench), PLAKAR (default target/release/plakar)."""

import argparse
import os
import statistics
import subprocess
import sys
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BENCH = os.path.abspath(os.environ.get("BENCH", os.path.join(TOP, "target/bench")))
PLAKAR = os.path.abspath(os.environ.get("PLAKAR", os.path.join(TOP, "target/release/plakar")))
WORK, MILLION = BENCH + "/listing", BENCH + "/corpus/million"
MANY, TWO = WORK + "/many", WORK + "/two"
SNAPSHOTS, CHANGED = 1000, 10
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": WORK + "/home",
    "PLAKAR_PASSPHRASE": "vermilion otter 51 balances ledgers",
}


def plakar(store, *words):
    subprocess.run([PLAKAR, "at", store, *words], env=ENVIRONMENT, check=True,
                   stdout=subprocess.DEVNULL)


def make_many():
    """A store of many snapshots, a day apart, of one small directory."""
    if os.path.exists(MANY):
        return
    files, unfinished = WORK + "/files", MANY + ".new"
    os.makedirs(files, exist_ok=True)
    plakar(unfinished, "create")
    for day in range(SNAPSHOTS):
        with open(files + "/file", "w") as file:
            file.write(f"day {day}\n")
        when = time.strftime("%Y-%m-%d", time.gmtime(1_700_000_000 + day * 86400))
        plakar(unfinished, "backup", "-quiet", "-force-timestamp", when, files)
    os.rename(unfinished, MANY)


def make_two():
    """A store of two snapshots of the corpus, between which a few files changed."""
    if os.path.exists(TWO):
        return
    if not os.path.isdir(MILLION):
        sys.exit(f"no {MILLION}: tests/bench/corpora.sh million makes it")
    unfinished = TWO + ".new"
    plakar(unfinished, "create")
    plakar(unfinished, "backup", "-quiet", MILLION)
    holding = [(place, files) for place, _, files in os.walk(MILLION) if files]
    for place, files in sorted(holding)[:: len(holding) // CHANGED][:CHANGED]:
        with open(os.path.join(place, min(files)), "a") as file:
            file.write("changed\n")
    plakar(unfinished, "backup", "-quiet", MILLION)
    os.rename(unfinished, TWO)


def make_stores():
    """Both, in a process of its own: the peak of a child counts from that of its parent."""
    child = os.fork()
    if child == 0:
        make_many()
        make_two()
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        sys.exit("the stores cannot be made")


def snapshots(store):
    """Ids, the newest first."""
    listed = subprocess.run([PLAKAR, "at", store, "ls", "-uuid"], env=ENVIRONMENT, check=True,
                            capture_output=True, text=True)
    return [line.split()[1] for line in listed.stdout.splitlines()]


def measure(command):
    """Seconds to the first byte and in all, peak KiB, lines, and the exit code."""
    began = time.monotonic()
    read, write = os.pipe()
    child = subprocess.Popen(command, env=ENVIRONMENT, stdout=write)
    os.close(write)
    lines, first = 0, None
    while piece := os.read(read, 1 << 16):
        first = first or time.monotonic() - began
        lines += piece.count(b"\n")
    _, status, usage = os.wait4(child.pid, 0)
    os.close(read)
    return first, time.monotonic() - began, usage.ru_maxrss, lines, os.waitstatus_to_exitcode(status)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5)
    reps = parser.parse_args().reps
    os.makedirs(ENVIRONMENT["HOME"], exist_ok=True)
    make_stores()
    after, before = snapshots(TWO)
    steps = {
        "ls": ["at", MANY, "ls"],
        "ls -recursive": ["at", TWO, "ls", "-recursive", after],
        "diff -recursive": ["at", TWO, "diff", "-recursive", before, after],
        "locate": ["at", TWO, "locate", "-snapshot", after, "no such name"],
    }
    print(f"{'':16}{'first byte s':>14}{'all s':>8}{'peak MiB':>10}{'lines':>9}{'exit':>6}")
    for name, words in steps.items():
        runs = [measure([PLAKAR, *words]) for _ in range(reps)]
        firsts = [run[0] for run in runs if run[0]]
        first = f"{statistics.median(firsts):.3f}" if firsts else "-"
        seconds = statistics.median(run[1] for run in runs)
        peak = max(run[2] for run in runs) / 1024
        print(f"{name:16}{first:>14}{seconds:>8.2f}{peak:>10.0f}{runs[0][3]:>9}{runs[0][4]:>6}")


if __name__ == "__main__":
    main()
