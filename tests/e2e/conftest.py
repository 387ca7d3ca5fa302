"""tests/e2e/conftest.py -- import path, deadlines, peers that were missed, ctest's idea of "skipped", and what several files
test against: one instance with an IAM principal."""
import faulthandler
import os
import pathlib
import sys
import threading

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib import paths, peers  # noqa: E402
from lib.cloud import NAME, PRINCIPAL, ROLE  # noqa: E402
from lib.emulator import Emulator  # noqa: E402
from lib.name_server import NameServer  # noqa: E402
from lib.postgres import Postgres  # noqa: E402
from lib.process import Process  # noqa: E402

SKIPPED_FOR_CTEST = 77  # SKIP_RETURN_CODE in CMakeLists.txt
DEADLINE = 120.0  # of one test, seconds; @pytest.mark.deadline(N) for another


def pytest_configure(config):
    config.addinivalue_line("markers", "deadline(seconds): how long the test may take")


@pytest.fixture(autouse=True)
def _deadline(request):
    """Ends the programs of a test that hangs: a driver blocked in C sees its connection end, and the test fails."""
    marker = request.node.get_closest_marker("deadline")
    seconds = marker.args[0] if marker else DEADLINE
    done = threading.Event()
    passed = []

    def watch():
        if done.wait(seconds):
            return
        passed.append(True)
        faulthandler.dump_traceback(file=sys.__stderr__)
        for process in list(Process.alive):
            print(f"--- {process.name}\n{process.output()[-4000:]}", file=sys.__stderr__)
            process.kill()
        if not done.wait(20):
            print(f"{request.node.nodeid} hangs without its programs too", file=sys.__stderr__, flush=True)
            os._exit(1)

    watchdog = threading.Thread(target=watch, daemon=True)
    watchdog.start()
    yield
    done.set()
    watchdog.join()
    assert not passed, f"it took more than {seconds:g} s; its programs were killed"


@pytest.fixture(scope="module")
def postgres():
    """A file that needs another one defines its own, here and below."""
    with Postgres() as server:
        server.create_role(ROLE)
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


@pytest.fixture
def dns():
    with NameServer() as server:
        yield server


def _note(config):
    arguments = [pathlib.Path(argument.split("::")[0]).stem for argument in config.args]
    return paths.BUILD / "missing-peers" / ("-".join(arguments) + ".txt")


def pytest_terminal_summary(terminalreporter, config):
    # ctest hides the output of what passes, so the note stays in a file that scripts/test can show at its end.
    note = _note(config)
    note.unlink(missing_ok=True)
    if not peers.missing:
        return
    lines = [f"PEER NOT TESTED: {peer}: {why}" for peer, why in sorted(peers.missing.items())]
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text("\n".join(lines) + "\n", encoding="utf-8")
    terminalreporter.section("missing peers")
    for line in lines:
        terminalreporter.line(line)


def pytest_sessionfinish(session, exitstatus):
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if exitstatus == 0 and reporter and not reporter.stats.get("passed") and reporter.stats.get("skipped"):
        session.exitstatus = SKIPPED_FOR_CTEST
