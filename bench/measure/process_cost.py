"""bench/measure/process_cost.py -- CPU time and memory of a running process, as the kernel accounts for it."""
import os

TICK = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """(user, system) of all threads of the process, without its children: utime and stime of proc(5)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) * TICK, int(fields[12]) * TICK


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
