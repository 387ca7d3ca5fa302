"""tests/e2e/clients/decoys.py -- clients that keep taking servers away from the one under test, and check themselves.

    decoys.py COUNT    where to: libpq's environment; ends with SIGTERM, 1 if a decoy saw what is not its own

Each has its own settings (of those that a pool carries along, so that no decoy is pinned to a server), and prepared
statements under the very names that psycopg, asyncpg and JDBC use, with other texts. Says "ready" when each has done a round, "rounds N" at the end.
"""
import signal
import sys
import threading

import psycopg

stop = threading.Event()
failures = []
rounds = 0
lock = threading.Lock()


def check(what, seen, wanted):
    if seen != wanted:
        raise AssertionError(f"{what}: {seen!r} instead of {wanted!r}")


def decoy(number, ready):
    global rounds
    mark = f"decoy {number}"
    zone = ["Asia/Tokyo", "America/Lima", "Europe/Paris", "UTC"][number % 4]
    with psycopg.connect(application_name=mark, autocommit=True) as connection:
        connection.prepare_threshold = 0
        connection.execute(f"set timezone to '{zone}'", prepare=False)
        connection.execute("set datestyle to 'SQL, DMY'", prepare=False)
        wire = connection.pgconn
        for name in (b"S_1", b"__asyncpg_stmt_1__", b"stmtcache_1", b"lrupsc_1_0", b"named"):
            result = wire.prepare(name, b"select $1::text || ' %s %d'" % (name, number), [])
            check("preparing", result.status, psycopg.pq.ExecStatus.COMMAND_OK)
        while not stop.is_set():
            row = connection.execute("select %s::int, current_setting('timezone'), current_setting('datestyle'), "
                                     "current_setting('application_name'), pg_sleep(0.001)::text", (number,)).fetchone()
            check("settings", row, (number, zone, "SQL, DMY", mark, ""))
            result = wire.exec_prepared(b"S_1", [b"x"])
            check("prepared", result.get_value(0, 0), b"x S_1 %d" % number)
            with connection.transaction():
                connection.execute("set local datestyle to 'German'", prepare=False)
                connection.execute("select 1")
            with lock:
                rounds += 1
            ready()


def run(number, barrier_passed):
    first = [True]

    def ready():
        if first[0]:
            first[0] = False
            barrier_passed.release()
    try:
        decoy(number, ready)
    except Exception as error:  # whatever it is, it is a finding
        failures.append(f"decoy {number}: {type(error).__name__}: {error}")
        stop.set()
    finally:
        ready()


def main():
    count = int(sys.argv[1])
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    passed = threading.Semaphore(0)
    threads = [threading.Thread(target=run, args=(number, passed)) for number in range(count)]
    for thread in threads:
        thread.start()
    for _ in threads:
        passed.acquire()
    print("ready", flush=True)
    while not stop.wait(0.1):  # short: a signal is handled between two waits
        pass
    for thread in threads:
        thread.join()
    print(f"rounds {rounds}", flush=True)
    for failure in failures:
        print(failure, flush=True)
    sys.exit(1 if failures else 0)


main()
