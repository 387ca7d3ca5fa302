"""tests/e2e/lib/waiting.py -- waiting for what happens, with a deadline instead of a sleep."""
import time

DEADLINE = 30.0  # generous: a loaded CI machine is slow, a hang is for ever


def eventually(condition, what, timeout=DEADLINE, interval=0.02):
    """Calls `condition` until its result is true and returns that; fails with `what` after `timeout` seconds.

    An AssertionError or OSError of the condition counts as "not yet".
    """
    end = time.monotonic() + timeout
    last = None
    while True:
        try:
            result = condition()
            if result:
                return result
            last = result
        except (AssertionError, OSError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout:g} s, last seen: {last!r}")
        time.sleep(interval)
