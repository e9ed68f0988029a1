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
import json
import os
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import time
import urllib.request

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BENCH = os.path.abspath(os.environ.get("BENCH", os.path.join(TOP, "target/bench")))
PLAKAR = os.path.abspath(os.environ.get("PLAKAR", os.path.join(TOP, "target/release/plakar")))

WORK = BENCH + "/served"
STORE, OUT, CACHE, HOME = WORK + "/store", WORK + "/out", WORK + "/cache", WORK + "/home"
CERTIFICATE, KEY = WORK + "/certificate.pem", WORK + "/key.pem"

WAYS = ["dir", "http", "https", "restic"]
STEPS = ["first", "nochange", "restore", "check"]
PASSPHRASE = "vermilion otter 51 balances ledgers"

# How long a server may take to answer for the first time, and to stop.
PATIENCE_S = 10

# (what, of which steps, numerator, denominator, at most)
TARGETS = [
    ("http/dir", ["first", "restore"], "http", "dir", 1.25),
    ("https/dir", ["first", "restore"], "https", "dir", 1.5),
    ("http/restic", ["first", "restore"], "http", "restic", 0.6),
]
REQUESTS_TARGET = 10
SERVER_MIB_TARGET = 48

ENVIRONMENT = {
    "PATH": f"{BENCH}/bin:{os.environ['PATH']}",
    "HOME": HOME,
    "LANG": "C.UTF-8",
    "XDG_CACHE_HOME": CACHE,
    "PLAKAR_PASSPHRASE": PASSPHRASE,
    "RESTIC_PASSWORD": PASSPHRASE,
    "RESTIC_CACHE_DIR": CACHE + "/restic",
}


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
    subprocess.run(["sh", "-c", f"find {files} -type f -print0 | xargs -0 cat >/dev/null"])
    with open(log_path(way), "ab") as log:
        server = start(way, log)
        try:
            commands = commands_of(way, server, files, log)
            timed(commands["create"], log)
            for step in STEPS:
                os.sync()
                if step in ("restore", "check"):
                    drop_page_cache()
                before = requests(server)
                run = timed(commands["backup" if step in ("first", "nochange") else step], log)
                run |= {"way": way, "step": step}
                if before is not None:
                    # The one that asked is none of them.
                    run["requests"] = requests(server) - before - 1
                if step == "restore" and not is_restored(files):
                    print(f"!! {way} restored {corpus} differently", flush=True)
                runs.append(run)
            if server:
                peak_mib = peak_of(server["process"].pid)
                runs.append({"way": way, "step": "server", "peak_mib": peak_mib})
        finally:
            stop(server)
    with open(BENCH + "/served.jsonl", "a") as results:
        for run in runs[-len(STEPS) - 1 :]:
            print(json.dumps(run), file=results)


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
        timed([PLAKAR, "store", "add", "served", at, f"tls_ca={CERTIFICATE}"], log)
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
    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    scheme = "https" if way == "https" else "http"
    server = {"process": process, "way": way, "url": f"{scheme}://127.0.0.1:{port}"}
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            time.sleep(0.02)
    stop(server)
    raise OSError(f"{words[0]} does not answer")


def stop(server):
    """Stops a server that we started, by its own id."""
    if not server:
        return
    server["process"].terminate()
    try:
        server["process"].wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        server["process"].kill()
        server["process"].wait()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


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


def timed(words, log):
    """Runs a command and tells what it took."""
    started = time.time()
    process = subprocess.Popen(
        words, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, words)
    return {
        "wall_s": time.time() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def drop_page_cache():
    try:
        with open("/proc/sys/vm/drop_caches", "w") as knob:
            knob.write("3\n")
    except OSError:
        pass


def is_restored(files):
    """Some programs restore into the directory named, some below it under the whole path."""
    below = OUT + files
    restored = below if os.path.isdir(below) else OUT
    diff = ["diff", "-rq", "--no-dereference", files, restored]
    return subprocess.run(diff, capture_output=True).returncode == 0


def log_path(way):
    return f"{BENCH}/log-served-{way}"


def median(runs, way, step, name):
    """Nothing if there is no such figure."""
    figures = [r[name] for r in runs if (r["way"], r["step"]) == (way, step) and name in r]
    return statistics.median(figures) if figures else None


def table(runs, ways):
    print("| step | way | wall s | cpu s | peak MiB | requests |")
    print("|---|---|---|---|---|---|")
    for step in STEPS + ["server"]:
        for way in ways:
            names = [("wall_s", ".2f"), ("cpu_s", ".2f"), ("peak_mib", ".0f"), ("requests", ".0f")]
            figures = [(median(runs, way, step, name), form) for name, form in names]
            if any(figure is not None for figure, _ in figures):
                words = ["–" if f is None else format(f, form) for f, form in figures]
                print(f"| {step} | {way} | {' | '.join(words)} |")


def targets(runs):
    for name, steps, way, other, most in TARGETS:
        for step in steps:
            ours, theirs = median(runs, way, step, "wall_s"), median(runs, other, step, "wall_s")
            if ours and theirs:
                judge(f"{name}, {step}", ours / theirs, most)
    for way in ("http", "https"):
        count = median(runs, way, "nochange", "requests")
        if count is not None:
            judge(f"requests over {way}, nothing changed", count, REQUESTS_TARGET - 1)
        peak_mib = median(runs, way, "server", "peak_mib")
        if peak_mib is not None:
            judge(f"peak of the {way} server, MiB", peak_mib, SERVER_MIB_TARGET)


def judge(what, figure, most):
    verdict = "ok" if figure <= most else "MISSED"
    print(f"{what}: {figure:.2f}, at most {most}: {verdict}")


if __name__ == "__main__":
    main()
