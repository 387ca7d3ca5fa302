"""tests/e2e/lib/side_by_side.py -- the same command line for Google's cloud-sql-proxy and for sidepool, and what came of it.

A difference is either a deviation that docs/coming-from-cloud-sql-proxy.md lists, or a failure.
"""
import contextlib
import dataclasses
import re
import signal

from . import paths
from .emulator import ADMIN_SCOPE
from .ports import free_port
from .process import Process
from .sidepool import Proxy
from .waiting import DEADLINE

NAME = "my-project:us-central1:my-postgres"
OTHER = "my-project:us-central1:other"
THIRD = "my-project:us-central1:third"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
ROLE = "app@my-project.iam"

# Each is the id of one row of the page's table of deviations (test_side_by_side_page.py).
DEVIATIONS = {
    "version": "--version has sidepool's number",
    "argument-texts": "what is wrong with the value of a flag is said in words of our own",
    "invalid-values": "a bad value in the environment or in the configuration file is an error instead of the default",
    "config-file-variable": "CSQL_PROXY_CONFIG_FILE is read",
    "unknown-keys": "an unknown key of the configuration file is an error with the nearest name",
    "name-syntax": "an instance connection name is checked at start",
    "five-parts": "a name of five parts is refused",
    "token-iam": "--token with ?auto-iam-authn=true is refused with the command line instead of when the dialer starts",
    "start-without-api": "listeners open although the API, credentials' servers or the instance cannot be reached",
    "unix-socket": "?unix-socket= wins over --unix-socket",
    "stale-socket": "the socket file of a killed process is removed",
    "socket-path": "a socket path that is too long is named",
    "quiet-structured": "--quiet --structured-logs stays structured",
    "iam-per-instance": "?auto-iam-authn=true of one instance changes no other",
    "accept-line": "an accepted connection is logged when it has said who it is",
    "failure-line": "that the API refuses is said once a minute, not for each client",
    "fuse": "FUSE is refused",
    "sql-data": "SQL Data is refused",
    "telemetry": "export to Cloud Monitoring and Cloud Trace is refused",
    "pprof": "--debug has no profiles of Go to show",
    "api-order": "the settings are asked for before the certificate, not beside it",
    "api-early": "with --lazy-refresh a start asks the API nothing, whatever it listens on",
    "drain": "without --max-sigterm-delay a shutdown lets what runs end, for at most 5 s",
    "idle-clients": "idle clients do not make the exit code 1 when --max-sigterm-delay is over",
    "readiness": "/readiness is 503 from the signal on",
    "second-signal": "a second signal ends the process at once",
    "sighup": "SIGHUP reloads",
    "too-many": "a client above --max-connections is told, and /readiness counts it",
    "psc-of-an-instance": "?psc wins over --private-ip",
    "connection-test": "the connection test notices a refused client certificate, and comes before \"ready\"",
    "renewal": "certificates are renewed until the last client has gone",
    "closed-by-us": "the log tells of connections that sidepool ended",
    "warnings": "there are warnings, on stderr",
    "startup-probe": "probes answer 503 before the process is ready, instead of refusing connections",
}


@dataclasses.dataclass
class Case:
    """One command line. `{p0}`, `{p1}`, `{p2}` are free ports in a row, `{http}`, `{admin}` others, `{dir}` a short folder."""
    id: str
    args: list
    env: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)  # name -> content, in the folder both run in
    deviation: str = ""  # a key of DEVIATIONS: the two differ, and in this way …
    ours: str = ""  # … a pattern for the whole of sidepool's outcome

    def __post_init__(self):
        assert bool(self.deviation) == bool(self.ours), self.id
        assert not self.deviation or self.deviation in DEVIATIONS, self.deviation


def ids(cases):
    names = [case.id for case in cases]
    assert len(set(names)) == len(names), "ids of cases repeat"
    return names


@dataclasses.dataclass
class Outcome:
    """Did it start, where does it listen, or how did it end and why."""
    started: bool
    code: int
    listening: list
    error: str  # the first line that says why, without "Error: " or the time
    notes: list  # "Ignoring …"
    output: str

    def __str__(self):
        if self.started:
            return "\n".join(["started", *(f"[{name}] {address}" for name, address in self.listening), *self.notes])
        return f"exit {self.code}: {self.error}"


def plain(text):
    """A log line without its time."""
    return re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", text)


def why(process):
    """The first error of the output."""
    for line in process.output("err").splitlines():
        text = plain(line)
        for head in ("Error: ", "The proxy has encountered a terminal error: "):
            if text.startswith(head):
                return text.removeprefix(head)
    return process.output("err").partition("\n")[0]


def outcome(program, args, env, cwd):
    """Runs until it is ready, then stops it; or until it has ended by itself."""
    with Process([program, *args], env={"HOME": "/nonexistent", **env}, cwd=cwd, name=program) as process:
        try:
            process.wait_line("ready for new connections", DEADLINE)
            started = True
        except AssertionError:
            started = False
        code = process.stop(signal.SIGTERM)
        notes = [plain(line) for line in process.find("Ignoring --")]
        return Outcome(started, code, Proxy.listening(process), "" if started else why(process), notes, process.output())


def ports_in_a_row(count):
    import socket
    while True:
        first = free_port()
        with contextlib.ExitStack() as probes:
            try:
                for port in range(first, first + count):
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
                return first
            except (OSError, OverflowError):
                continue


def values(folder):
    """What the placeholders of a case stand for."""
    first = ports_in_a_row(4)
    return {"p0": first, "p1": first + 1, "p2": first + 2, "p3": first + 3, "http": free_port(), "admin": free_port(),
            "dir": str(folder)}


def filled(text, known):
    """`{name}` replaced, and nothing else: JSON has braces of its own."""
    return re.sub(r"\{(p\d|http|admin|dir|url)\}", lambda found: str(known[found[1]]), text)


def compare(case, programs, folder, base=None, known=None):
    """Both outcomes of `case`; fails unless they agree or differ as the case says."""
    known = {**values(folder), **(known or {})}
    for name, content in case.files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(filled(content, known), encoding="utf-8")
    args = [filled(argument, known) for argument in case.args]
    env = {**(base or {}), **{name: filled(value, known) for name, value in case.env.items()}}
    google, ours = (outcome(program, args, env, folder) for program in programs)
    both = f"--- {case.id}: {args}\ngoogle: {google}\nours:   {ours}\n--- google's output\n{google.output[:2000]}\n--- ours\n" \
           f"{ours.output[:2000]}"
    if case.deviation:
        assert re.fullmatch(filled(case.ours, known), str(ours), re.S), f"not as the deviation {case.deviation} says\n{both}"
        assert not agree(google, ours), f"no deviation any more: {case.deviation}\n{both}"
    else:
        assert agree(google, ours), both
    return google, ours


def agree(google, ours):
    if google.started != ours.started:
        return False
    if google.started:
        return google.listening == ours.listening and set(google.notes) <= set(ours.notes)
    # Around Google's words there may be the instance that is meant, and a remedy.
    return google.code == ours.code and google.error.rstrip(".") in ours.error


def installed(folder):
    """sidepool under the name that it replaces."""
    link = folder / "cloud-sql-proxy"
    link.symlink_to(paths.sidepool())
    return str(link)


class Running(Proxy):
    """One of the two programs in front of an emulator's instances: `port`, `http` and `admin` are its ports.

    `{p0}` and so on are filled in; without an instance of its own it serves NAME.
    """

    def __init__(self, program, emulator, *args, folder=".", env=None, names=(NAME,), port=True, token=True, ready=True):
        known = values(folder)
        self.port, self.http, self.admin = known["p0"], known["http"], known["admin"]
        command = ["--sqladmin-api-endpoint", emulator.url]
        if token:
            command += ["--token", emulator.token(PRINCIPAL, [ADMIN_SCOPE])]
        if port:
            command += ["--port", str(self.port)]
        command += [filled(argument, known) for argument in args]
        super().__init__([*command, *names], env=env, binary=program, ready=ready, name=program)

    def log_lines(self, stream=None):
        """The log without its times, ports of clients masked."""
        lines = [plain(line) for line in self.output(stream).splitlines()]
        return [re.sub(r"(Accepted connection from .*:)\d+$", r"\1PORT", line) for line in lines]


PROBES = ["--health-check", "--prometheus", "--quitquitquit", "--http-port", "{http}", "--admin-port", "{admin}"]
