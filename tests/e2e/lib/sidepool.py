"""tests/e2e/lib/sidepool.py -- starts the program under test, or Google's proxy: they share command line and log."""
import http.client
import json

from . import paths
from .process import Process
from .waiting import eventually


class Proxy(Process):
    """A running sidepool or cloud-sql-proxy: `args` as in the README, `env` as in service.yaml.

    Waits for "ready for new connections" unless `ready` is False.
    """

    def __init__(self, args, env=None, binary=None, ready=True, name=None):
        environment = {"HOME": "/nonexistent"}
        environment.update(env or {})
        super().__init__([binary or paths.sidepool(), *args], env=environment, name=name)
        if ready:
            try:
                self.wait_line(r"ready for new connections")
            except BaseException:
                self.kill()
                raise

    def listening(self):
        """(instance, address) of each "Listening on" line."""
        found = []
        for text in self.find(r"Listening on "):
            head, address = text.rsplit("Listening on ", 1)
            found.append((head.rsplit("[", 1)[-1].split("]")[0], address.strip().rstrip('"}')))
        return found

    def log_records(self):
        """Lines of --structured-logs as dictionaries."""
        records = []
        for text in self.output().splitlines():
            try:
                records.append(json.loads(text))
            except ValueError:
                continue
        return records


def http_get(port, path, host="127.0.0.1", method="GET"):
    """(status, body) of a probe."""
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def wait_status(port, path, status):
    return eventually(lambda: http_get(port, path)[0] == status, f"{path} answers {status}")


def metric_values(port, path="/metrics"):
    """Samples by `name{labels}` as the text has them."""
    samples = {}
    for line in http_get(port, path)[1].splitlines():
        if line and not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            samples[name] = float(value)
    return samples
