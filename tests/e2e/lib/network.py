"""tests/e2e/lib/network.py -- a network of its own, for programs that want ports which belong to others on this machine (5432, 9090)."""
import subprocess

from . import paths, peers
from .process import Process


class Network:
    """A network namespace whose one device is the loopback, until close(); skips the test where nobody may make one.

    `command(…)` is an argument vector that runs inside. Unix sockets and files are the machine's.
    """

    def __init__(self):
        for unshare in (["unshare", "--net"], ["unshare", "--user", "--map-root-user", "--net"]):
            self.holder = Process([*unshare, "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"], name="network")
            try:
                self.holder.wait_line("^up$")
                break
            except AssertionError:
                self.holder.kill()
        else:
            peers.unavailable("network namespace", "this machine lets nobody make one")
        self._enter = ["nsenter", "--target", str(self.holder.pid), "--net"]
        if unshare[1] == "--user":
            self._enter += ["--user", "--preserve-credentials"]
        self.emulator = None

    def command(self, *arguments):
        return [*self._enter, *map(str, arguments)]

    def wrapper(self, path, program):
        """A script at `path` that is `program` inside."""
        path.write_text(f'#!/bin/sh\nexec {" ".join(self.command(program))} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def start_emulator(self, *arguments):
        """Its URL, to be reached from inside."""
        self.emulator = Process(self.command(paths.emulator(), *arguments), name="cloudsql-emulator")
        return self.emulator.wait_line(r"^ready api=(http://\S+)$")[1]

    def run(self, *arguments, env=None):
        """(exit code, output) of a program that ends by itself."""
        done = subprocess.run(self.command(*arguments), env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **(env or {})},
                              capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.strip() or done.stderr.strip()

    def close(self):
        for process in (self.emulator, self.holder):
            if process:
                process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
