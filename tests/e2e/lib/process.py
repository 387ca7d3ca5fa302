"""tests/e2e/lib/process.py -- a program under test: its output as lines that can be waited for, its end."""
import os
import re
import signal
import subprocess
import threading
import time

from .waiting import DEADLINE


class Process:
    """Starts `command` in an environment that holds only PATH, LANG and `env`.

    Only what is given reaches the program: credentials or proxies of the machine must not.
    """

    alive = set()  # those that kill() has not been called for; the watchdog of conftest.py ends them

    def __init__(self, command, env=None, name=None, cwd=None, user=None):
        self.name = name or os.path.basename(str(command[0]))
        self.lines = []  # (stream, text) in order of arrival
        self._changed = threading.Condition()
        self._open_streams = 2
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"}
        for inherited in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            if inherited in os.environ:
                environment[inherited] = os.environ[inherited]
        environment.update(env or {})
        identity = {"user": user, "group": user_group(user), "extra_groups": []} if user else {}
        self.child = subprocess.Popen(
            [str(part) for part in command], env=environment, cwd=cwd, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **identity)
        Process.alive.add(self)
        for stream, pipe in (("out", self.child.stdout), ("err", self.child.stderr)):
            threading.Thread(target=self._read, args=(stream, pipe), daemon=True).start()

    def _read(self, stream, pipe):
        for raw in pipe:
            with self._changed:
                self.lines.append((stream, raw.decode("utf-8", "replace").rstrip("\n")))
                self._changed.notify_all()
        with self._changed:
            self._open_streams -= 1
            self._changed.notify_all()

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child.poll() is None

    def mark(self):
        """A position in the output, for `after` of the other methods."""
        with self._changed:
            return len(self.lines)

    def output(self, stream=None, after=0):
        with self._changed:
            return "\n".join(text for kind, text in self.lines[after:] if stream in (None, kind))

    def find(self, pattern, after=0):
        """All lines that match."""
        with self._changed:
            return [text for _, text in self.lines[after:] if re.search(pattern, text)]

    def wait_line(self, pattern, timeout=DEADLINE, after=0, stream=None):
        """The first match (an re.Match) in a line of the output; fails when the program ends without it."""
        end = time.monotonic() + timeout
        seen = after
        with self._changed:
            while True:
                for kind, text in self.lines[seen:]:
                    match = re.search(pattern, text)
                    if match and stream in (None, kind):
                        return match
                seen = len(self.lines)
                left = end - time.monotonic()
                if self._open_streams == 0 or left <= 0:
                    why = "ended" if self._open_streams == 0 else f"said nothing of it in {timeout:g} s"
                    raise AssertionError(f"{self.name} {why}; wanted /{pattern}/, output:\n" +
                                         "\n".join(text for _, text in self.lines))
                self._changed.wait(left)

    def send_signal(self, number):
        self.child.send_signal(number)

    def wait(self, timeout=DEADLINE):
        """The exit code, negative for a signal."""
        try:
            code = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout:g} s, output:\n{self.output()}") from None
        with self._changed:
            self._changed.wait_for(lambda: self._open_streams == 0, 5)
        return code

    def stop(self, number=signal.SIGTERM, timeout=DEADLINE):
        if self.running():
            self.send_signal(number)
        return self.wait(timeout)

    def kill(self):
        """For clean-up: whatever state it is in, it and its children are gone afterwards."""
        Process.alive.discard(self)
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.running():
            self.send_signal(signal.SIGTERM)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()


def user_group(user):
    import pwd
    return pwd.getpwnam(user).pw_gid


def peak_memory_kib(pid):
    """VmHWM of a running process."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    raise AssertionError(f"no VmHWM of process {pid}")
