"""What the programs beside this one share: where things are, running a command and telling
what it took, and judging a figure."""

import json
import os
import socket
import statistics
import subprocess
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
BENCH = os.path.abspath(os.environ.get("BENCH", os.path.join(TOP, "target/bench")))
PLAKAR = os.path.abspath(os.environ.get("PLAKAR", os.path.join(TOP, "target/release/plakar")))

PASSPHRASE = "vermilion otter 51 balances ledgers"

# How long a server may take to answer for the first time, and to stop.
PATIENCE_S = 10


def environment(home, cache):
    """What a program of ours or of others sees."""
    return {
        "PATH": f"{BENCH}/bin:{os.environ['PATH']}",
        "HOME": home,
        "LANG": "C.UTF-8",
        "XDG_CACHE_HOME": cache,
        "PLAKAR_PASSPHRASE": PASSPHRASE,
        "RESTIC_PASSWORD": PASSPHRASE,
        "RESTIC_CACHE_DIR": cache + "/restic",
    }


def timed(words, log, **options):
    """Runs a command and tells what it took."""
    begun = time.time()
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, words)
    return {
        "wall_s": time.time() - begun,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }


def record(took, benchmark):
    """Adds the figures of a step to those of all runs of the benchmark."""
    with open(f"{BENCH}/{benchmark}.jsonl", "a") as results:
        print(json.dumps(took), file=results)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def started(words, port, log, **options):
    """Starts a server and waits until it answers."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
    give_up = time.monotonic() + PATIENCE_S
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            time.sleep(0.02)
    stop(process)
    raise OSError(f"{words[0]} does not answer")


def stop(process):
    """Stops a server that we started, by its own id."""
    process.terminate()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def warm(files):
    """Puts files into the page cache."""
    subprocess.run(["sh", "-c", 'find "$0" -type f -print0 | xargs -0 cat >/dev/null', files])


def drop_page_cache():
    try:
        with open("/proc/sys/vm/drop_caches", "w") as knob:
            knob.write("3\n")
    except OSError:
        pass


def put_aside(work):
    """Moves what an earlier run left out of the way. It is removed at the end: for minutes after a
    hundred thousand files were, ext4 passes over their inodes one by one when it makes new ones."""
    if os.path.exists(work):
        os.rename(work, f"{BENCH}/leftover-{time.time_ns()}")


def remove_all(work):
    """Removes `work`, and what was put aside."""
    subprocess.run(["sh", "-c", f"rm -rf {BENCH}/leftover-* {work}"])


def size_bytes(root):
    return sum(
        os.lstat(os.path.join(directory, name)).st_size
        for directory, _, names in os.walk(root)
        for name in names
    )


def is_restored(files, out):
    """Some programs restore into the directory named, some below it under the whole path, some
    under the last name."""
    places = [out + files, os.path.join(out, os.path.basename(files)), out]
    restored = next(filter(os.path.isdir, places))
    diff = ["diff", "-rq", "--no-dereference", files, restored]
    return subprocess.run(diff, capture_output=True).returncode == 0


def median(runs, name, **wanted):
    """Of the runs that are as wanted; nothing if there is no such figure."""
    figures = [r[name] for r in runs if name in r and wanted.items() <= r.items()]
    return statistics.median(figures) if figures else None


def judge(what, figure, most):
    verdict = "ok" if figure <= most else "MISSED"
    print(f"{what}: {figure:.2f}, at most {most}: {verdict}")
