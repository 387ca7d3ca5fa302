"""bench/measure/process_cost.py -- CPU time, memory and system calls of running processes, as the kernel counts them."""
import glob
import os
import signal
import subprocess
import tempfile
import time

TICK = 1 / os.sysconf("SC_CLK_TCK")


def _ticks(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]), int(fields[12])


def _on_cpu(pid):
    """Nanoseconds of all its threads (Documentation/scheduler/sched-stats: the first number of schedstat)."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        try:
            with open(path, encoding="ascii") as schedstat:
                total += int(schedstat.read().split()[0])
        except FileNotFoundError:  # a thread that has just ended
            continue
    return total


class Cpu:
    """CPU time of some processes at one moment. Ticks of 10 ms tell user from system; nanoseconds tell how much."""

    def __init__(self, pids):
        ticks = [_ticks(pid) for pid in pids]
        self.user, self.system = sum(user for user, _ in ticks), sum(system for _, system in ticks)
        self.total = sum(_on_cpu(pid) for pid in pids) / 1e9

    def since(self, before):
        """(user, system) seconds."""
        total, user, system = self.total - before.total, self.user - before.user, self.system - before.system
        share = user / (user + system) if user + system else 0.5
        return total * share, total * (1 - share)


def _status(pid, name):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status has no {name}")


def resident(pid):
    """Bytes, libraries included."""
    return _status(pid, "VmRSS")


def private(pid):
    """Bytes of it that come from no file: the heap, mostly."""
    return _status(pid, "RssAnon")


class Strace:
    """Counts the system calls of a process while it is entered. {} in `calls` where strace may not attach."""

    def __init__(self, pid):
        self.pid, self.calls = pid, {}

    def __enter__(self):
        self.file = tempfile.NamedTemporaryFile(mode="r", encoding="ascii", prefix="sp-strace-")
        self.child = subprocess.Popen(["strace", "-f", "-c", "-U", "calls,name", "-o", self.file.name, "-p",
                                       str(self.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # It says that it has attached on a terminal only; the kernel says so of each thread.
        for _ in range(100):
            if self.child.poll() is not None or _tracers(self.pid) == {self.child.pid}:
                break
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.child.send_signal(signal.SIGINT)
        self.child.wait()
        for line in self.file:
            fields = line.split()
            if len(fields) == 2 and fields[0].isdigit() and fields[1] != "total":
                self.calls[fields[1]] = int(fields[0])
        self.file.close()


def _tracers(pid):
    found = set()
    for path in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(path, encoding="ascii") as status:
            found.update(int(line.split()[1]) for line in status if line.startswith("TracerPid:"))
    return found
