"""bench/measure/load.py -- one run of a load and what it cost the contestant: a dictionary of figures.

The load client tells when its window opens and closes; CPU time is read at these moments, so logins do not count. What
pgbench does better (its own TPC-B, a connection for each transaction) is measured over its whole run.

cpu, user, system   microseconds of the contestant's processes per transaction; per_cpu_second is the reverse of cpu
busy                processors that it kept busy
tps, MB_per_second  requests that were answered, bytes of rows and COPY data; cpu_per_MB in microseconds
p50 … longest       microseconds; longest includes requests that were still waiting at the end
tail, wait          p99 / p50, longest / p50
shares              requests of the client served most, divided by those of the one served least
"""
import json
import re
import subprocess
import time

from lib import paths

from .database import USER, environment
from .process_cost import Cpu, Strace


class LoadFailed(RuntimeError):
    pass


def _cost(spent, requests, seconds):
    """Nothing for PostgreSQL itself, whose processes are not counted."""
    user, system = spent
    if not user + system:
        return {}
    cpu = (user + system) / requests * 1e6
    return {"cpu": cpu, "user": user / requests * 1e6, "system": system / requests * 1e6,
            "per_cpu_second": 1e6 / cpu, "busy": (user + system) / seconds}


def run(contestant, seconds, *arguments, clients=1, mode="simple", user=USER, at_begin=None):
    """The load client; `arguments` as its --help has them. `at_begin` is called when the window opens."""
    command = [paths.BUILD / "bench" / "load_client", "--clients", str(clients), "--mode", mode, "--seconds",
               str(seconds), *arguments]
    child = subprocess.Popen(command, env=environment(contestant.port, user), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
    try:
        before = after = report = None
        for line in child.stdout:
            if line == "begin\n":
                before = Cpu(contestant.pids)
                if at_begin:
                    at_begin()
            elif line == "end\n":
                after = Cpu(contestant.pids)
            else:
                report = json.loads(line)
        errors = child.stderr.read()
    finally:
        child.kill()
        child.wait()
    if not report:
        raise LoadFailed(f"the load through {contestant.name} failed ({' '.join(map(str, command))}):\n{errors}")
    return _figures(report, after.since(before), contestant)


def _figures(report, spent, contestant):
    seconds, requests, megabytes = report["seconds"], report["requests"], report["bytes"] / 1e6
    if not requests and not megabytes:
        raise LoadFailed(f"nothing was answered through {contestant.name} in {seconds:g} s")
    found = {"tps": requests / seconds}
    if megabytes:
        found["MB_per_second"] = megabytes / seconds
        if sum(spent):
            found["cpu_per_MB"] = sum(spent) / megabytes * 1e6
    # A large result may take longer than the window.
    if requests:
        latency, served = report["latency_us"], report["served"]
        found.update({**_cost(spent, requests, seconds), **latency, "tail": latency["p99"] / latency["p50"],
                      "wait": latency["longest"] / latency["p50"], "shares": served["most"] / max(1, served["least"])})
    return found


def pgbench(contestant, seconds, *arguments, user=USER):
    command = ["pgbench", "-n", "-T", str(max(1, round(seconds))), *arguments]
    before, began = Cpu(contestant.pids), time.monotonic()
    done = subprocess.run(command, env=environment(contestant.port, user), capture_output=True, text=True, check=False)
    after, took = Cpu(contestant.pids), time.monotonic() - began
    figures = dict(re.findall(r"^(number of transactions actually processed|tps)\D*([\d.]+)", done.stdout, re.M))
    if done.returncode != 0 or len(figures) != 2:
        raise LoadFailed(f"{' '.join(command)} through {contestant.name} failed:\n{done.stdout}{done.stderr}")
    requests = int(figures["number of transactions actually processed"])
    return {**_cost(after.since(before), requests, took), "tps": float(figures["tps"])}


def syscalls(contestant, mode, clients=1, seconds=1):
    """{name: calls per transaction} of a single-process contestant. strace slows it down, so a turn of its loop finds
    more work than without: one client gives the figure that can be compared."""
    with Strace(contestant.pids[0]) as strace:
        # The requests of the whole time that strace sees: no warm-up, and the logins are told apart by their number.
        figures = run(contestant, seconds, "--warm-up", "0", clients=clients, mode=mode)
    requests = figures["tps"] * seconds
    return {name: count / requests for name, count in strace.calls.items() if count / requests >= 0.005}
