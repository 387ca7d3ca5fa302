"""tests/e2e/test_side_by_side_refusals.py -- command lines, variables and files that Google's proxy refuses (cloudsql.md
6.1 to 6.5): sidepool refuses them with the same code in the same words."""
import pytest

from lib import peers
from lib.side_by_side import NAME, OTHER, Case, compare, ids, installed

PORT = ["--port", "{p0}"]
AUTH = {"token": "x", "credentials-file": "key.json", "gcloud-auth": None, "json-credentials": "{}"}


def flag(name, value):
    return [f"--{name}"] if value is None else [f"--{name}", value]


def auth_pairs():
    pairs = [("token", "credentials-file"), ("token", "gcloud-auth"), ("credentials-file", "gcloud-auth"),
             ("json-credentials", "token"), ("json-credentials", "credentials-file"), ("json-credentials", "gcloud-auth")]
    return [Case(f"{a}-and-{b}", [*flag(a, AUTH[a]), *flag(b, AUTH[b]), NAME]) for a, b in pairs]


def query(id_, text, **more):
    return Case("query-" + id_, [f"{NAME}?{text}"], **more)


# 6.2: positional arguments.
POSITIONALS = [
    Case("no-instance", []),
    Case("no-instance-but-flags", ["--port", "5000"]),
    Case("empty-instance", [""], deviation="name-syntax", ours="exit 1: .*connection name.*"),
    query("semicolon", "port=1;address=127.0.0.1"),
    query("bad-escape", "port=%zz"),
]
# 6.3: query parameters.
QUERIES = [
    query("port-text", "port=abc"), query("port-empty", "port="),
    query("address-name", "address=localhost"), query("address-twice", "address=127.0.0.1&address=127.0.0.2"),
    # Google's texts end with the values of another parameter here, "[]".
    *[query(f"{name}-twice", f"{name}={a}&{name}={b}", deviation="argument-texts", ours=f"exit 1: .*should be only one value: .*{b}.*")
      for name, a, b in [("port", "1", "2"), ("unix-socket", "/a", "/b"), ("unix-socket-path", "/a", "/b")]],
    query("address-and-unix-socket", "address=127.0.0.1&unix-socket=/a"),
    query("port-and-unix-socket", "port=5000&unix-socket=/a"),
    query("address-and-unix-socket-path", "address=127.0.0.1&unix-socket-path=/a"),
    query("port-and-unix-socket-path", "port=5000&unix-socket-path=/a"),
    query("unix-socket-and-path", "unix-socket=/a&unix-socket-path=/b"),
    query("iam-word", "auto-iam-authn=maybe"), query("iam-one", "auto-iam-authn=1"),
    query("private-ip-word", "private-ip=yes"), query("psc-word", "psc=on"),
    *[query(f"{name}-twice", f"{name}&{name}", deviation="argument-texts",
            ours=f'exit 1: .*{name} query param should be only one value: \\["" ""\\].*')
      for name in ("auto-iam-authn", "private-ip", "psc")],
    query("private-ip-and-psc", "private-ip&psc"), query("private-ip-off-and-psc", "private-ip=false&psc=true"),
    Case("query-private-ip-with-auto-ip", ["--auto-ip", f"{NAME}?private-ip"]),
    Case("query-second-instance", [NAME, f"{OTHER}?port=abc"]),
]
# 6.4: rules about several flags, in their order.
RULES = [
    Case("unix-socket-and-address", ["--unix-socket", "/a", "--address", "127.0.0.1", NAME]),
    Case("unix-socket-and-port", ["--unix-socket", "/a", "--port", "5000", NAME]),
    Case("address-name", ["--address", "localhost", NAME]),
    Case("address-empty-text", ["--address", "x", NAME]),
    Case("private-ip-and-auto-ip", ["--private-ip", "--auto-ip", NAME]),
    Case("private-ip-off-and-auto-ip-off", ["--private-ip=false", "--auto-ip=false", NAME]),
    Case("private-ip-and-psc", ["--private-ip", "--psc", NAME]),
    Case("private-ip-and-psc-and-sql-data", ["--private-ip", "--psc", "--sql-data", NAME]),
    *auth_pairs(),
    Case("order-unix-before-auth", ["--unix-socket", "/a", "--address", "127.0.0.1", "--token", "x", "--gcloud-auth", NAME]),
    Case("order-instance-before-all", ["--unix-socket", "/a", "--address", "127.0.0.1"]),
    Case("endpoint-and-universe", ["--sqladmin-api-endpoint", "https://x/", "--universe-domain", "y", NAME]),
    Case("endpoint-not-a-url", ["--sqladmin-api-endpoint", "https://x:port", "--token", "x", *PORT, NAME],
         deviation="argument-texts", ours="exit 1: .*sqladmin-api-endpoint.*"),
]
# 4.4: tokens and IAM.
TOKENS = [
    Case("iam-and-token", ["--auto-iam-authn", "--token", "x", NAME]),
    Case("login-token-alone", ["--login-token", "x", NAME]),
    Case("login-token-without-iam", ["--login-token", "x", "--token", "y", NAME]),
    Case("login-token-without-token", ["--login-token", "x", "--auto-iam-authn", NAME]),
    Case("iam-and-gcloud", ["--gcloud-auth", "--auto-iam-authn", NAME]),
    Case("token-and-iam-of-an-instance", ["--token", "x", *PORT, f"{NAME}?auto-iam-authn=true"],
         deviation="token-iam", ours="exit 1: .*--login-token.*"),
]
# 6.1: flags and their values.
FLAGS = [
    Case("unknown-flag", ["--bogus", NAME]),
    Case("unknown-letter", ["-x", NAME], deviation="argument-texts", ours='exit 1: unknown shorthand flag: .*x.*'),
    Case("flag-without-value", [NAME, "--port"]),
    Case("letter-without-value", [NAME, "-p"], deviation="argument-texts", ours="exit 1: flag needs an argument: .*"),
    *[Case(f"{name}-{value or 'empty'}", [f"--{name}={value}", NAME], deviation="argument-texts",
           ours=f'exit 1: invalid argument "{value}" for "[^"]*--{name}" flag: .*')
      for name, value in [("port", "abc"), ("port", "1.5"), ("auto-iam-authn", "maybe"), ("private-ip", "2"),
                          ("max-sigterm-delay", "30"), ("min-sigterm-delay", "x"), ("max-connections", "-1"),
                          ("health-check", "yes"), ("quitquitquit", "on"), ("lazy-refresh", "nein")]],
    Case("bool-takes-no-second-word", ["--private-ip", "false", *PORT, "--token", "x"],
         deviation="name-syntax", ours='exit 1: .*"false".*'),
    Case("fuse", ["--fuse", "/fuse", "--token", "x"], deviation="fuse", ours="exit 1: .*(FUSE|fuse).*"),
    Case("sql-data", ["--sql-data", *PORT, "--token", "x", NAME], deviation="sql-data", ours="exit 1: .*sql-data.*"),
    Case("sql-data-query", [*PORT, "--token", "x", f"{NAME}?sql-data=true"], deviation="sql-data", ours="exit 1: .*sql-data.*"),
]
# 1.1 and 6.2: names, which Google's proxy looks at when the first client comes.
NAMES = [
    *[Case("name-" + name.replace(":", "-"), ["--token", "x", *PORT, name], deviation="name-syntax", ours='exit 1: .*connection name.*')
      for name in ("nonsense", "my-project:my-postgres", "DB.Example.com")],
    Case("name-of-five-parts", ["--token", "x", *PORT, "a:b:c:d:e"], deviation="five-parts", ours="exit 1: .*connection name.*"),
]
# 6.5: environment and files.
SETTINGS = {"invalid-port": ("port", "abc"), "invalid-delay": ("max-sigterm-delay", "30"), "invalid-bool": ("private-ip", "maybe"),
            "invalid-count": ("max-connections", "many")}
ENVIRONMENT = [
    *[Case(f"env-{id_}", ["--token", "x", "--port", "{p0}", NAME] if name != "port" else ["--token", "x", f"{NAME}?port={{p0}}"],
           env={"CSQL_PROXY_" + name.upper().replace("-", "_"): value}, deviation="invalid-values",
           ours=f"exit 1: .*{value}.*CSQL_PROXY_.*|exit 1: .*CSQL_PROXY_.*{value}.*") for id_, (name, value) in SETTINGS.items()],
    Case("env-address-and-unix-socket", ["--unix-socket", "/a", NAME], env={"CSQL_PROXY_ADDRESS": "127.0.0.1"}),
    Case("env-private-ip-off-and-auto-ip-off", [NAME], env={"CSQL_PROXY_PRIVATE_IP": "false", "CSQL_PROXY_AUTO_IP": "false"}),
    Case("env-token-and-gcloud", ["--gcloud-auth", NAME], env={"CSQL_PROXY_TOKEN": "x"}),
    Case("env-login-token", [NAME], env={"CSQL_PROXY_LOGIN_TOKEN": "x"}),
    Case("env-instance-with-a-gap", [], env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME_1": NAME}),
    Case("env-instance-with-a-bad-query", [], env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME": f"{NAME}?port=abc"}),
    Case("env-second-instance-with-a-bad-query", [],
         env={"CSQL_PROXY_INSTANCE_CONNECTION_NAME_0": NAME, "CSQL_PROXY_INSTANCE_CONNECTION_NAME_1": f"{NAME}?psc=on"}),
    Case("env-config-file", ["--token", "x"], env={"CSQL_PROXY_CONFIG_FILE": "proxy.toml"},
         files={"proxy.toml": f'instance-connection-name = "{NAME}"\nport = {{p0}}\n'},
         deviation="config-file-variable", ours=r"started\n\[" + NAME + r"\] 127\.0\.0\.1:{p0}.*"),
]
FILES = [
    Case("file-missing", ["--config-file", "missing.toml"]),
    Case("file-extension", ["--config-file", "proxy.ini"], files={"proxy.ini": ""}),
    Case("file-without-extension", ["--config-file", "proxy"], files={"proxy": ""}),
    Case("file-is-a-folder", ["--config-file", "."]),
    *[Case(f"file-without-instance-{kind}", ["--config-file", f"proxy.{kind}"], files={f"proxy.{kind}": text})
      for kind, text in [("toml", "port = 5000\n"), ("yaml", "port: 5000\n"), ("json", '{"port": 5000}')]],
    *[Case(f"file-conflict-{kind}", ["--config-file", f"proxy.{kind}", NAME], files={f"proxy.{kind}": text})
      for kind, text in [("toml", 'token = "x"\ncredentials-file = "y"\n'), ("yml", "token: x\ncredentials-file: y\n"),
                         ("json", '{"token": "x", "credentials-file": "y"}')]],
    Case("file-rule-with-flag", ["--config-file", "proxy.toml", "--unix-socket", "/a", NAME],
         files={"proxy.toml": 'address = "127.0.0.1"\n'}),
    Case("file-rule-with-env", ["--config-file", "proxy.toml", NAME], env={"CSQL_PROXY_UNIX_SOCKET": "/a"},
         files={"proxy.toml": "port = 5000\n"}),
    Case("file-instance-query", ["--config-file", "proxy.toml"],
         files={"proxy.toml": f'instance-connection-name = "{NAME}?port=abc"\n'}),
    Case("file-instances-with-a-gap", ["--config-file", "proxy.toml"],
         files={"proxy.toml": f'instance-connection-name-1 = "{NAME}"\n'}),
    *[Case(f"file-garbage-{kind}", ["--config-file", f"proxy.{kind}", NAME], files={f"proxy.{kind}": text},
           deviation="argument-texts", ours=rf"exit 1: .*proxy\.{kind}.*")
      for kind, text in [("toml", "port = = 1\n"), ("yaml", "port: [\n"), ("json", "{")]],
    *[Case(f"file-{id_}", ["--token", "x", "--config-file", "proxy.toml", f"{NAME}?port={{p0}}"],
           files={"proxy.toml": f'{name} = "{value}"\n'}, deviation="invalid-values", ours=f"exit 1: .*{name}.*")
      for id_, (name, value) in SETTINGS.items()],
    Case("file-unknown-key", ["--token", "x", "--config-file", "proxy.toml", *PORT, NAME], files={"proxy.toml": "prot = 5000\n"},
         deviation="unknown-keys", ours="exit 1: .*prot.*"),
]
CASES = POSITIONALS + QUERIES + RULES + TOKENS + FLAGS + NAMES + ENVIRONMENT + FILES


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return peers.auth_proxy(), installed(tmp_path_factory.mktemp("bin"))


# Nothing answers there, so that a start gets no farther than it would without a network.
BASE = {"CSQL_PROXY_SQLADMIN_API_ENDPOINT": "http://127.0.0.1:1/"}


@pytest.mark.parametrize("case", CASES, ids=ids(CASES))
def test_refused_in_the_same_words(case, programs, tmp_path):
    base = {} if case.id.startswith("endpoint") else BASE
    compare(case, programs, tmp_path, base)
