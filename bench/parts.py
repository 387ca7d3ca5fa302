"""bench/parts.py -- the parts of a run: who takes part in which load. Each adds to `bench.samples`.

A load is named MODE/CLIENTS where the mode is that of `pgbench -S`.
"""
import contextlib
import os
import statistics
import subprocess
import tempfile

from lib import paths
from lib.certificates import authority

from lines import AUTH_PROXY, BEFORE, FLOOR, PGBOUNCER, SIDEPOOL, STACK, TRACKED
from measure import cloud, cold_start, contestants, idle, load
from measure.database import DATABASE, IAM_USER, SECOND, TRUSTED, USER


class Bench:
    """`options` of the command line, the running PostgreSQL, and what was measured so far."""

    def __init__(self, options, postgres, samples):
        self.options, self.postgres, self.samples = options, postgres, samples
        self.turns, self.seconds = options.turns, options.seconds

    def variants(self):
        """Keyword arguments of each sidepool that takes part."""
        found = {SIDEPOOL: {"binary": self.options.sidepool},
                 TRACKED: {"binary": self.options.sidepool, "isolation": "tracked"}}
        if self.options.before:
            found[BEFORE] = {"binary": self.options.before}
        return found

    def sidepools(self, stack, **more):
        """Starts them in front of PostgreSQL."""
        return {name: stack.enter_context(contestants.sidepool(self.postgres, name=name, **arguments, **more))
                for name, arguments in self.variants().items()}

    def peers(self):
        return {name: contestants.running(name, port) for name, port in self.options.peers.items()}

    def in_turns(self, runs):
        self.samples.in_turns(self.turns, runs)

    def run(self, contestant, *arguments, **more):
        return lambda: load.run(contestant, self.seconds, *arguments, **more)

    def of_each(self, name, running, *arguments, **more):
        return [(name, who, self.run(contestant, *arguments, **more)) for who, contestant in running.items()]


def plain(bench):
    """CPU per transaction, throughput and latencies, nothing encrypted."""
    full = bench.options.full
    modes = ("simple", "extended", "prepared", "pipeline") if full else ("simple", "prepared")
    with contextlib.ExitStack() as stack:
        running = {**bench.sidepools(stack), PGBOUNCER: stack.enter_context(contestants.pgbouncer(bench.postgres.port)),
                   FLOOR: stack.enter_context(contestants.copy_loop(bench.postgres)), **bench.peers()}
        if full:
            running["direct"] = contestants.direct(bench.postgres)
        for clients in (1, 10, 100) if full else (10, 100):
            bench.in_turns([run for mode in modes
                            for run in bench.of_each(f"{mode}/{clients}", running, clients=clients, mode=mode)])
        fixed_rate(bench, running)
        if full:
            large(bench, running)
            bench.in_turns([("tpc-b/10", name, lambda c=contestant: load.pgbench(c, bench.seconds, "-c", "10"))
                            for name, contestant in running.items()])
        for mode in ("simple", "prepared"):
            for name in (SIDEPOOL, TRACKED, PGBOUNCER, FLOOR):
                syscalls(bench, name, running[name], mode)


def fixed_rate(bench, running):
    """Latencies at half of what the slowest of them does: requests come at fixed times, so a stall counts in full."""
    slowest = min(statistics.median(bench.samples.values("simple/10", name, "tps")) for name in running)
    bench.in_turns(bench.of_each("rate/10", running, "--rate", str(round(slowest / 2)), clients=10))


def large(bench, running):
    """Results and COPY of 10 MB, and fast clients beside slow readers."""
    size = ("--bytes", "10000000")
    for workload in ("result", "copy-out", "copy-in"):
        bench.in_turns(bench.of_each(f"{workload}/10MB", running, "--workload", workload, *size, clients=2))
        bench.postgres.sql("truncate bench_copied", dbname=DATABASE)
    bench.in_turns(bench.of_each("slow readers", running, "--slow-readers", "5", *size, clients=5))


def syscalls(bench, name, contestant, mode):
    calls = load.syscalls(contestant, mode)
    if calls:
        bench.samples.add(f"syscalls/{mode}", name, {"total": sum(calls.values()), **calls})


def tls(bench):
    """TLS to the server: PostgreSQL's own, so that no relay stands in between. Nobody proves a password: libpq sees that
    the copy loop leads to an encrypted server from an unencrypted one, which SCRAM's channel binding is there to refuse."""
    with contextlib.ExitStack() as stack:
        running = {**bench.sidepools(stack, tls="require"),
                   PGBOUNCER: stack.enter_context(contestants.pgbouncer(bench.postgres.port, tls="require",
                                                                       auth="trust")),
                   FLOOR: stack.enter_context(contestants.copy_loop(bench.postgres, tls=True))}
        bench.in_turns(bench.of_each("tls/10", running, clients=10, user=TRUSTED))
        bench.in_turns(bench.of_each("result/1GB", running, "--workload", "result", "--bytes", "1000000000",
                                     user=TRUSTED))


def many(bench):
    """1000 clients that never pause, on 10 servers."""
    with contextlib.ExitStack() as stack:
        running = {**bench.sidepools(stack),
                   PGBOUNCER: stack.enter_context(contestants.pgbouncer(bench.postgres.port, auth="trust"))}
        for mode in ("simple", "prepared") if bench.options.full else ("simple",):
            bench.in_turns(bench.of_each(f"{mode}/1000", running, clients=1000, mode=mode, user=TRUSTED))


def workers(bench):
    """Two busy pools on one worker and on two."""
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(contestants.sidepool(bench.postgres, name=name, workers=count,
                                                                  binary=bench.options.sidepool))
                   for name, count in (("1 worker", 1), ("2 workers", 2))}
        databases = [f"--database=dbname={name}" for name in (DATABASE, SECOND)]
        bench.in_turns(bench.of_each("workers/20", running, *databases, clients=20))


def growth(bench):
    """10 busy clients alone, beside silent ones, and beside those who have prepared much."""
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(contestants.sidepool(bench.postgres, name=name,
                                                                  binary=bench.options.sidepool))
                   for name in ("10 clients", "10,000 clients")}
        stack.enter_context(idle.held(running["10,000 clients"], bench.options.idle_clients))
        bench.in_turns(bench.of_each("growth", running, clients=10))
        if bench.options.full:
            bench.in_turns(bench.of_each("growth, 50 busy", running, clients=50))
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(contestants.sidepool(bench.postgres, name=name,
                                                                  binary=bench.options.sidepool))
                   for name in ("1 statement", "5,000 statements")}
        stack.enter_context(idle.preparing(running["5,000 statements"], 5000))
        bench.in_turns(bench.of_each("growth, prepared", running, clients=10, mode="prepared"))


def memory(bench):
    """Resident memory at rest and of idle clients. Each contestant is alone and new."""
    with authority("server") as certificates:
        arguments = {name: {"name": name, **more} for name, more in bench.variants().items() if name != TRACKED}
        for name, more in arguments.items():
            with contestants.sidepool(bench.postgres, **more) as contestant:
                bench.samples.add("idle/plain", name, idle.measure(contestant, bench.options.idle_clients))
            with contestants.sidepool(bench.postgres, listen_tls=certificates, **more) as contestant:
                bench.samples.add("idle/tls", name,
                                  idle.measure(contestant, min(2000, bench.options.idle_clients), tls=True))
    with contestants.pgbouncer(bench.postgres.port, auth="trust") as contestant:
        bench.samples.add("idle/plain", PGBOUNCER, idle.measure(contestant, bench.options.idle_clients))
    bench.samples.add("binary", SIDEPOOL, {"bytes": stripped_size(bench.options.sidepool)})


def stripped_size(program):
    """Without debugging information, as scripts/rootfs ships it."""
    with tempfile.NamedTemporaryFile(prefix="sp-strip-") as file:
        subprocess.run(["strip", "-o", file.name, program or paths.sidepool()], check=True)
        return os.path.getsize(file.name)


@contextlib.contextmanager
def placed(bench):
    """All of PostgreSQL and what is started from here on one part of the processors; gives the one that is left, for
    the contestants. None where there is only one processor."""
    available = os.sched_getaffinity(0)
    if len(available) < 2:
        yield None
        return
    own = max(available)
    try:
        place(bench.postgres, available - {own})
        yield str(own)
    finally:
        place(bench.postgres, available)


def place(postgres, processors):
    for pid in [0, *contestants.family(postgres.process.pid)]:
        os.sched_setaffinity(pid, processors)


def stack(bench):
    """In front of the emulator, each contestant on one processor, everything else on the others."""
    with contextlib.ExitStack() as entered:
        own = entered.enter_context(placed(bench))
        if own is None:
            return
        emulator = entered.enter_context(cloud.emulator(bench.postgres))
        running = {name: entered.enter_context(cloud.sidepool(emulator, name=name, cores=own, **arguments))
                   for name, arguments in bench.variants().items()}
        running[STACK] = entered.enter_context(cloud.stack(emulator, cores=own))
        for clients in (1, 10, 100) if bench.options.full else (10,):
            bench.in_turns(bench.of_each(f"stack/{clients}", running, clients=clients))


def connect(bench):
    """A connection for each transaction, through what goes to the emulator."""
    with contextlib.ExitStack() as entered:
        emulator = entered.enter_context(cloud.emulator(bench.postgres))
        running = {SIDEPOOL: entered.enter_context(cloud.sidepool(emulator, binary=bench.options.sidepool)),
                   AUTH_PROXY: entered.enter_context(cloud.auth_proxy(emulator))}
        if bench.options.full:
            running[STACK] = entered.enter_context(cloud.stack(emulator))
        users = {"SCRAM": USER, "IAM": IAM_USER}
        bench.in_turns([(f"connect/{how}", name, connecting(bench, contestant, user))
                        for how, user in users.items() for name, contestant in running.items()
                        if not (name == STACK and how == "IAM")])


def connecting(bench, contestant, user):
    return lambda: load.pgbench(contestant, bench.seconds, "-S", "-C", "-c", "10", user=user)


def start(bench):
    """From the start of the process to the first row, against the emulator."""
    with cloud.emulator(bench.postgres) as emulator:
        binaries = {SIDEPOOL: bench.options.sidepool or paths.sidepool(), AUTH_PROXY: contestants.peer("auth-proxy")}
        if bench.options.before:
            binaries[BEFORE] = bench.options.before
        bench.samples.in_turns(bench.options.starts, [("cold start", name, lambda b=binary: cold_start.first_row(b, emulator))
                                                      for name, binary in binaries.items()])


PARTS = {part.__name__: part for part in (plain, tls, stack, many, memory, start, connect, workers, growth)}
