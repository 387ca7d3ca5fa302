"""tests/e2e/test_examples.py -- the manifests of conf/examples work: their arguments, variables, probes and hooks, read out of the files
and run in a network of their own against the emulator; those of the Auth Proxy's guide and of its operator with Google's proxy too."""
import os
import re
import shlex
import tempfile

import pytest
import yaml

from lib import paths, peers
from lib.network import Network
from lib.postgres import Postgres
from lib.process import Process
from lib.side_by_side import NAME, OTHER, PRINCIPAL, ROLE, THIRD, installed
from lib.waiting import eventually

FOLDER = paths.ROOT / "conf" / "examples"
ONLY_OURS = {"cloud-run/service-toml.yaml"}
# What an application of the file would log in as; others use no IAM.
ROLES = {"cloud-run/service.yaml": ROLE, "cloud-run/service-toml.yaml": ROLE, "cloud-run/service-collector.yaml": ROLE,
         "kubernetes/iam-login.yaml": ROLE, "kubernetes/sidecar.yaml": ROLE}


def containers(node):
    if isinstance(node, dict):
        if "image" in node:
            yield node
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


def manifests():
    """(file, container) of every container that runs sidepool."""
    for path in sorted([*FOLDER.rglob("*.yaml"), *FOLDER.rglob("*.yml")]):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            for container in containers(document):
                if "/sidepool:" in container["image"]:
                    yield str(path.relative_to(FOLDER)), container


MANIFESTS = list(manifests())


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return {"google": None, "sidepool": installed(tmp_path_factory.mktemp("bin"))}


@pytest.fixture(scope="module")
def postgres():
    with Postgres() as server:
        server.create_role("alice")
        server.create_role(ROLE)
        server.sql("create database shop")
        yield server


@pytest.fixture(scope="module")
def network(postgres, tmp_path_factory):
    key = tmp_path_factory.mktemp("key") / "service_account.json"
    with Network() as made:
        made.key = key
        made.url = made.start_emulator(
            *[f"--instance={name}=127.0.1.{i},private=127.0.2.{i}" for i, name in enumerate([NAME, OTHER, THIRD], 1)],
            f"--principal={PRINCIPAL}", f"--service-account={PRINCIPAL}={key}",
            # A network of its own reaches PostgreSQL by its unix socket only, where nobody is asked for a password.
            "--postgres", postgres.trust, "--postgres-trust", postgres.trust)
        yield made


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="sp-") as path:
        yield path


class Container(Process):
    """A container of a manifest. Mounted folders are inside `folder`; what the platform tells is added: where the API and the metadata
    server are."""

    def __init__(self, program, container, network, folder):
        self.container, self.network, self.folder = container, network, folder
        self.variables = {v["name"]: v["value"] for v in container.get("env", [])}
        for mount in container.get("volumeMounts", []):
            os.makedirs(folder + mount["mountPath"], exist_ok=True)
            if mount["mountPath"].startswith("/secrets"):
                with open(network.key, encoding="utf-8") as key, open(folder + "/secrets/service_account.json", "w",
                                                                     encoding="utf-8") as copy:
                    copy.write(key.read())
            if mount["mountPath"] == "/etc/sidepool":
                with open(FOLDER / "cloud-run" / "sidepool.toml", encoding="utf-8") as config, \
                        open(folder + "/etc/sidepool/sidepool.toml", "w", encoding="utf-8") as copy:
                    copy.write(config.read())
        platform = {"HOME": "/nonexistent", "CSQL_PROXY_SQLADMIN_API_ENDPOINT": network.url,
                    "GCE_METADATA_HOST": network.url.removeprefix("http://")}
        super().__init__(network.command(program, *self.arguments()), env={**platform, **self.variables}, name=container["name"])
        self.program = program

    def arguments(self):
        mounted = "|".join(re.escape(mount["mountPath"].rstrip("/")) for mount in self.container.get("volumeMounts", []))
        return [re.sub(rf"(^|=)({mounted})(/|$)", rf"\1{self.folder}\2\3", argument) if mounted else argument
                for argument in self.container["args"]]

    def probe(self, probe):
        """Whether a probe of the manifest succeeds now."""
        if "tcpSocket" in probe:
            script = f"import socket; socket.create_connection(('127.0.0.1', {probe['tcpSocket']['port']}))"
        else:
            get = probe["httpGet"]
            script = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{self.port(get['port'])}{get['path']}')"
        return self.network.run("/usr/bin/python3", "-c", script)[0] == 0

    def port(self, port):
        """A number, or a name of the container's list."""
        named = {p.get("name"): p["containerPort"] for p in self.container.get("ports", [])}
        return named.get(port, port)

    def listening(self):
        return re.findall(r"\[([^\]]+)\] Listening on ([^\"\s]+)", self.output())

    def login(self, address, user):
        """What psql of the application says."""
        host, _, port = address.rpartition(":")
        if address.startswith("/"):
            host, port = os.path.dirname(address), "5432"
        return self.network.run("psql", "-X", "-At", "-h", host, "-p", port, "-U", user, "-d", "postgres", "-c", "select current_user",
                                env={"PGPASSWORD": "unused", "PGCONNECT_TIMEOUT": "30"})

    def end(self):
        """As the kubelet: the preStop hook, then SIGTERM. The exit code."""
        hook = self.container.get("lifecycle", {}).get("preStop")
        if hook and "exec" in hook:
            command = hook["exec"]["command"]
            assert command[0] == "/cloud-sql-proxy", "the program's path in the image"
            code, said = self.network.run(self.program, *command[1:])
            assert code == 0, said
        elif hook:
            get = hook["httpGet"]
            assert self.probe({"httpGet": get})
        else:
            # nsenter has become the program, so the signal is its own.
            return self.stop()
        return self.wait()


@pytest.mark.parametrize("program", ["google", "sidepool"])
@pytest.mark.parametrize("file,container", MANIFESTS, ids=[file for file, _ in MANIFESTS])
def test_manifest(file, container, program, programs, network, folder):
    if program == "google" and file in ONLY_OURS:
        pytest.skip("a file of sidepool's own format")
    binary = peers.auth_proxy() if program == "google" else programs[program]
    with Container(binary, container, network, folder) as running:
        running.wait_line("ready for new connections")
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if name in container:
                eventually(lambda name=name: running.probe(container[name]), f"{name} succeeds")
        named = {re.split(r"\?", argument)[0] for argument in container["args"] if argument.startswith("my-project:")} or {NAME}
        assert {name for name, _ in running.listening()} == named
        for name, address in running.listening():
            user = ROLES.get(file, ROLE if name == OTHER else "alice")
            assert running.login(address, user) == (0, user), running.output()
        if "--prometheus" in container["args"] or "CSQL_PROXY_PROMETHEUS" in running.variables:
            port = running.variables.get("CSQL_PROXY_HTTP_PORT", "9090")
            assert running.probe({"httpGet": {"port": int(port), "path": "/metrics"}})
        if "CSQL_PROXY_STRUCTURED_LOGS" in running.variables or "--structured-logs" in container["args"]:
            assert all(line.startswith("{") for line in running.output().splitlines()), running.output()
        zero = "--exit-zero-on-sigterm" in container["args"] or running.variables.get("CSQL_PROXY_EXIT_ZERO_ON_SIGTERM") == "true"
        assert running.end() == (0 if zero or "lifecycle" in container else 143), running.output()


def test_job_ends_with_its_sidecar(programs, network, folder):
    """The command of the job's own container posts to /quitquitquit."""
    document = yaml.safe_load((FOLDER / "kubernetes" / "job.yaml").read_text(encoding="utf-8"))
    job, sidecar = document["spec"]["template"]["spec"]["containers"]
    post = re.search(r"curl (.*)$", job["command"][-1])[1]
    if network.run("sh", "-c", "command -v curl")[0] != 0:
        peers.unavailable("curl", "Debian's curl is not installed")
    with Container(programs["sidepool"], sidecar, network, folder) as running:
        running.wait_line("ready for new connections")
        assert network.run("curl", "--fail", "--silent", *shlex.split(post)) == (0, "")
        assert running.wait() == 0


def test_every_manifest_is_found():
    assert len(MANIFESTS) == 11
    assert all("command" not in container for _, container in MANIFESTS), "the image's entry point is the program"
