#!/usr/bin/env python3
"""Backs up and restores the same files through a directory, through `plakar server` over plain
HTTP and over TLS, and through restic and its rest-server, in turns, and prints the medians.

Each way is a cycle of its own on a new store: a first backup with the files in the page cache, a
second with nothing changed, a restore and a check. The servers listen on 127.0.0.1 on a free
port, are started for the cycle and stopped after it. What was restored is compared. The
requests of a step are counted by the server itself (/metrics). The certificate is made by
openssl, and the client told to trust it by tls_ca.

After the table come the ratios to be held, each with the target:

    http/dir, https/dir   how much slower the network is, wall time, backup and restore
    http/restic           ours beside restic through rest-server
    requests              of a backup of what did not change
    peak of the server    MiB

The programs and the data: peers.sh restic rest-server, corpora.sh. The figures of every step are
added to $BENCH/served.jsonl. Environment: BENCH (default target/bench), PLAKAR, the program of ours
(default target/release/plakar)."""

import argparse
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import urllib.request

from measure import BENCH, PLAKAR, environment, free_port, is_restored, judge, median, started
from measure import drop_page_cache, record, stop, timed, warm

WORK = BENCH + "/served"
STORE, OUT, CACHE, HOME = WORK + "/store", WORK + "/out", WORK + "/cache", WORK + "/home"
CERTIFICATE, KEY = WORK + "/certificate.pem", WORK + "/key.pem"

WAYS = ["dir", "http", "https", "restic"]
STEPS = ["first", "nochange", "restore", "check"]

# (what, of which steps, numerator, denominator, at most)
TARGETS = [
    ("http/dir", ["first", "restore"], "http", "dir", 1.25),
    ("https/dir", ["first", "restore"], "https", "dir", 1.5),
    ("http/restic", ["first", "restore"], "http", "restic", 0.6),
]
REQUESTS_TARGET = 10
SERVER_MIB_TARGET = 48

ENVIRONMENT = environment(HOME, CACHE)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = parse()
    ways, runs = arguments.ways.split(","), []
    for _ in range(arguments.reps):
        for way in ways:
            try:
                cycle(way, arguments.corpus, runs)
            except (subprocess.CalledProcessError, OSError) as error:
                print(f"failed: {way}: {error}; see {log_path(way)}", flush=True)
    table(runs, ways)
    targets(runs)
    shutil.rmtree(WORK, ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", default="linux", help="a directory of $BENCH/corpus")
    parser.add_argument("--ways", default=",".join(WAYS), help="default: all of them")
    parser.add_argument("--reps", type=int, default=3)
    return parser.parse_args()


def cycle(way, corpus, runs):
    """All steps of one way, on a new store."""
    shutil.rmtree(WORK, ignore_errors=True)
    for directory in (HOME, OUT, CACHE):
        os.makedirs(directory)
    files = f"{BENCH}/corpus/{corpus}"
    warm(files)
    with open(log_path(way), "ab") as log:
        server = start(way, log)
        try:
            commands = commands_of(way, server, files, log)
            timed(commands["create"], log, env=ENVIRONMENT)
            for step in STEPS:
                os.sync()
                if step in ("restore", "check"):
                    drop_page_cache()
                before = requests(server)
                words = commands["backup" if step in ("first", "nochange") else step]
                run = timed(words, log, env=ENVIRONMENT)
                run |= {"way": way, "step": step}
                if before is not None:
                    # The one that asked is none of them.
                    run["requests"] = requests(server) - before - 1
                if step == "restore" and not is_restored(files, OUT):
                    print(f"!! {way} restored {corpus} differently", flush=True)
                runs.append(run)
            if server:
                peak_mib = peak_of(server["process"].pid)
                runs.append({"way": way, "step": "server", "peak_mib": peak_mib})
        finally:
            if server:
                stop(server["process"])
    for run in runs[-len(STEPS) - 1 :]:
        record(run, "served")


def commands_of(way, server, files, log):
    """What to run, as words."""
    if way == "restic":
        restic = ["restic", "-q", "-r", f"rest:{server['url']}/store/"]
        return {
            "create": restic + ["init"],
            "backup": restic + ["backup", files],
            "restore": restic + ["restore", "latest", "--target", OUT],
            "check": restic + ["check", "--read-data"],
        }
    at = STORE if way == "dir" else server["url"]
    if way == "https":
        words = [PLAKAR, "store", "add", "served", at, f"tls_ca={CERTIFICATE}"]
        timed(words, log, env=ENVIRONMENT)
        at = "@served"
    plakar = [PLAKAR, "-quiet", "at", at]
    return {
        "create": plakar + ["create"],
        "backup": plakar + ["backup", files],
        "restore": plakar + ["restore", "-to", OUT],
        "check": plakar + ["check"],
    }


def start(way, log):
    """Starts the server of this way, if it has one, and waits until it answers."""
    if way == "dir":
        return None
    port = free_port()
    words = {
        "http": [PLAKAR, "at", STORE, "server", "-listen", f"127.0.0.1:{port}"],
        "https": [PLAKAR, "at", STORE, "server", "-listen", f"127.0.0.1:{port}"]
        + ["-cert", CERTIFICATE, "-key", KEY],
        "restic": ["rest-server", "--path", STORE, "--no-auth", "--listen", f"127.0.0.1:{port}"],
    }[way]
    if way == "https":
        make_certificate(log)
    scheme = "https" if way == "https" else "http"
    process = started(words, port, log, env=ENVIRONMENT)
    return {"process": process, "way": way, "url": f"{scheme}://127.0.0.1:{port}"}


def make_certificate(log):
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    words = words.split() + ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-addext", "basicConstraints=critical,CA:FALSE"]
    words += ["-keyout", KEY, "-out", CERTIFICATE]
    subprocess.run(words, stdout=log, stderr=log, check=True)


def requests(server):
    """How many requests a server of ours has answered."""
    if not server or server["way"] == "restic":
        return None
    trust = ssl.create_default_context(cafile=CERTIFICATE) if server["way"] == "https" else None
    with urllib.request.urlopen(server["url"] + "/metrics", context=trust) as answer:
        page = answer.read().decode()
    counts = re.findall(r"^plakar_requests_total(?:\{[^}]*\})? (\d+)$", page, re.MULTILINE)
    return sum(map(int, counts))


def peak_of(pid):
    """The most memory a running process had, in MiB."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"^VmHWM:\s+(\d+) kB", status.read(), re.MULTILINE)[1]) / 1024


def log_path(way):
    return f"{BENCH}/log-served-{way}"


def table(runs, ways):
    print("| step | way | wall s | cpu s | peak MiB | requests |")
    print("|---|---|---|---|---|---|")
    for step in STEPS + ["server"]:
        for way in ways:
            names = [("wall_s", ".2f"), ("cpu_s", ".2f"), ("peak_mib", ".0f"), ("requests", ".0f")]
            figures = [(median(runs, name, way=way, step=step), form) for name, form in names]
            if any(figure is not None for figure, _ in figures):
                words = ["–" if f is None else format(f, form) for f, form in figures]
                print(f"| {step} | {way} | {' | '.join(words)} |")


def targets(runs):
    for name, steps, way, other, most in TARGETS:
        for step in steps:
            ours, theirs = (median(runs, "wall_s", way=w, step=step) for w in (way, other))
            if ours and theirs:
                judge(f"{name}, {step}", ours / theirs, most)
    for way in ("http", "https"):
        count = median(runs, "requests", way=way, step="nochange")
        if count is not None:
            judge(f"requests over {way}, nothing changed", count, REQUESTS_TARGET - 1)
        peak_mib = median(runs, "peak_mib", way=way, step="server")
        if peak_mib is not None:
            judge(f"peak of the {way} server, MiB", peak_mib, SERVER_MIB_TARGET)


if __name__ == "__main__":
    main()
