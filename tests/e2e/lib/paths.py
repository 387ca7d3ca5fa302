"""tests/e2e/lib/paths.py -- where the programs under test are."""
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]
# ctest passes the build folder; by hand the release build is what one wants.
BUILD = pathlib.Path(os.environ.get("SIDEPOOL_BUILD", ROOT / "build" / "release"))


def built(name):
    path = BUILD / name
    assert path.exists(), f"{path} is not built (SIDEPOOL_BUILD names the build folder)"
    return str(path)


def emulator():
    return built("cloudsql-emulator")


def sidepool():
    return built("sidepool")
