"""tests/e2e/lib/decoys.py -- runs clients/decoys.py beside a test, so that each transaction may get another server."""
import pathlib
import sys

from .process import Process


class Decoys:
    """A context: `count` decoys at work; at its end they must all have seen only what is their own."""

    def __init__(self, pooler, count=4):
        script = pathlib.Path(__file__).resolve().parents[1] / "clients" / "decoys.py"
        self.process = Process([sys.executable, "-B", script, count], env=pooler.environment, name="decoys")

    def __enter__(self):
        try:
            self.process.wait_line("^ready$")
        except BaseException:
            self.process.kill()
            raise
        return self

    def __exit__(self, kind, *_):
        try:
            code = self.process.stop()
            if kind is None:
                assert code == 0, self.process.output()
                assert int(self.process.wait_line(r"^rounds (\d+)$")[1]) > 0
        finally:
            self.process.kill()
