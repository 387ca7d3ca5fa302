"""bench/measure/cloud.py -- what stands in front of a Cloud SQL instance (the emulator): sidepool, the real Auth Proxy,
and pgbouncer in front of the Auth Proxy, the stack that sidepool replaces."""
from lib import paths
from lib.emulator import Emulator
from lib.ports import free_port
from lib.sidepool import Proxy

from .contestants import Contestant, peer, pgbouncer, sidepool_config, write_config
from .database import PRINCIPAL

INSTANCE = "my-project:us-central1:my-postgres"


def emulator(postgres):
    return Emulator(postgres, [INSTANCE], principal=PRINCIPAL)


def environment(running):
    """Only the emulator is asked for credentials."""
    return {"HOME": "/nonexistent", "CSQL_PROXY_SQLADMIN_API_ENDPOINT": running.url, "GCE_METADATA_HOST": running.host}


class Pinned(Proxy):
    """A Proxy on some processors, from its first instruction: it may size itself by them."""

    def __init__(self, binary, arguments, env, cores, name):
        prefix = ["taskset", "-c", cores] if cores else []
        command = [*prefix, binary, *arguments]
        super().__init__(command[1:], env=env, binary=command[0], name=name)


def sidepool(running, name="sidepool", binary=None, isolation="reset", cores=None):
    port = free_port()
    upstream = {"instance": INSTANCE, "auto_iam_authn": True}
    folder, config = write_config("sidepool.toml", sidepool_config(port, upstream, isolation))
    process = Pinned(binary or paths.sidepool(), ["--config", config], environment(running), cores, name)
    return Contestant(name, port, [process], [folder])


def auth_proxy(running, cores=None):
    port = free_port()
    process = Pinned(peer("auth-proxy"), [f"--port={port}", "--auto-iam-authn", INSTANCE], environment(running), cores,
                     "auth-proxy")
    return Contestant("auth-proxy", port, [process])


def stack(running, cores=None):
    proxy = auth_proxy(running, cores)
    try:
        pooler = pgbouncer(proxy.port, prefix=["taskset", "-c", cores] if cores else [])
    except BaseException:
        proxy.close()
        raise
    return Contestant("stack", pooler.port, [*pooler.processes, *proxy.processes], pooler.folders)
