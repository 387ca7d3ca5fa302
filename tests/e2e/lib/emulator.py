"""tests/e2e/lib/emulator.py -- starts tests/cloudsql_emulator and speaks its /_control/ interface (see its README)."""
import json
import urllib.error
import urllib.parse
import urllib.request

from . import paths
from .ports import loopback_address
from .process import Process

ADMIN_SCOPE = "https://www.googleapis.com/auth/sqlservice.admin"
LOGIN_SCOPE = "https://www.googleapis.com/auth/sqlservice.login"
PLATFORM_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class HttpFailure(AssertionError):
    def __init__(self, status, headers, text):
        super().__init__(f"HTTP {status}: {text}")
        self.status = status
        self.headers = headers
        self.text = text


# Loopback only, whatever proxies the machine is set up with.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def http(method, url, body=None, headers=None, timeout=60):
    """(status, headers, text); HttpFailure for 4xx and 5xx."""
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    try:
        with _opener.open(request, timeout=timeout) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        raise HttpFailure(error.code, error.headers, error.read().decode()) from None


class Emulator:
    """A running emulator in front of `postgres` (lib.postgres.Postgres or None).

    `instances` maps names to option texts behind the address ("private=…", "mode=cas"); each gets a loopback
    address of its own, found in `addresses`.
    """

    def __init__(self, postgres=None, instances=("my-project:us-central1:my-postgres",), principal=None, more=(),
                 binary=None):
        options = instances if isinstance(instances, dict) else {name: "" for name in instances}
        self.addresses = {name: loopback_address() for name in options}
        command = [binary or paths.emulator(), "--port", "0"]
        for name, extra in options.items():
            command += ["--instance", f"{name}={self.addresses[name]}" + (f",{extra}" if extra else "")]
        if postgres is not None:
            command += ["--postgres", postgres.tcp, "--postgres-trust", postgres.trust]
        if principal:
            command += ["--principal", principal]
        self.process = Process([*command, *more], name="cloudsql-emulator")
        try:
            self.url = self.process.wait_line(r"^ready api=(http://\S+)$")[1]
        except BaseException:
            self.process.kill()
            raise
        self.host = self.url.removeprefix("http://")

    def close(self):
        """A sanitizer's findings show in the exit code, so it counts."""
        if not self.process.running():
            return
        try:
            code = self.process.stop()
            assert code == 0, f"the emulator ended with {code}:\n{self.process.output('err')}"
        finally:
            self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- the control interface

    def get(self, path, timeout=60, **query):
        url = f"{self.url}/_control/{path}?" + urllib.parse.urlencode(query)
        return json.loads(http("GET", url, timeout=timeout)[2])

    def post(self, path, **body):
        return json.loads(http("POST", f"{self.url}/_control/{path}", json.dumps(body))[2])

    def instance(self, name, **settings):
        """Creates an instance or changes settings of one."""
        return self.post("instances", name=name, **settings)

    def rotate(self, name, what, keep_old=True):
        return self.post("rotate", instance=name, what=what, keep_old=keep_old)

    def side(self, mode="none", name="", **more):
        """How 3307 behaves from now on."""
        return self.post("side", instance=name, mode=mode, **more)

    def faults(self, method, *steps, name=""):
        return self.post("faults", method=method, instance=name, steps=list(steps))

    def clear_faults(self):
        return json.loads(http("DELETE", f"{self.url}/_control/faults")[2])

    def release(self, method):
        return self.post("release", method=method)

    def kill_connections(self, how="close", name=""):
        return self.post("connections/kill", instance=name, how=how)["killed"]

    def counts(self):
        return self.get("counts")

    def count(self, name):
        return self.counts().get(name, 0)

    def wait_count(self, name, count, timeout=30.0):
        """Blocks until the counter `name` has reached `count`; the emulator answers at that moment."""
        try:
            return self.get("wait", timeout + 30, name=name, count=count, timeout_ms=int(timeout * 1000))
        except HttpFailure as failure:
            raise AssertionError(f"{name} did not reach {count} in {timeout:g} s: {failure.text}") from None

    def requests(self, api="", after=0):
        return self.get("requests", api=api, after=after)

    def logins(self, after=0):
        return self.get("logins", after=after)

    def open_connections(self):
        return sum(self.get("connections").values())

    def state(self):
        return self.get("state")

    def reset_records(self):
        return self.post("reset")

    def service_account(self, email):
        """The content of a credentials file with a fresh key."""
        return self.post("service-accounts", email=email)

    def token(self, principal, scopes=(PLATFORM_SCOPE,), lifetime_s=3600):
        return self.post("tokens", principal=principal, scopes=list(scopes), lifetime_s=lifetime_s)["token"]
