"""bench/measure/load.py -- one run of `pgbench -S` and what it cost the contestant.

The window of the measurement begins when all clients are connected and lies inside the run: CPU time is read at both
of its ends, and the transactions that ended inside it are counted from pgbench's own log. So logins do not count,
except with `connect`, where every transaction is a login.
"""
import array
import glob
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass

from lib.waiting import eventually

from .contestants import environment
from .process_cost import cpu_seconds

MARGIN = 0.2  # seconds, after the first transactions and at least as much before the last


@dataclass
class Run:
    """Microseconds, but for tps."""
    user: float
    system: float
    tps: float
    p50: float
    p99: float

    @property
    def cpu(self):
        return self.user + self.system


def quantile(ordered, q):
    return ordered[min(len(ordered) - 1, int(len(ordered) * q))]


def _latencies(folder, begin, end):
    """Of the transactions that ended in the window, sorted. A line of the log: client, number, microseconds, script,
    second, microsecond (pgbench(1), Per-Transaction Logging)."""
    found = array.array("d")
    for path in glob.glob(os.path.join(folder, "log.*")):
        with open(path, encoding="ascii") as log:
            for line in log:
                fields = line.split()
                if begin <= int(fields[4]) + int(fields[5]) / 1e6 < end:
                    found.append(float(fields[2]))
    return sorted(found)


def run(contestant, mode, clients, seconds, connect=False):
    folder = tempfile.mkdtemp(prefix="sp-load-")
    # One thread for few clients: more of them would only make the two cores busier.
    command = ["pgbench", "-n", "-S", "-M", mode, "-c", str(clients), "-j", "1" if clients < 50 else "2",
               "-T", str(int(seconds + 1.9)), "-l", "--log-prefix", os.path.join(folder, "log")]
    if connect:
        command.append("-C")
    child = subprocess.Popen(command, env=environment(contestant.port), cwd=folder, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    try:
        def begun():
            if child.poll() is not None:
                raise RuntimeError(f"pgbench ended early:\n{child.communicate()[1]}")
            return any(os.path.getsize(log) for log in glob.glob(os.path.join(folder, "log.*")))

        # A slow run's log stays in a buffer for long; where every transaction is a login there is nothing to wait for.
        if not connect:
            eventually(begun, "pgbench's first transactions", timeout=60)
        time.sleep(MARGIN)
        begin, before = time.time(), cpu_seconds(contestant.pid) if contestant.pid else (0, 0)
        time.sleep(seconds)
        end, after = time.time(), cpu_seconds(contestant.pid) if contestant.pid else (0, 0)
        if child.poll() is not None:
            raise RuntimeError(f"pgbench through {contestant.name} ended inside the window:\n{child.communicate()[1]}")
        _, errors = child.communicate(timeout=60)
        if child.returncode != 0:
            raise RuntimeError(f"pgbench through {contestant.name} failed:\n{errors}")
        latencies = _latencies(folder, begin, end)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)
    if not latencies:
        raise RuntimeError(f"no transaction through {contestant.name} ended inside the window")
    n = len(latencies)
    return Run(user=(after[0] - before[0]) / n * 1e6, system=(after[1] - before[1]) / n * 1e6,
               tps=n / (end - begin), p50=quantile(latencies, 0.5), p99=quantile(latencies, 0.99))
