"""tests/e2e/lib/peers.py -- programs of others. A peer the machine could have and lacks is said aloud, never ignored.

With SIDEPOOL_PEERS=required (as in CI) a missing peer fails the test instead.
"""
import atexit
import functools
import os
import shutil
import subprocess
import tempfile

import pytest

from . import paths

missing = {}  # peer -> why, for the summary at the end (conftest.py)


def unavailable(peer, why):
    """Ends the test: skipped, or failed where peers are required."""
    missing[peer] = why
    if os.environ.get("SIDEPOOL_PEERS") == "required":
        pytest.fail(f"peer {peer} is required and unavailable: {why}", pytrace=False)
    pytest.skip(f"peer {peer} is unavailable: {why}")


def _fetch(peer, *arguments):
    done = subprocess.run([paths.ROOT / "scripts" / "peers", *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        unavailable(peer, (done.stderr.strip().splitlines() or ["no reason given"])[-1])
    return done.stdout.strip().splitlines()[-1]


def auth_proxy():
    """The path of Google's cloud-sql-proxy."""
    return _fetch("auth-proxy", "auth-proxy")


def postgres_bin(major):
    """The bin folder of PostgreSQL `major`: Debian's 15, others from npm."""
    debian = f"/usr/lib/postgresql/{major}/bin"
    if os.path.exists(os.path.join(debian, "postgres")):
        return debian
    return _for_everybody(_fetch(f"postgres-{major}", "postgres", str(major)))


@functools.cache
def _for_everybody(bin_folder):
    """PostgreSQL does not run as root, and nobody else may look into a checkout in root's home: then a copy of it."""
    home = os.path.realpath(os.path.dirname(bin_folder))
    folders = [home]
    while folders[-1] != "/":
        folders.append(os.path.dirname(folders[-1]))
    if os.geteuid() != 0 or all(os.stat(folder).st_mode & 0o001 for folder in folders):
        return bin_folder
    copy = tempfile.mkdtemp(prefix="sp-peer-", dir="/tmp")
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    os.chmod(copy, 0o755)
    return os.path.join(shutil.copytree(home, os.path.join(copy, "postgres"), symlinks=True), os.path.basename(bin_folder))


def go_client():
    """The path of clients/go, built."""
    return _fetch("go-client", "go-client")


def node_modules():
    """The folder with the packages of clients/node."""
    return _fetch("node-postgres", "node-modules")


def jdbc_client(folder):
    """The class path of clients/java, compiled into `folder`, with PostgreSQL's driver."""
    jar = "/usr/share/java/postgresql.jar"
    if not os.path.exists(jar):
        unavailable("jdbc", "Debian's libpostgresql-jdbc-java is not installed")
    if not shutil.which("javac"):
        unavailable("jdbc", "there is no javac (Debian's default-jdk-headless)")
    source = paths.ROOT / "tests" / "e2e" / "clients" / "java" / "Client.java"
    done = subprocess.run(["javac", "-Xlint:all", "-Werror", "-cp", jar, "-d", str(folder), str(source)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return f"{folder}:{jar}"


def module(name, package):
    """An imported Python driver, or the test ends; `package` is what Debian calls it."""
    import importlib
    try:
        return importlib.import_module(name)
    except ImportError:
        return unavailable(name, f"Debian's {package} is not installed")
