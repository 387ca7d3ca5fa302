"""tests/e2e/test_side_by_side_life.py -- probes, log lines, signals, exit codes and subcommands of Google's proxy and of sidepool
(cloudsql.md 6.8, 6.9, 6.11, 6.12, 7.1 to 7.3)."""
import contextlib
import os
import re
import signal
import socket
import subprocess
import tempfile

import psycopg2
import pytest

from lib import peers
from lib.emulator import Emulator
from lib.ports import free_port
from lib.postgres import Postgres
from lib.side_by_side import NAME, OTHER, PRINCIPAL, PROBES, Running, installed
from lib.sidepool import http_get
from lib.waiting import eventually


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    return peers.auth_proxy(), installed(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="module")
def postgres(programs):
    with Postgres() as server:
        server.create_role("alice", "secret")
        yield server


@pytest.fixture
def emulator(postgres):
    with Emulator(postgres, [NAME, OTHER], principal=PRINCIPAL) as running:
        yield running


def connect(running, port=None, **more):
    login = {"host": "127.0.0.1", "port": port or running.port, "user": "alice", "password": "secret", "dbname": "postgres",
             "connect_timeout": 30, **more}
    return psycopg2.connect(**login)


def both(programs, see):
    """What `see` makes of each program."""
    return [see(program) for program in programs]


def same(programs, see):
    google, ours = both(programs, see)
    assert google == ours
    return google


# -- probes


METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE"]
PATHS = ["/startup", "/readiness", "/liveness", "/", "/other", "/readiness/", "/startup?x=1", "/quitquitquit", "/debug/pprof/"]


def test_answers_of_the_probes(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            eventually(lambda: http_get(running.http, "/startup") == (200, "ok"), "it is ready")
            return {(method, path): http_get(running.http, path, method=method) for method in METHODS for path in PATHS}

    answers = same(programs, see)
    assert answers["GET", "/readiness"] == (200, "ok") and answers["GET", "/other"][0] == 404


@pytest.mark.parametrize("flags,present,absent", [
    (["--health-check", "--http-port", "{http}"], ["/startup", "/readiness", "/liveness"], ["/metrics"]),
    (["--prometheus", "--http-port", "{http}"], ["/metrics"], ["/startup", "/readiness", "/liveness"])])
def test_each_flag_opens_its_paths(programs, emulator, flags, present, absent):
    def see(program):
        with Running(program, emulator, *flags) as running:
            eventually(lambda: http_get(running.http, present[0])[0] == 200, "it listens")
            return {path: http_get(running.http, path)[0] for path in present + absent}

    statuses = same(programs, see)
    assert [statuses[path] for path in present + absent] == [200] * len(present) + [404] * len(absent)


def test_answers_of_the_admin_server(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            eventually(lambda: http_get(running.admin, "/")[0] == 404, "it listens")
            answers = {(method, path): http_get(running.admin, path, method=method)
                       for method in METHODS for path in ("/quitquitquit", "/", "/metrics", "/startup")
                       if path != "/quitquitquit" or method not in ("GET", "POST")}
            return answers, running.running()

    answers, alive = same(programs, see)
    assert alive and answers["PUT", "/quitquitquit"] == (400, "")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_quitquitquit_ends_with_0(programs, emulator, method):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            eventually(lambda: http_get(running.admin, "/")[0] == 404, "it listens")
            answer = http_get(running.admin, "/quitquitquit", method=method)
            return answer, running.wait(), bool(running.find(r"/quitquitquit received request\. Shutting down\.\.\."))

    assert same(programs, see) == ((200, ""), 0, True)


def test_http_port_is_taken(programs, emulator, postgres):
    def see(program):
        with Running(program, emulator, "--health-check", "--http-port", str(postgres.port), ready=False) as running:
            return running.wait()

    assert same(programs, see) == 1


def test_readiness_at_the_limit_of_connections(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES, "--max-connections", "1") as running:
            eventually(lambda: http_get(running.http, "/readiness") == (200, "ok"), "it is ready")
            with contextlib.closing(connect(running)):
                full = http_get(running.http, "/readiness")
                with pytest.raises(psycopg2.OperationalError) as refused:
                    connect(running)
                said = bool(running.wait_line(r"max connections \(1\) exceeded, refusing new connection"))
            eventually(lambda: http_get(running.http, "/readiness") == (200, "ok"), "there is room again")
            return full, said, str(refused.value)

    google, ours = both(programs, see)
    assert google[:2] == ours[:2] == ((503, "max connections reached (open = 1, max = 1)"), True)
    assert "closed the connection unexpectedly" in google[2]  # deviation: too-many
    assert "too many" in ours[2], ours[2]


# -- the log


START = [r"Authorizing with OAuth2 token", r"\[.*\] Listening on .*", r"The proxy has started successfully and is ready for new "
         r"connections!", r"Starting health check server at localhost:\d+", r"Enabling quitquitquit endpoint at localhost:\d+"]
LINES = [*START, r"\[.*\] Accepted connection from .*", r"\[.*\] client closed the connection",
         r"\[.*\] instance closed the connection", r"SIG(TERM|INT) signal received\. Shutting down\.\.\.",
         r"/quitquitquit received request\. Shutting down\.\.\.", r"Ignoring --.*"]


def verbatim(lines):
    """Those of cloudsql.md 6.11, ports of probes masked."""
    return [re.sub(r"localhost:\d+", "localhost:PORT", line) for line in lines
            if any(re.fullmatch(pattern, line) for pattern in LINES)]


def test_lines_of_a_start(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            eventually(lambda: http_get(running.http, "/startup") == (200, "ok"), "it is ready")
            running.wait_line("Enabling quitquitquit")
            running.stop()
            return (sorted(re.sub(r":\d+$", ":PORT", line) for line in verbatim(running.log_lines("out"))),
                    verbatim(running.log_lines("err")))

    out, err = same(programs, see)
    assert len(out) == 6 and not err
    google, ours = both(programs, lambda program: see(program)[0])
    assert google == ours


def hang_up(connection):
    """Without a Terminate: which end the original sees first behind that is chance."""
    with socket.socket(fileno=os.dup(connection.fileno())) as same_socket:
        same_socket.shutdown(socket.SHUT_RDWR)
    connection.close()


def test_lines_of_a_connection(programs, emulator, postgres):
    def see(program):
        with Running(program, emulator) as running:
            hang_up(connect(running))
            running.wait_line(r"client closed the connection")
            return verbatim(running.log_lines("out"))[3:]

    assert same(programs, see) == [f"[{NAME}] Accepted connection from 127.0.0.1:PORT", f"[{NAME}] client closed the connection"]


def test_lines_of_a_connection_by_a_unix_socket(programs, emulator):
    def see(program):
        with tempfile.TemporaryDirectory(prefix="sp-") as folder:
            with Running(program, emulator, "--unix-socket", folder, port=False) as running:
                hang_up(connect(running, 5432, host=f"{folder}/{NAME}"))
                running.wait_line(r"client closed the connection")
                return [line.replace(folder, "DIR") for line in verbatim(running.log_lines("out"))]

    same(programs, see)


def test_a_connection_that_says_nothing_is_not_logged(programs, emulator):
    """A kubelet's tcpSocket probe."""
    def see(program):
        with Running(program, emulator) as running:
            socket.create_connection(("127.0.0.1", running.port)).close()
            hang_up(connect(running))
            running.wait_line(r"client closed the connection")
            return len(running.find("Accepted connection"))

    assert both(programs, see) == [2, 1]  # deviation: accept-line


def test_failure_is_an_error_line(programs, emulator):
    """For each client there; here once a minute."""
    emulator.faults("connectSettings", {"status": 403, "reason": "notAuthorized", "times": -1})

    def see(program):
        with Running(program, emulator) as running:
            for _ in range(2):
                with pytest.raises(psycopg2.OperationalError):
                    connect(running)
            line = rf"\[{NAME}\] failed to connect to instance: .*googleapi: Error 403: .*notAuthorized"
            running.wait_line(line, stream="err")
            return len(running.find(line))

    assert both(programs, see) == [2, 1]  # deviation: failure-line


def test_failure_of_the_instance_is_an_error_line(programs, emulator):
    emulator.side("refuse")

    def see(program):
        with Running(program, emulator) as running:
            with pytest.raises(psycopg2.OperationalError):
                connect(running)
            return bool(running.wait_line(rf"\[{NAME}\] failed to connect to instance: .*refused", stream="err"))

    assert same(programs, see)


@pytest.mark.parametrize("flags", [["--structured-logs"], ["-l"], ["--structured-logs", "--debug-logs"]])
def test_structured_lines(programs, emulator, flags):
    def see(program):
        with Running(program, emulator, *flags, *PROBES) as running:
            running.wait_line("Enabling quitquitquit")
            assert all(line.startswith("{") for line in running.output().splitlines()), running.output()
            records = [record for record in running.log_records() if verbatim([record["message"]])]
            running.stop()
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", record["timestamp"]) for record in records)
        assert all(list(record)[:3] == ["timestamp", "severity", "message"] for record in records)
        return sorted((record["severity"], verbatim([record["message"]])[0].split(" on ")[0]) for record in records)

    assert len(same(programs, see)) == 5


def test_structured_errors_go_to_stderr(programs, emulator):
    emulator.side("refuse")

    def see(program):
        with Running(program, emulator, "--structured-logs") as running:
            with pytest.raises(psycopg2.OperationalError):
                connect(running)
            running.wait_line("failed to connect to instance", stream="err")
            return {record["severity"] for record in running.log_records() if "failed to connect" in record["message"]}

    assert same(programs, see) == {"ERROR"}


def test_quiet(programs, emulator):
    emulator.side("refuse")

    def see(program):
        with Running(program, emulator, "--quiet", *PROBES, ready=False) as running:
            eventually(lambda: http_get(running.http, "/startup") == (200, "ok"), "it is ready")
            with pytest.raises(psycopg2.OperationalError):
                connect(running)
            running.wait_line("failed to connect to instance", stream="err")
            code = running.stop()
            return running.output("out"), code

    assert same(programs, see) == ("", 143)


def test_quiet_and_structured(programs, emulator):
    emulator.side("refuse")

    def see(program):
        with Running(program, emulator, "--quiet", "--structured-logs", *PROBES, ready=False) as running:
            eventually(lambda: http_get(running.http, "/startup") == (200, "ok"), "it is ready")
            with pytest.raises(psycopg2.OperationalError):
                connect(running)
            return running.wait_line("failed to connect to instance", stream="err").string.startswith("{")

    assert both(programs, see) == [False, True]  # deviation: quiet-structured


def test_probes_before_the_first_success(programs, emulator):
    """Google's proxy opens them after its listeners, which wait for the API when a port is to be found out."""
    emulator.faults("connectSettings", {"hold": True, "times": -1})

    def see(program):
        with tempfile.TemporaryDirectory(prefix="sp-") as folder:
            with Running(program, emulator, *PROBES, "--unix-socket", folder, port=False, ready=False) as running:
                emulator.wait_count("arrived.connectSettings", 1)
                try:
                    return eventually(lambda: http_get(running.http, "/startup"), "it listens", 3)[0]
                except AssertionError:
                    return None
                finally:
                    running.kill()
                    emulator.release("connectSettings")
                    emulator.reset_records()

    assert both(programs, see) == [None, 503]  # deviation: startup-probe


def test_debug_has_profiles_of_go_only(programs, emulator):
    def see(program):
        with Running(program, emulator, "--debug", *PROBES) as running:
            running.wait_line("Enabling quitquitquit")
            eventually(lambda: http_get(running.admin, "/")[0] == 404, "it listens")
            return http_get(running.admin, "/debug/pprof/")[0]

    assert both(programs, see) == [200, 404]  # deviation: pprof


# -- signals and exit codes


@pytest.mark.parametrize("number,flags,code", [
    (signal.SIGTERM, [], 143), (signal.SIGINT, [], 130), (signal.SIGTERM, ["--exit-zero-on-sigterm"], 0),
    (signal.SIGINT, ["--exit-zero-on-sigterm"], 130), (signal.SIGTERM, ["--max-sigterm-delay", "10s"], 143),
    (signal.SIGTERM, ["--min-sigterm-delay", "100ms"], 143), (signal.SIGTERM, ["--max-sigterm-delay", "0"], 143)])
def test_exit_codes_without_clients(programs, emulator, number, flags, code):
    def see(program):
        with Running(program, emulator, *flags) as running:
            ended = running.stop(number)
            name = signal.Signals(number).name
            return ended, bool(running.find(rf"{name} signal received\. Shutting down\.\.\."))

    assert same(programs, see) == (code, True)


def test_an_open_transaction_makes_the_code_1(programs, emulator):
    def see(program):
        with Running(program, emulator, "--max-sigterm-delay", "500ms") as running:
            with contextlib.closing(connect(running)) as connection:
                connection.cursor().execute("select 1")  # psycopg2 has begun a transaction
                code = running.stop()
            return code, bool(running.find(r"1 connection\(s\) still open after"))

    assert same(programs, see) == (1, True)


def test_idle_clients_at_the_end(programs, emulator):
    def see(program):
        with Running(program, emulator, "--max-sigterm-delay", "500ms") as running:
            with contextlib.closing(connect(running)):
                return running.stop()

    assert both(programs, see) == [1, 143]  # deviation: idle-clients


def test_clients_that_leave_in_time(programs, emulator):
    def see(program):
        with Running(program, emulator, "--max-sigterm-delay", "20s") as running:
            connection = connect(running)
            connection.cursor().execute("select 1")
            running.send_signal(signal.SIGTERM)
            running.wait_line("SIGTERM signal received")
            connection.commit()
            connection.close()
            return running.wait()

    assert same(programs, see) == 143


def test_a_transaction_without_a_delay(programs, emulator):
    def see(program):
        with Running(program, emulator) as running:
            with contextlib.closing(connect(running)) as connection:
                cursor = connection.cursor()
                cursor.execute("select 1")
                running.send_signal(signal.SIGTERM)
                running.wait_line("SIGTERM signal received")
                try:
                    cursor.execute("select 2")
                    connection.commit()
                    went_on = True
                except psycopg2.OperationalError:
                    went_on = False
            return went_on, running.wait()

    assert both(programs, see) == [(False, 143), (True, 143)]  # deviation: drain


def test_min_sigterm_delay_serves_on(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES, "--min-sigterm-delay", "3s") as running:
            eventually(lambda: http_get(running.http, "/readiness") == (200, "ok"), "it is ready")
            running.send_signal(signal.SIGTERM)
            running.wait_line("SIGTERM signal received")
            connect(running).close()
            readiness, liveness = http_get(running.http, "/readiness"), http_get(running.http, "/liveness")
            return running.wait(), liveness, readiness

    google, ours = both(programs, see)
    assert google[:2] == ours[:2] == (143, (200, "ok"))
    assert (google[2], ours[2]) == ((200, "ok"), (503, "proxy has stopped"))  # deviation: readiness


def test_second_signal(programs, emulator):
    def see(program):
        with Running(program, emulator, "--min-sigterm-delay", "2s", "--max-sigterm-delay", "1s") as running:
            with contextlib.closing(connect(running)):
                running.send_signal(signal.SIGTERM)
                running.wait_line("SIGTERM signal received")
                running.send_signal(signal.SIGTERM)
                return running.wait()

    google, ours = both(programs, see)
    assert google == 1  # both delays ran out
    assert ours == 143  # deviation: second-signal


def test_sighup(programs, emulator):
    google, ours = programs
    with Running(google, emulator) as running:
        running.send_signal(signal.SIGHUP)
        assert running.wait() == -signal.SIGHUP
    with Running(ours, emulator) as running:
        running.send_signal(signal.SIGHUP)
        running.wait_line("the configuration is loaded")  # deviation: sighup
        assert running.stop() == 143


def test_systemd_is_told(programs, emulator):
    import socket

    def see(program):
        with tempfile.TemporaryDirectory(prefix="sp-") as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"{folder}/notify")
            systemd.settimeout(30)
            with Running(program, emulator, env={"NOTIFY_SOCKET": f"{folder}/notify"}):
                return systemd.recv(100)

    assert same(programs, see) == b"READY=1"


# -- connection test


@pytest.mark.parametrize("works", [True, False])
def test_connection_test(programs, emulator, works):
    if not works:
        emulator.side("refuse", OTHER)

    def see(program):
        with Running(program, emulator, "--run-connection-test", names=(NAME, OTHER), ready=False) as running:
            running.wait_line("Connection test started")
            running.wait_line("Connection test (passed|failed)")
            if works:
                running.wait_line("ready for new connections")
            return running.stop() if works else running.wait(), [line for line in running.log_lines()
                                                                 if line.startswith(("Connection test", "The proxy has started"))]

    google, ours = both(programs, see)
    ready = "The proxy has started successfully and is ready for new connections!"
    # stdout and stderr are two pipes: the order of their lines is not known.
    code, lines = google[0], sorted(line for line in google[1] if line != ready)
    assert (ours[0], sorted(line for line in ours[1] if line != ready)) == (code, lines)
    assert (ready in ours[1]) == works
    if works:
        assert google[1].index(ready) < google[1].index("Connection test passed")
        assert ours[1].index(ready) > ours[1].index("Connection test passed")  # deviation: connection-test
    assert (code, lines) == ((143, ["Connection test passed", "Connection test started"]) if works else
                             (1, ["Connection test failed", "Connection test started"]))


def test_skip_failed_instance_config(programs, emulator, postgres):
    def see(program):
        with Running(program, emulator, "--skip-failed-instance-config", names=(f"{OTHER}?port={postgres.port}", NAME)) as running:
            said = running.wait_line(rf"\[{OTHER}\] Unable to mount socket: .*\(skipped due to skip-failed-instance-config flag\)")
            connect(running).close()
            return bool(said), [name for name, _ in running.listening()]

    assert same(programs, see) == (True, [NAME])


# -- subcommands


def run(program, *args, env=None):
    return subprocess.run([program, *args], env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", **(env or {})}, capture_output=True,
                          text=True, timeout=60, check=False)


def test_wait(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            ready = run(program, "wait", "--http-port", str(running.http))
            metrics_port = run(program, "wait", "--http-port", str(running.http), "--http-address", "127.0.0.1", "--max", "10s")
        nobody = run(program, "wait", "-m", "500ms", "--http-port", str(free_port()))
        return ready.returncode, metrics_port.returncode, nobody.returncode, nobody.stderr.partition("\n")[0]

    assert same(programs, see) == (0, 0, 1, "Error: command failed to complete successfully")


def test_wait_needs_the_health_check(programs, emulator):
    def see(program):
        with Running(program, emulator, "--prometheus", "--http-port", "{http}") as running:
            return run(program, "wait", "--max", "1500ms", "--http-port", str(running.http)).returncode

    assert same(programs, see) == 1


def test_shutdown(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            running.wait_line("Enabling quitquitquit")
            eventually(lambda: http_get(running.admin, "/")[0] == 404, "it listens")
            done = run(program, "shutdown", "--admin-port", str(running.admin))
            ended = running.wait()
        nobody = run(program, "shutdown", "--admin-port", str(running.admin))
        return done.returncode, done.stdout, ended, nobody.returncode, "failed to send shutdown request: " in nobody.stderr

    assert same(programs, see) == (0, "", 0, 1, True)


@pytest.mark.parametrize("args", [["wait", "--max", "x"], ["wait", "--bogus"], ["shutdown", "--bogus"], ["shutdown", "--admin-port"]])
def test_subcommands_refuse_bad_flags(programs, args):
    assert same(programs, lambda program: run(program, *args).returncode) == 1


def test_variables_of_subcommands(programs, emulator):
    def see(program):
        with Running(program, emulator, *PROBES) as running:
            running.wait_line("Enabling quitquitquit")
            eventually(lambda: http_get(running.admin, "/")[0] == 404, "it listens")
            return run(program, "shutdown", env={"CSQL_PROXY_ADMIN_PORT": str(running.admin)}).returncode

    assert same(programs, see) == 1


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion(programs, shell):
    def see(program):
        done = run(program, "completion", shell)
        return done.returncode, "cloud-sql-proxy" in done.stdout, "--auto-iam-authn" in done.stdout or len(done.stdout) > 500

    assert same(programs, see) == (0, True, True)


def test_completion_is_no_instance(programs):
    assert same(programs, lambda program: run(program, "completion").returncode) == 0


@pytest.mark.parametrize("args", [["--help"], ["-h"], ["help"], ["help", "wait"], ["wait", "--help"], ["shutdown", "-h"],
                                  [NAME, "--help"]])
def test_help(programs, args):
    def see(program):
        done = run(program, *args)
        return done.returncode, bool(done.stdout), "Usage" in done.stdout, done.stderr

    assert same(programs, see) == (0, True, True, "")


def test_help_beside_an_error(programs):
    assert both(programs, lambda program: run(program, "--help", "--port", "x").returncode) == [1, 1]


def test_help_names_every_flag(programs):
    google, ours = (run(program, "--help").stdout for program in programs)
    flags = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", google, re.M))
    assert len(flags) > 40
    missing = {flag for flag in flags if not re.search(rf"--{flag}\b", ours)}
    assert not missing - {"fuse", "fuse-tmp-dir", "sql-data", "sqldata-api-endpoint", "telemetry-project",
                          "resource-exhausted-cooldown-delay"}, missing


@pytest.mark.parametrize("flag", ["--version", "-v"])
def test_version(programs, flag):
    google, ours = (run(program, flag) for program in programs)
    assert (google.returncode, ours.returncode) == (0, 0)
    assert re.fullmatch(r"cloud-sql-proxy version \d+\.\d+\.\d+\n", google.stdout)
    assert re.fullmatch(r"cloud-sql-proxy version \d+\.\d+\.\d+\+sidepool\n", ours.stdout)  # deviation: version
