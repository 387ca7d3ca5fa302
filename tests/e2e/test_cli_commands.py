"""tests/e2e/test_cli_commands.py -- wait, shutdown, completion, help, --version (cloudsql.md §6.12)."""
import os
import shutil
import subprocess

import pytest

from lib import paths
from lib.ports import free_port, free_ports
from lib.process import Process
from lib.sidepool import Proxy, wait_status

NAME = "my-project:us-central1:my-postgres"
# Hosts only: no instance whose certificate /startup would wait for.
TOML = """
[[upstream]]
hosts = ["127.0.0.1:1"]
listen = ["127.0.0.1:0"]
"""


@pytest.fixture
def hosts(tmp_path):
    file = tmp_path / "sidepool.toml"
    file.write_text(TOML)
    return ["--config", str(file)]


def run(*args, env=None, binary=None):
    """(exit code, stdout, stderr)"""
    with Process([binary or paths.sidepool(), *args], env=env) as process:
        code = process.wait()
        return code, process.output("out"), process.output("err")


def test_wait_returns_when_the_other_serves(hosts):
    http = free_port()
    with Process([paths.sidepool(), "wait", "--http-port", str(http), "--max", "60s"],
                 env={"HTTP_PROXY": "http://127.0.0.1:1", "ALL_PROXY": "http://127.0.0.1:1"}) as waiting:
        with Proxy([*hosts, "--health-check", "--http-port", str(http)]):
            assert waiting.wait() == 0
            assert waiting.output() == ""
            assert run("wait", "--http-address", "127.0.0.1", "--http-port", str(http))[0] == 0


def test_wait_gives_up(hosts):
    http = free_port()
    code, out, err = run("wait", "-m", "300ms", "--http-port", str(http))
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: command failed to complete successfully\nhttp://localhost:{http}/startup: ")
    with Proxy([*hosts, "--prometheus", "--http-port", str(http)]):
        code, _, err = run("wait", "-m", "300ms", "--http-port", str(http))
        assert code == 1 and err.endswith("status code 404")


def test_shutdown(hosts):
    admin, http = free_ports(2)
    with Proxy([*hosts, "--quitquitquit", "--admin-port", str(admin), "--health-check", "--http-port",
                str(http)]) as proxy:
        wait_status(http, "/startup", 200)
        assert run("shutdown", "--admin-port", str(admin), env={"http_proxy": "http://127.0.0.1:1"}) == (0, "", "")
        assert proxy.wait() == 0
        assert "/quitquitquit received request. Shutting down..." in proxy.output("out")
    code, _, err = run("shutdown", "--admin-port", str(admin))
    assert code == 1
    assert err.startswith(f"Error: failed to send shutdown request: http://127.0.0.1:{admin}/quitquitquit: ")


def test_shutdown_where_it_is_not_offered(hosts):
    http = free_port()
    with Proxy([*hosts, "--health-check", "--http-port", str(http)]) as proxy:
        assert run("shutdown", "--admin-port", str(http)) == (
            1, "", "Error: shutdown request failed: status code 404")
        assert proxy.running()


def complete(words):
    """What bash offers for the last of `words`."""
    script = subprocess.run([paths.sidepool(), "completion", "bash"], stdout=subprocess.PIPE, check=True).stdout
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        ["bash", "--norc", "-c", f'source /dev/stdin; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _sidepool; '
         'printf "%s\\n" "${COMPREPLY[@]}"; complete -p cloud-sql-proxy'],
        input=script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    assert lines.pop() == "complete -F _sidepool cloud-sql-proxy"
    return lines


def test_completion_in_bash(tmp_path):
    assert complete(["sidepool", "--auto"]) == ["--auto-iam-authn", "--auto-ip"]
    assert complete(["sidepool", "sh"]) == ["shutdown"]
    assert complete(["sidepool", "wait", "--m"]) == ["--max"]
    assert complete(["sidepool", "completion", "z"]) == ["zsh"]
    (tmp_path / "key.json").write_text("{}")
    assert complete(["sidepool", "-c", f"{tmp_path}/ke"]) == [f"{tmp_path}/key.json"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts_are_scripts(shell):
    code, script, err = run("completion", shell)
    assert code == 0 and err == "" and "cloud-sql-proxy" in script
    checks = {"bash": ["bash", "-n"], "zsh": ["zsh", "-n"], "fish": ["fish", "-n"]}
    if shell in checks and shutil.which(shell):
        subprocess.run(checks[shell], input=script.encode(), check=True)


def test_under_the_auth_proxys_name(tmp_path):
    name = tmp_path / "cloud-sql-proxy"
    os.symlink(os.path.abspath(paths.sidepool()), name)
    code, out, err = run("--version", binary=name)
    assert code == 0 and err == "" and out.startswith("cloud-sql-proxy version ") and out.endswith("+sidepool")
    assert "cloud-sql-proxy [flags] INSTANCE" in run("--help", binary=name)[1]
    assert run("help", "wait", binary=name)[1] == run("wait", "--help", binary=name)[1]
    assert run("--version")[1].startswith("sidepool version ")
    code, _, err = run("-x", NAME, binary=name)
    assert code == 1 and "Run 'cloud-sql-proxy --help' for all flags." in err
