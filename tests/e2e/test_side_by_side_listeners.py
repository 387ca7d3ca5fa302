"""tests/e2e/test_side_by_side_listeners.py -- where Google's proxy and sidepool listen for the same command line (cloudsql.md
6.1, 6.5 to 6.7), and what they say about it."""
import os
import pathlib
import tempfile

import pytest

from lib import peers
from lib.emulator import ADMIN_SCOPE, Emulator
from lib.network import Network
from lib.process import Process
from lib.side_by_side import (NAME, OTHER, PRINCIPAL, THIRD, Case, compare, ids, installed, outcome)

DOMAIN = "google.com:my-project:us-central1:my-postgres"
LONG = "l" * 90

# 6.6: ports and addresses.
PORTS = [
    Case("port", ["--port", "{p0}", NAME]),
    Case("port-short-joined", ["-p{p0}", NAME]), Case("port-short", ["-p", "{p0}", NAME]),
    Case("port-equals", ["--port={p0}", NAME]), Case("port-behind", [NAME, "--port", "{p0}"]),
    Case("port-after-dashes", ["--port", "{p0}", "--", NAME]),
    Case("port-twice", ["--port", "1", "--port", "{p0}", NAME]),
    Case("ports-count-up", ["--port", "{p0}", NAME, OTHER, THIRD]),
    Case("own-port-takes-none", ["--port", "{p0}", NAME, f"{OTHER}?port={{p3}}", THIRD]),
    Case("own-ports", [f"{NAME}?port={{p0}}", f"{OTHER}?port={{p2}}"]),
    Case("same-instance-twice", [f"{NAME}?port={{p0}}", f"{NAME}?port={{p1}}"]),
    Case("address", ["--address", "127.0.0.2", "--port", "{p0}", NAME]),
    Case("address-short", ["-a", "127.0.0.2", "-p", "{p0}", NAME]),
    Case("address-everywhere", ["--address", "0.0.0.0", "--port", "{p0}", NAME]),
    Case("address-ipv6", ["--address", "::1", "--port", "{p0}", NAME]),
    Case("own-address", ["--port", "{p0}", f"{NAME}?address=127.0.0.3", OTHER]),
    Case("own-address-and-port", ["--address", "127.0.0.2", f"{NAME}?address=127.0.0.3&port={{p0}}", f"{OTHER}?port={{p1}}"]),
    Case("percent-in-query", [f"{NAME}?port={{p0}}&address=127%2E0.0.3"]),
    Case("unknown-parameter", [f"{NAME}?port={{p0}}&run-connection-test=true&x=y"]),
    Case("domain-scoped", ["--port", "{p0}", DOMAIN]),
    Case("port-taken-twice", [f"{NAME}?port={{p0}}", f"{OTHER}?port={{p0}}"], deviation="argument-texts",
         ours="exit 1: .*{p0}.*"),
]
# 6.7: unix sockets.
SOCKETS = [
    Case("unix", ["--unix-socket", "{dir}", NAME]), Case("unix-short", ["-u", "{dir}", NAME, OTHER]),
    Case("unix-own", [f"{NAME}?unix-socket={{dir}}"]),
    Case("unix-path", [f"{NAME}?unix-socket-path={{dir}}/s"]),
    Case("unix-path-with-file", [f"{NAME}?unix-socket-path={{dir}}/s/.s.PGSQL.5432"]),
    Case("unix-path-wins", ["--unix-socket", "{dir}", f"{NAME}?unix-socket-path={{dir}}/s", OTHER]),
    Case("unix-but-port", ["--unix-socket", "{dir}", f"{NAME}?port={{p0}}", OTHER]),
    Case("unix-but-address", ["--unix-socket", "{dir}", f"{NAME}?address=127.0.0.2&port={{p0}}"]),
    Case("unix-beside-port", ["--port", "{p0}", f"{NAME}?unix-socket={{dir}}", OTHER]),
    Case("unix-own-loses", ["--unix-socket", "{dir}", f"{NAME}?unix-socket={{dir}}/other"], files={"other/x": ""},
         deviation="unix-socket", ours=r"started\n\[" + NAME + r"\] {dir}/other/" + NAME + r"/\.s\.PGSQL\.5432.*"),
    Case("unix-folder-missing", ["--unix-socket", "{dir}/missing", NAME], deviation="argument-texts",
         ours="exit 1: .*{dir}/missing.*"),
    Case("unix-too-long", ["--unix-socket", f"{{dir}}/{LONG}", NAME], files={f"{LONG}/x": ""}, deviation="socket-path",
         ours=f"exit 1: .*{LONG}.*10[78].*"),
]

# 6.1 and 6.5: every flag that may be given without more, by flag, variable and file.
SETTINGS = [
    ("address", "127.0.0.2"), ("auto-ip", "true"), ("debug-logs", "true"), ("disable-metrics", "true"), ("disable-traces", "true"),
    ("exit-zero-on-sigterm", "true"), ("lazy-refresh", "true"), ("max-connections", "5"), ("max-sigterm-delay", "0s"),
    ("min-sigterm-delay", "0"), ("private-ip", "false"), ("prometheus-namespace", "x"), ("psc", "false"), ("quota-project", "q"),
    ("skip-failed-instance-config", "true"), ("structured-logs", "false"), ("telemetry-prefix", "x"), ("user-agent", "x/1"),
    ("health-check", "true"), ("prometheus", "true"), ("quitquitquit", "true"), ("run-connection-test", "false"), ("sql-data", "false"),
    ("telemetry-sample-rate", "1"), ("http-port", "{http}"), ("http-address", "127.0.0.1"), ("admin-port", "{admin}"),
    ("resource-exhausted-cooldown-delay", "1s"), ("fuse-tmp-dir", "/tmp/x"), ("debug", "false"), ("auto-iam-authn", "false"),
]
# What a setting needs beside it, so that no two runs want one port.
BESIDE = {"health-check": ["--http-port", "{http}"], "prometheus": ["--http-port", "{http}"],
          "quitquitquit": ["--admin-port", "{admin}"]}


def setting_cases():
    for name, value in SETTINGS:
        variable = "CSQL_PROXY_" + name.upper().replace("-", "_")
        args = ["--port", "{p0}", *BESIDE.get(name, []), NAME]
        yield Case(f"flag-{name}", [f"--{name}={value}", *args])
        yield Case(f"env-{name}", args, env={variable: value})
        yield Case(f"toml-{name}", ["--config-file", "proxy.toml", *args], files={"proxy.toml": f'{name} = "{value}"\n'})
        yield Case(f"yaml-{name}", ["--config-file", "proxy.yaml", *args], files={"proxy.yaml": f"{name}: {value}\n"})
        json = value if value in ("true", "false") else f'"{value}"'
        yield Case(f"json-{name}", ["--config-file", "proxy.json", *args], files={"proxy.json": f'{{"{name}": {json}}}'})


BOOLEANS = [Case(f"bool-{word}", ["--port", "{p0}", f"--private-ip={word}", f"--health-check={word}", "--http-port", "{http}", NAME])
            for word in "1 t T TRUE true True 0 f F FALSE false False".split()]
PRECEDENCE = [
    Case("http-address-ipv6", ["--port", "{p0}", "--health-check", "--http-address", "::1", "--http-port", "{http}", NAME]),
    Case("telemetry-project", ["--port", "{p0}", "--telemetry-project", "p", "--disable-metrics", "--disable-traces", NAME]),

    Case("flag-over-env", ["--port", "{p0}", NAME], env={"CSQL_PROXY_PORT": "{p1}"}),
    Case("env-over-file", ["--config-file", "proxy.toml", NAME], env={"CSQL_PROXY_PORT": "{p0}"},
         files={"proxy.toml": "port = {p1}\n"}),
    Case("flag-over-file", ["--config-file", "proxy.toml", "--port", "{p0}", NAME], files={"proxy.toml": "port = {p1}\n"}),
    Case("query-over-flag", ["--port", "{p0}", f"{NAME}?port={{p1}}"]),
    Case("empty-env-is-none", ["--port", "{p0}", NAME], env={"CSQL_PROXY_ADDRESS": "", "CSQL_PROXY_UNIX_SOCKET": ""}),
    Case("env-instance", ["--port", "{p0}"], env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME": NAME}),
    Case("env-instance-query", [], env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME": f"{NAME}?port={{p0}}"}),
    Case("env-instances", ["--port", "{p0}"], env={f"CSQL_PROXY_INSTANCE_CONNECTION_NAME_{i}": name
                                                   for i, name in enumerate([NAME, OTHER, THIRD])}),
    Case("env-instances-until-a-gap", ["--port", "{p0}"],
         env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME_0": NAME, "CSQL_PROXY_INSTANCE_CONNECTION_NAME_2": OTHER}),
    Case("env-instances-with-both", ["--port", "{p0}"],
         env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME": NAME, "CSQL_PROXY_INSTANCE_CONNECTION_NAME_0": OTHER,
              "CSQL_PROXY_INSTANCE_CONNECTION_NAME_1": THIRD}),
    Case("argument-over-env-instance", ["--port", "{p0}", OTHER], env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME": NAME}),
    *[Case(f"file-instances-{kind}", ["--config-file", f"proxy.{kind}"], files={f"proxy.{kind}": text}) for kind, text in [
        ("toml", f'port = {{p0}}\ninstance-connection-name = "{NAME}"\n'),
        ("yml", f"port: {{p0}}\ninstance-connection-name-0: {NAME}\ninstance-connection-name-1: {OTHER}\n"),
        ("json", f'{{"port": "{{p0}}", "instance-connection-name": "{NAME}", "instance-connection-name-1": "{OTHER}"}}')]],
    Case("file-key-case", ["--config-file", "proxy.toml", NAME], files={"proxy.toml": "PORT = {p0}\n"}),
    Case("env-instance-over-file", ["--config-file", "proxy.toml", "--port", "{p0}"],
         env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME": OTHER}, files={"proxy.toml": f'instance-connection-name = "{NAME}"\n'}),
    Case("ignored-http-port", ["--port", "{p0}", "--http-port", "{http}", NAME]),
    Case("ignored-telemetry-prefix", ["--port", "{p0}", "--telemetry-prefix", "x", NAME]),
    Case("ignored-disable-metrics", ["--port", "{p0}", "--disable-metrics", NAME]),
    Case("ignored-disable-traces", ["--port", "{p0}", "--disable-traces", NAME]),
]
CASES = PORTS + SOCKETS + list(setting_cases()) + BOOLEANS + PRECEDENCE


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return peers.auth_proxy(), installed(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def emulator(programs):
    with Emulator(None, [NAME, OTHER, THIRD, DOMAIN], principal=PRINCIPAL) as running:
        yield running


@pytest.fixture
def folder():
    """Short: socket paths are bounded to 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="sp-") as path:
        yield pathlib.Path(path)


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_listens_at_the_same_place(case, programs, emulator, folder):
    base = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "CSQL_PROXY_TOKEN": emulator.token(PRINCIPAL, [ADMIN_SCOPE])}
    compare(case, programs, folder, base)


def test_telemetry_is_refused(programs, folder):
    """Ours alone: what Google's proxy does depends on whether it reaches Google."""
    ours = outcome(programs[1], ["--telemetry-project", "p", NAME], {}, folder)
    assert not ours.started and ours.code == 1 and "--telemetry-project" in ours.error, ours  # deviation: telemetry


def test_stale_socket(programs, emulator, folder):
    """What a killed process leaves: Google's proxy does not start any more."""
    base = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "CSQL_PROXY_TOKEN": emulator.token(PRINCIPAL, [ADMIN_SCOPE])}
    args = ["--unix-socket", str(folder), NAME]
    results = []
    for program in programs:
        with Process([program, *args], env={"HOME": "/nonexistent", **base}) as killed:
            killed.wait_line("ready for new connections")
            killed.kill()
        assert os.path.exists(folder / NAME / ".s.PGSQL.5432")
        results.append(outcome(program, args, base, folder))
    google, ours = results
    assert not google.started and "address already in use" in google.error
    assert ours.started and ours.listening == [(NAME, f"{folder}/{NAME}/.s.PGSQL.5432")], ours  # deviation: stale-socket


# -- the default ports, in a network of their own: on the machine's they belong to others


@pytest.fixture(scope="module")
def network(programs):
    with Network() as made:
        instances = [f"--instance={name}=127.0.0.{i}" for i, name in enumerate([NAME, OTHER, THIRD], 2)]
        made.url = made.start_emulator(*instances, f"--token=x={PRINCIPAL}")
        yield made


DEFAULTS = [
    Case("default-port", [NAME]), Case("default-ports", [NAME, OTHER, THIRD]),
    Case("default-port-is-not-taken-by-own", [NAME, f"{OTHER}?port=7000", THIRD]),
    Case("default-port-zero", ["--port", "0", NAME, OTHER]),
    Case("default-and-unix", [NAME, f"{OTHER}?unix-socket={{dir}}", THIRD]),
    Case("default-http-and-admin", ["--health-check", "--quitquitquit", NAME]),
    Case("default-address", ["--address", "127.0.0.9", NAME, OTHER]),
    Case("default-same-port-for-both-servers", ["--health-check", "--quitquitquit", "--admin-port", "9090", NAME],
         deviation="argument-texts", ours="exit 1: .*9090.*"),
]


@pytest.mark.parametrize("case", DEFAULTS, ids=ids(DEFAULTS))
def test_default_ports(case, programs, network, folder):
    wrappers = [network.wrapper(folder / f"program{i}", program) for i, program in enumerate(programs)]
    compare(case, wrappers, folder, {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": network.url, "CSQL_PROXY_TOKEN": "x"})


def test_the_api_may_be_away_at_start(programs, network, folder):
    """Google's proxy asks the API for the engine before it knows the port; with --port it does not."""
    env = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": "http://127.0.0.1:1/", "CSQL_PROXY_TOKEN": "x"}
    wrappers = [network.wrapper(folder / f"program{i}", program) for i, program in enumerate(programs)]
    for args in ([NAME], ["--unix-socket", str(folder), NAME]):
        google, ours = (outcome(program, args, env, folder) for program in wrappers)
        assert not google.started and google.code == 1
        assert ours.started, ours  # deviation: start-without-api
