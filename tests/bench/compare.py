#!/usr/bin/env python3
"""Backs up the same files with several programs in turns, A B C A B C ..., and prints the
medians, and ours as a ratio to the best of the others.

The steps: a first backup with the files in the page cache, a second with nothing changed, a
third with 64 bytes appended to every hundredth file (or 1 MiB overwritten in the middle of the
only one), a restore, a check of all data, and pruning all but the last snapshot. The restore and
the check start with a cold page cache where we may drop it, and what was restored is compared.
Everything is encrypted, in a directory on this machine, with default settings.

CPU seconds are the figure to compare on a machine that others use too. Beside the wall time,
that of the least disturbed run, stands how many processors others, the kernel's own threads
among them, took meanwhile. The peak is that of the largest process. The cache is all that a
program keeps outside of its store, counted after each backup.

The programs and the data: peers.sh and corpora.sh. The figures of every step are added to
$BENCH/compare.jsonl once it is done. Environment: BENCH (default target/bench), PLAKAR, the program of ours
(default target/release/plakar)."""

import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time

from measure import BENCH, PLAKAR, drop_page_cache, environment, is_restored, put_aside, remove_all
from measure import PASSPHRASE, record, size_bytes

WORK = BENCH + "/work"
STORE, OUT, CACHE, KEY = WORK + "/store", WORK + "/out", WORK + "/cache", WORK + "/key"

STEPS = ["first", "nochange", "changed", "restore", "check", "prune"]
BACKUPS = STEPS[:3]

# Below this the leftovers of earlier runs are removed at once, and not at the end, though a restore
# then takes twice the processor time it should.
FREE_BYTES_WANTED = 12 << 30

ENVIRONMENT = environment(WORK + "/home", CACHE) | {
    "RUSTIC_PASSWORD": PASSPHRASE,
    "RUSTIC_CACHE_DIR": CACHE + "/rustic",
    "RUSTIC_NO_PROGRESS": "true",
    "BORG_PASSPHRASE": PASSPHRASE,
    "BORG_BASE_DIR": CACHE + "/borg",
}

# What to run, as shells read it. {files} is what is backed up, {number} counts the backups.
# A step that a program does not have is left out.
TOOLS = {
    "plakar": {
        "create": f"{PLAKAR} -quiet at {STORE} create",
        "backup": f"{PLAKAR} -quiet at {STORE} backup {{files}}",
        "restore": f"{PLAKAR} -quiet at {STORE} restore -to {OUT}",
        "check": f"{PLAKAR} -quiet at {STORE} check",
    },
    "restic": {
        "create": f"restic -q -r {STORE} init",
        "backup": f"restic -q -r {STORE} backup {{files}}",
        "restore": f"restic -q -r {STORE} restore latest --target {OUT}",
        "check": f"restic -q -r {STORE} check --read-data",
        "prune": f"restic -q -r {STORE} forget --keep-last 1 --prune",
    },
    "rustic": {
        "create": f"rustic --log-level warn -r {STORE} init",
        "backup": f"rustic --log-level warn -r {STORE} backup {{files}}",
        "restore": f"rustic --log-level warn -r {STORE} restore latest {OUT}",
        "check": f"rustic --log-level warn -r {STORE} check --read-data",
        "prune": f"rustic --log-level warn -r {STORE} forget --keep-last 1 --prune --instant-delete",
    },
    "borg": {
        "create": f"borg init -e repokey-blake2 {STORE}",
        "backup": f"borg create -C zstd,3 {STORE}::{{number}} {{files}}",
        "restore": f"cd {OUT} && exec borg extract {STORE}::{{number}}",
        "check": f"borg check --verify-data {STORE}",
        "prune": f"borg prune --keep-last 1 {STORE} && borg compact --threshold 0 {STORE}",
    },
    "bupstash": {
        "create": f"bupstash new-key -o {KEY} && bupstash init -r {STORE}",
        "backup": f"bupstash put -q -r {STORE} -k {KEY} --send-log {CACHE}/log n={{number}} {{files}}",
        "restore": f"bupstash restore -q -r {STORE} -k {KEY} --into {OUT} n={{number}}",
        "prune": f"bupstash rm -q -r {STORE} -k {KEY} --allow-many '~n={{number}}'"
        f" && bupstash gc -q -r {STORE}",
    },
}


def main():
    # So that what was changed in a corpus is changed back however this ends.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = parse()
    tools, corpora = arguments.tools.split(","), arguments.corpus.split(",")
    runs = []
    for corpus in corpora:
        for _ in range(arguments.reps):
            for tool in tools:
                try:
                    cycle(tool, corpus, arguments.steps.split(","), runs)
                except subprocess.CalledProcessError as error:
                    print(f"failed: {error}; see {log_path(tool)}", flush=True)
    table(runs, tools, corpora)
    remove_all(WORK)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", default="linux", help="linux,big,many,million")
    parser.add_argument("--tools", default="plakar,restic,borg", help=",".join(TOOLS))
    parser.add_argument("--steps", default=",".join(STEPS), help="default: all of them")
    parser.add_argument("--reps", type=int, default=3)
    return parser.parse_args()


def cycle(tool, corpus, steps, runs):
    """All steps of one program, on a new store."""
    renew_work()
    files, commands, undo, number = f"{BENCH}/corpus/{corpus}", TOOLS[tool], [], 0
    with open(log_path(tool), "ab") as log:
        timed(commands["create"], log)
        subprocess.run(["sh", "-c", f"find {files} -type f -print0 | xargs -0 cat >/dev/null"])
        try:
            for step in steps:
                command = commands.get("backup" if step in BACKUPS else step)
                if not command:
                    continue
                if step in BACKUPS:
                    number += 1
                prepare(step, files, undo)
                before_bytes = size_bytes(STORE)
                run = timed(command.format(files=files, number=number), log)
                run |= {"tool": tool, "corpus": corpus, "step": step}
                run["store_mb"] = (size_bytes(STORE) - before_bytes) / 1e6
                run["cache_mb"] = size_bytes(CACHE) / 1e6
                runs.append(run)
                record(run, "compare")
                if step == "restore" and not is_restored(files, OUT):
                    print(f"!! {tool} restored {corpus} differently", flush=True)
        finally:
            undo_changes(undo)


def prepare(step, files, undo):
    """What has to be done before a step, its time not counted."""
    os.sync()
    if step == "changed":
        change(files, undo)
    if step in ("restore", "check"):
        drop_page_cache()


def timed(command, log):
    """Runs `command` and tells what it took."""
    busy_before, start = busy_seconds(), time.time()
    words = ["sh", "-c", command if "&&" in command else "exec " + command]
    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    wall, cpu = time.time() - start, usage.ru_utime + usage.ru_stime
    others = max(0, busy_seconds() - busy_before - cpu) / wall
    return {"wall_s": wall, "cpu_s": cpu, "peak_mib": usage.ru_maxrss / 1024, "others": others}


def busy_seconds():
    """What all processors of the machine have worked since it started."""
    with open("/proc/stat") as stat:
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(
            int, stat.readline().split()[1:9]
        )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def change(files, undo):
    """Appends to every hundredth file, or overwrites the middle of the only one."""
    dice = random.Random(99)
    paths = sorted(os.path.join(d, name) for d, _, names in os.walk(files) for name in names)
    paths = [path for path in paths if os.path.isfile(path) and not os.path.islink(path)]
    is_only_one = len(paths) == 1
    for path in paths if is_only_one else paths[::100]:
        stat = os.stat(path)
        offset, length = (stat.st_size // 2, 1 << 20) if is_only_one else (stat.st_size, 64)
        with open(path, "r+b") as file:
            file.seek(offset)
            undo.append((path, stat, offset, file.read(length)))
            file.seek(offset)
            file.write(dice.randbytes(length))


def undo_changes(undo):
    for path, stat, offset, old in undo:
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(old)
        os.truncate(path, stat.st_size)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def renew_work():
    put_aside(WORK)
    if shutil.disk_usage(BENCH).free < FREE_BYTES_WANTED:
        remove_all(WORK)
    for directory in (WORK + "/home", OUT, CACHE):
        os.makedirs(directory)


def log_path(tool):
    return f"{BENCH}/log-{tool}"


def table(runs, tools, corpora):
    print("| corpus | step | program | wall s [others] | cpu s | peak MiB | store MB | cache MB |")
    print("|---|---|---|---|---|---|---|---|")
    for corpus in corpora:
        for step in STEPS:
            medians = {}
            for tool in tools:
                wanted = (tool, corpus, step)
                same = [r for r in runs if (r["tool"], r["corpus"], r["step"]) == wanted]
                if same:
                    medians[tool] = print_row(same)
            print_ratio(corpus, step, medians)


def print_row(runs):
    """Prints the row of one step of one program, and returns its medians."""
    names = ("wall_s", "cpu_s", "peak_mib", "store_mb", "cache_mb")
    medians = {name: statistics.median(run[name] for run in runs) for name in names}
    calm = min(runs, key=lambda run: run["others"])
    print(
        "| {corpus} | {step} | {tool} |".format(**calm),
        "{wall_s:.2f} [{others:.2f}] |".format(**calm),
        "{cpu_s:.2f} | {peak_mib:.0f} | {store_mb:+.2f} | {cache_mb:.1f} |".format(**medians),
    )
    return medians


def print_ratio(corpus, step, medians):
    ours = medians.pop("plakar", None)
    if not (ours and medians):
        return
    names = ("wall_s", "cpu_s", "peak_mib")
    ratios = [ours[name] / min(peer[name] for peer in medians.values()) for name in names]
    words = " | ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"| {corpus} | {step} | **ours / best other** | {words} | | |")


if __name__ == "__main__":
    main()
