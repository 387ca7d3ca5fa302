"""tests/e2e/lib/check.py -- `sidepool check`: its exit code and its rows."""
import re

from . import paths
from .process import Process

ROWS = ["instance name", "Admin API", "scopes", "roles", "instance", "IP type", "route", "certificate", "database login",
        "listener"]
ROW = re.compile(r"  (ok  |FAIL|skip)  (.{14})  (.*)")


class Check(Process):
    """A finished `sidepool check`: its exit code and its rows."""

    def __init__(self, *args, env=None):
        super().__init__([paths.sidepool(), "check", *args], env={"HOME": "/nonexistent", **(env or {})}, name="check")
        self.code = self.wait(60)
        self.kill()
        self.rows = {}  # subject -> [(outcome, text)]
        for text in self.output("out").splitlines():
            row = ROW.fullmatch(text)
            if row:
                self.rows.setdefault(row[2].strip(), []).append((row[1].strip(), row[3]))

    def outcomes(self, subject):
        return [outcome for outcome, _ in self.rows.get(subject, [])]

    def failed(self):
        """The subjects that failed."""
        return [subject for subject, found in self.rows.items() if any(outcome == "FAIL" for outcome, _ in found)]

    def text(self, subject):
        return " ".join(text for _, text in self.rows[subject])

    def fails_only(self, subject, pattern, remedy):
        """The one failure, with its cause and remedy on one line; the rows behind it are skipped, not missing."""
        assert self.code == 1, self.output()
        assert self.failed() == [subject], self.output()
        text = self.text(subject)
        assert re.search(pattern, text), text
        assert re.search(r"\. Remedy: .*" + remedy, text), text
        assert "check has failed" in self.output() or "checks have failed" in self.output()
        if subject in ROWS:
            for later in ROWS[ROWS.index(subject) + 1:-1]:
                assert self.outcomes(later) == ["skip"], self.output()
                assert "earlier check failed" in self.text(later)
        return self
