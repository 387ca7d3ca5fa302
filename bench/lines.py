"""bench/lines.py -- the lines of the table: which figures are divided, and what is to be reached."""
import statistics
from dataclasses import dataclass, replace
from typing import Optional

SIDEPOOL, TRACKED, BEFORE = "sidepool", "tracked", "before"
PGBOUNCER, FLOOR, STACK, AUTH_PROXY = "pgbouncer", "copy loop", "stack", "auth-proxy"


@dataclass(frozen=True)
class Figure:
    load: str
    contestant: str
    metric: str

    def values(self, samples):
        return samples.values(self.load, self.contestant, self.metric)


@dataclass(frozen=True)
class Line:
    """A ratio of figures, turn by turn, or one figure. `at_most` or `at_least` is the target; a line without is told
    and not judged. `when`: judged only if the median of that figure is at least that much."""
    key: str
    text: str
    of: Figure
    over: Optional[Figure] = None
    at_most: Optional[float] = None
    at_least: Optional[float] = None
    unit: str = "×"
    when: Optional[tuple] = None

    def values(self, samples, instead=SIDEPOOL):
        """`instead`: with this contestant in sidepool's place."""
        def of(figure):
            if figure.contestant == SIDEPOOL:
                figure = replace(figure, contestant=instead)
            return figure.values(samples)
        if instead != SIDEPOOL and self.of.contestant != SIDEPOOL:
            return []
        if not self.over:
            return of(self.of)
        return [a / b for a, b in zip(of(self.of), of(self.over)) if b]

    def against_before(self, samples):
        """The figure that the line is about, divided by the earlier sidepool's."""
        if self.of.contestant != SIDEPOOL:
            return []
        before = replace(self.of, contestant=BEFORE).values(samples)
        return [a / b for a, b in zip(self.of.values(samples), before) if b]

    def reached(self, samples, median):
        """None: not judged."""
        if self.when and statistics.median(self.when[0].values(samples) or [0]) < self.when[1]:
            return None
        if self.at_most is not None:
            return median <= self.at_most
        if self.at_least is not None:
            return median >= self.at_least
        return None

    @property
    def target(self):
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return f"≥ {self.at_least:g} {self.unit}" if self.at_least is not None else ""


def against(key, text, load, base, metric="cpu", **target):
    return Line(key, text, Figure(load, SIDEPOOL, metric), Figure(load, base, metric), **target)


def own(key, text, load, metric, **target):
    return Line(key, text, Figure(load, SIDEPOOL, metric), **target)


def targets():
    cpu = "CPU per transaction"
    yield from (against(f"floor-{n}", f"{cpu}, simple, {n} clients, to the copy loop", f"simple/{n}", FLOOR,
                        at_most=1.15) for n in (10, 100))
    yield from (against(f"pgbouncer-simple-{n}", f"{cpu}, simple, {n} clients, to PgBouncer", f"simple/{n}", PGBOUNCER,
                        at_most=0.95) for n in (10, 100))
    yield from (against(f"pgbouncer-prepared-{n}", f"{cpu}, prepared, {n} clients, to PgBouncer", f"prepared/{n}",
                        PGBOUNCER, at_most=0.70) for n in (10, 100))
    yield Line("prepared-simple", f"{cpu}, 10 clients, prepared to simple", Figure("prepared/10", SIDEPOOL, "cpu"),
               Figure("simple/10", SIDEPOOL, "cpu"), at_most=1.1)
    yield against("floor-tls", f"{cpu}, TLS to the server, to the TLS copy loop", "tls/10", FLOOR, at_most=1.25)
    yield against("stack-cpu", "transactions per CPU second, to pgbouncer and Auth Proxy", "stack/10", STACK,
                  metric="per_cpu_second", at_least=2)
    yield against("stack-tps", "throughput on one core, to pgbouncer and Auth Proxy", "stack/10", STACK, metric="tps",
                  at_least=1.5, when=(Figure("stack/10", STACK, "busy"), 0.9))
    yield own("tail", "1000 clients: p99 to p50", "simple/1000", "tail", at_most=1.3)
    yield own("wait", "1000 clients: longest wait to p50", "simple/1000", "wait", at_most=3)
    yield own("shares", "1000 clients: most served to least served", "simple/1000", "shares", at_most=2)
    yield against("result", "1 GB result over TLS: throughput to the TLS copy loop", "result/1GB", FLOOR,
                  metric="MB_per_second", at_least=0.95)
    yield own("idle", "idle client, plain", "idle/plain", "idle", at_most=1024, unit="B")
    yield own("idle-tls", "idle client, TLS", "idle/tls", "idle", at_most=18 * 1024, unit="B")
    yield own("rest", "process at rest", "idle/plain", "at_rest", at_most=16 * 2 ** 20, unit="B")
    yield against("cold-start", "cold start to first row, to the Auth Proxy", "cold start", AUTH_PROXY, metric="ms",
                  at_most=0.6)
    yield from (against(f"connect-{how.lower()}", f"connect per transaction, {how}, to the Auth Proxy: throughput",
                        f"connect/{how}", AUTH_PROXY, metric="tps", at_least=5) for how in ("SCRAM", "IAM"))
    yield Line("workers", f"{cpu}, two busy pools, 2 workers to 1", Figure("workers/20", "2 workers", "cpu"),
               Figure("workers/20", "1 worker", "cpu"), at_most=1.1)
    yield Line("growth", f"{cpu}, 10,000 connected clients to 10", Figure("growth", "10,000 clients", "cpu"),
               Figure("growth", "10 clients", "cpu"), at_most=1.15)
    yield Line("growth-prepared", f"{cpu}, 5,000 prepared statements to 1", Figure("growth, prepared", "5,000 statements",
               "cpu"), Figure("growth, prepared", "1 statement", "cpu"), at_most=1.15)


def told():
    """What has no target and is worth a line."""
    for mode in ("simple", "prepared"):
        yield own(f"syscalls-{mode}", f"system calls per transaction, {mode}, 1 client", f"syscalls/{mode}", "total",
                  unit="")
    yield against("rate-p99", "p99 at half of the throughput, to PgBouncer", "rate/10", PGBOUNCER, metric="p99")
    yield own("binary", "program file", "binary", "bytes", unit="B")


def of_peer(name):
    for mode in ("simple", "prepared"):
        yield from (against(f"{name}-{mode}-{n}", f"CPU per transaction, {mode}, {n} clients, to {name}", f"{mode}/{n}",
                            name) for n in (10, 100))


def table(peers):
    return [*targets(), *told(), *(line for name in peers for line in of_peer(name))]
