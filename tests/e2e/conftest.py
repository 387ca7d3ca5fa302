"""tests/e2e/conftest.py -- import path, peers that were missed, and ctest's idea of "skipped"."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from lib import paths, peers  # noqa: E402

SKIPPED_FOR_CTEST = 77  # SKIP_RETURN_CODE in CMakeLists.txt


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
