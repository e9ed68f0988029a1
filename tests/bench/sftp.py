#!/usr/bin/env python3
"""Backs up to and restores from a directory of an OpenSSH server, beside OpenSSH's own `sftp`,
which puts and gets the same files, and restic, in turns, and prints the medians.

The server is a private sshd on 127.0.0.1 with its own keys. Each way is a cycle of its own in a
new directory of it:

    sftp     put, get
    plakar   a first backup, a second with nothing changed, a restore
    delayed  the same with 20 ms of delay, 10 each way, which a proxy adds
    restic   as plakar, through `ssh -s sftp`

What is put is in the page cache, what is got is not (where we may drop it), and what was restored
is compared. Two corpora: `random`, 1 GiB in 16 files, made here, and `linux` (corpora.sh), of
which `sftp` puts each file by itself, and as a second run the packs that ours made of it: a floor
for whoever stores those bytes.

After the table come the ratios to be held, each with the target. The figures of every step are
added to $BENCH/sftp.jsonl. Environment: BENCH (default target/bench), PLAKAR, the program of ours
(default target/release/plakar)."""

import argparse
import collections
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from measure import BENCH, PLAKAR, drop_page_cache, environment, free_port, is_restored, judge
from measure import median, put_aside, record, remove_all, started, stop, timed, warm

WORK = BENCH + "/sftp"
HOME, OUT, CACHE, FAR = WORK + "/home", WORK + "/out", WORK + "/cache", WORK + "/far"
SSH_CONFIG = HOME + "/.ssh/config"

CORPORA = ["random", "linux"]
WAYS = ["sftp", "plakar", "delayed", "packs", "restic"]
STEPS = ["first", "nochange", "restore"]

RANDOM_FILES, RANDOM_FILE_BYTES = 16, 64 << 20
# Each way; what a line to another town takes.
DELAY_S = 0.010
# What may be on its way through the proxy in one direction.
UNDER_WAY_BYTES = 32 << 20

# (what, step, numerator, denominator, at most), of wall times
TARGETS = [
    ("backup / sftp put", "first", "plakar", "sftp", 1 / 0.8),
    ("restore / sftp get", "restore", "plakar", "sftp", 1 / 0.8),
    ("backup, delayed / undelayed", "first", "delayed", "plakar", 2),
    ("restore, delayed / undelayed", "restore", "delayed", "plakar", 2),
    ("backup / restic", "first", "plakar", "restic", 0.5),
    ("restore / restic", "restore", "plakar", "restic", 0.5),
]

ENVIRONMENT = environment(HOME, CACHE)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    arguments = parse()
    corpora, ways, runs = arguments.corpus.split(","), arguments.ways.split(","), []
    for corpus in corpora:
        make_random(corpus)
        for _ in range(arguments.reps):
            for way in ways:
                try:
                    cycle(way, corpus, runs)
                except (subprocess.CalledProcessError, OSError) as error:
                    print(f"failed: {way}: {error}; see {log_path(way)}", flush=True)
    table(runs, corpora, ways)
    targets(runs, corpora)
    remove_all(WORK)
    shutil.rmtree(os.path.dirname(packs_of("")), ignore_errors=True)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", default=",".join(CORPORA), help="default: both")
    parser.add_argument("--ways", default=",".join(WAYS), help="default: all of them")
    parser.add_argument("--reps", type=int, default=3)
    return parser.parse_args()


def make_random(corpus):
    directory = f"{BENCH}/corpus/random"
    if corpus != "random" or os.path.isdir(directory):
        return
    os.makedirs(directory + ".new", exist_ok=True)
    for number in range(RANDOM_FILES):
        with open(f"{directory}.new/{number}", "wb") as file:
            for _ in range(RANDOM_FILE_BYTES >> 20):
                file.write(os.urandom(1 << 20))
    os.rename(directory + ".new", directory)


def packs_of(corpus):
    """Where the packs of ours are kept for `sftp` to put."""
    return f"{BENCH}/sftp-packs/{corpus}"


def cycle(way, corpus, runs):
    """All steps of one way, in a new directory of the server."""
    put_aside(WORK)
    for directory in (HOME + "/.ssh", OUT, CACHE, FAR):
        os.makedirs(directory)
    files = packs_of(corpus) if way == "packs" else f"{BENCH}/corpus/{corpus}"
    warm(files)
    with open(log_path(way), "ab") as log:
        port = free_port()
        server = serve(port, log)
        try:
            configure(Delay(port).port if way == "delayed" else port)
            commands = commands_of(way, files)
            if "create" in commands:
                timed(commands["create"], log, env=ENVIRONMENT)
            for step in STEPS:
                words = commands.get("restore" if step == "restore" else "backup")
                if step == "nochange" and "create" not in commands:
                    continue
                os.sync()
                if step == "restore":
                    drop_page_cache()
                run = timed(words, log, env=ENVIRONMENT)
                run |= {"way": way, "corpus": corpus, "step": step}
                # `sftp` follows links.
                is_whole = way == "sftp" or step != "restore" or is_restored(files, OUT)
                if not is_whole:
                    print(f"!! {way} restored {corpus} differently", flush=True)
                runs.append(run)
                record(run, "sftp")
        finally:
            stop(server)
    if way == "plakar":
        shutil.rmtree(packs_of(corpus), ignore_errors=True)
        shutil.copytree(FAR + "/store/packs", packs_of(corpus))


def serve(port, log):
    """A private sshd, which lets in whoever has the key that is made here."""
    for name in ("host", "user"):
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{WORK}/{name}"]
        subprocess.run(key, check=True)
    lines = [f"ListenAddress 127.0.0.1:{port}", f"HostKey {WORK}/host", "PidFile none"]
    lines += [f"AuthorizedKeysFile {WORK}/user.pub", "StrictModes no", "UsePAM no"]
    lines += ["Subsystem sftp internal-sftp", "LogLevel ERROR"]
    write(WORK + "/sshd_config", lines)
    if os.getuid() == 0:
        # Where it locks itself up before anybody is let in.
        os.makedirs("/run/sshd", exist_ok=True)
    return started(["/usr/sbin/sshd", "-D", "-e", "-f", WORK + "/sshd_config"], port, log)


def configure(port):
    """Tells ssh, and ours, where the host `far` is."""
    with open(WORK + "/host.pub") as key:
        write(HOME + "/.ssh/known_hosts", [f"[127.0.0.1]:{port} {key.read().strip()}"])
    lines = ["Host far", "HostName 127.0.0.1", f"Port {port}", f"User {getpass.getuser()}"]
    lines += [f"IdentityFile {WORK}/user", f"UserKnownHostsFile {HOME}/.ssh/known_hosts"]
    write(SSH_CONFIG, lines)


def write(path, lines):
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")


def commands_of(way, files):
    """What to run, as words."""
    if way in ("sftp", "packs"):
        write(WORK + "/put", [f"put -r {files} {FAR}/{os.path.basename(files)}"])
        write(WORK + "/get", [f"get -r {FAR}/{os.path.basename(files)} {OUT}"])
        sftp = ["sftp", "-q", "-F", SSH_CONFIG]
        return {
            "backup": sftp + ["-b", WORK + "/put", "far"],
            "restore": sftp + ["-b", WORK + "/get", "far"],
        }
    if way == "restic":
        restic = ["restic", "-q", "-r", f"sftp:far:{FAR}/store"]
        restic += ["-o", f"sftp.command=ssh -F {SSH_CONFIG} far -s sftp"]
        return {
            "create": restic + ["init"],
            "backup": restic + ["backup", files],
            "restore": restic + ["restore", "latest", "--target", OUT],
        }
    plakar = [PLAKAR, "-quiet", "at", f"sftp://far{FAR}/store"]
    return {
        "create": plakar + ["create"],
        "backup": plakar + ["backup", files],
        "restore": plakar + ["restore", "-to", OUT],
    }


class Delay:
    """A proxy on a port of its own, which holds back every byte for DELAY_S each way."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near = self.listener.accept()[0]
            far = socket.create_connection(("127.0.0.1", self.target))
            for one, other in ((near, far), (far, near)):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.pump(one, other)

    def pump(self, one, other):
        """Two threads: one takes what comes, the other passes it on when it is due."""
        queue, changed = collections.deque(), threading.Condition()

        def take():
            data = b"?"
            while data:
                try:
                    data = one.recv(1 << 18)
                except OSError:
                    data = b""
                with changed:
                    changed.wait_for(lambda: sum(len(d) for _, d in queue) < UNDER_WAY_BYTES)
                    queue.append((time.monotonic() + DELAY_S, data))
                    changed.notify_all()

        def pass_on():
            while True:
                with changed:
                    changed.wait_for(lambda: queue)
                    due, data = queue[0]
                time.sleep(max(0, due - time.monotonic()))
                with changed:
                    queue.popleft()
                    changed.notify_all()
                try:
                    other.sendall(data) if data else other.shutdown(socket.SHUT_WR)
                except OSError:
                    data = b""
                if not data:
                    return

        for work in (take, pass_on):
            threading.Thread(target=work, daemon=True).start()


def log_path(way):
    return f"{BENCH}/log-sftp-{way}"


def table(runs, corpora, ways):
    print("| corpus | step | way | wall s | cpu s | peak MiB |")
    print("|---|---|---|---|---|---|")
    for corpus in corpora:
        for step in STEPS:
            for way in ways:
                names = [("wall_s", ".2f"), ("cpu_s", ".2f"), ("peak_mib", ".0f")]
                wanted = {"corpus": corpus, "step": step, "way": way}
                figures = [(median(runs, name, **wanted), form) for name, form in names]
                if figures[0][0] is not None:
                    words = " | ".join(format(figure, form) for figure, form in figures)
                    print(f"| {corpus} | {step} | {way} | {words} |")


def targets(runs, corpora):
    for corpus in corpora:
        for name, step, way, other, most in TARGETS:
            wanted = {"corpus": corpus, "step": step}
            ours, theirs = (median(runs, "wall_s", way=w, **wanted) for w in (way, other))
            if ours and theirs:
                judge(f"{corpus}, {name}", ours / theirs, most)


if __name__ == "__main__":
    main()
