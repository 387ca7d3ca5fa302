"""tests/e2e/test_flask_fleet.py -- a fleet of Flask applications and 200 held connections share ten servers."""
import concurrent.futures
import http.client
import json
import pathlib
import random
import sys
import threading
import time

import psycopg2
import pytest

from lib import peers
from lib.emulator import Emulator
from lib.pooler import application_database
from lib.ports import free_port, free_ports
from lib.postgres import Postgres
from lib.process import Process
from lib.sidepool import Proxy
from lib.waiting import eventually

NAME = "my-project:us-central1:my-postgres"
PRINCIPAL = "app@my-project.iam.gserviceaccount.com"
SIZE = 10  # the default of pool.size
INSTANCES = 10
HELD = 200
ITEMS = 100
FOLDER = pathlib.Path(__file__).resolve().parent / "app"
SCHEMA = f"""
create table item (id int primary key, name text not null, sold int not null default 0);
create table sale (item int not null, mark text not null);
insert into item select n, 'item ' || n from generate_series(1, {ITEMS}) n;
"""


@pytest.fixture(scope="module")
def postgres():
    peers.module("flask", "python3-flask")
    peers.module("gunicorn", "python3-gunicorn")
    with Postgres() as server:
        application_database(server)
        connection = server.connect(user="app", dbname="app")
        connection.cursor().execute(SCHEMA)
        connection.close()
        yield server


@pytest.fixture(scope="module")
def emulator(postgres):
    with Emulator(postgres, [NAME], principal=PRINCIPAL) as running:
        yield running


@pytest.fixture
def port(emulator, postgres):
    """sidepool as in service.yaml; at its end no server may be left."""
    number = free_port()
    with Proxy([f"--port={number}", "--auto-iam-authn", NAME],
               env={"CSQL_PROXY_SQLADMIN_API_ENDPOINT": emulator.url, "GCE_METADATA_HOST": emulator.host}) as proxy:
        yield number
        assert proxy.stop() == 143
    eventually(lambda: ours(postgres) == 0, "PostgreSQL has none of our servers left")


def ours(postgres):
    return postgres.sql("select count(*) from pg_stat_activity where usename = 'app'")[0][0]


class Instance:
    """gunicorn with 2 workers; `url` paths are asked over a connection of the caller's thread."""

    def __init__(self, database_port, http_port, pooled, threads=1):
        self.port = http_port
        environment = {"DB_PORT": str(database_port), "DB_NAME": "app", "DB_USER": "app", "DB_PASSWORD": "secret",
                       "DB_POOL": "1" if pooled else "0", "HOME": "/nonexistent"}
        self.process = Process(
            [sys.executable, "-B", "-m", "gunicorn", "--workers", 2, "--threads", threads, "--preload", "--log-level",
             "warning", "--graceful-timeout", 5, "--chdir", FOLDER, "--bind", f"127.0.0.1:{http_port}", "shop:app"],
            env=environment, name="gunicorn")

    def ask(self, method, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == 200, f"{response.status}: {body}\n{self.process.output()[-2000:]}"
            return json.loads(body)
        finally:
            connection.close()

    def read(self, number, mark):
        assert self.ask("GET", f"/item/{number}?mark={mark}") == {"row": [number, f"item {number}", mark], "below": number}

    def order(self, number, mark):
        assert self.ask("POST", f"/order/{number}?mark={mark}") == {"mark": mark}

    def close(self):
        try:
            self.process.stop()
        finally:
            self.process.kill()


class Fleet:
    """Instances, half of them with a connection per request."""

    def __init__(self, database_port, count, threads=1, pooled=lambda number: number % 2 == 1):
        self.instances = []
        try:
            for number, http_port in enumerate(free_ports(count)):
                self.instances.append(Instance(database_port, http_port, pooled(number), threads))
            for instance in self.instances:
                eventually(lambda i=instance: i.read(1, "first") is None, "the application answers", 90)
        except BaseException:
            self.close()
            raise

    def close(self):
        for instance in self.instances:
            instance.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Sampler:
    """Asks PostgreSQL itself, directly and all the time, how many sessions of ours there are."""

    def __init__(self, postgres):
        self.most, self.samples = 0, 0
        self._stop = threading.Event()
        self._connection = postgres.connect()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        with self._connection.cursor() as cursor:
            while not self._stop.wait(0.003):
                cursor.execute("select count(*) from pg_stat_activity where usename = 'app'")
                self.most = max(self.most, cursor.fetchone()[0])
                self.samples += 1

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._connection.close()


class Held:
    """One of the connections held open: its mark, and settings of its own that must be there whenever it is used."""

    ZONES = ["UTC", "Asia/Tokyo", "America/Lima", "Europe/Paris", "Australia/Sydney"]

    def __init__(self, port, number):
        self.number = number
        self.zone = self.ZONES[number % len(self.ZONES)]
        self.connection = psycopg2.connect(host="127.0.0.1", port=port, user="app", password="secret", dbname="app",
                                           application_name=f"held {number}")
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("set timezone to %s", (self.zone,))

    def use(self, generator):
        item = generator.randint(1, ITEMS)
        with self.connection, self.connection.cursor() as cursor:
            cursor.execute("select %s::text, current_setting('application_name'), current_setting('timezone'), name "
                           "from item where id = %s", (f"mark {self.number}", item))
            assert cursor.fetchone() == (f"mark {self.number}", f"held {self.number}", self.zone, f"item {item}")
            if generator.random() < 0.2:
                cursor.execute("select pg_sleep(0.01)")


@pytest.mark.deadline(240)
def test_ten_instances_and_200_held_connections_share_ten_servers(port, postgres):
    """Every answer is right, and pg_stat_activity never shows more than ten of ours."""
    generator = random.Random(7)
    orders = 300
    with Sampler(postgres) as sampler, Fleet(port, INSTANCES) as fleet:
        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            held = list(threads.map(lambda number: Held(port, number), range(HELD)))
            busy = [threading.Lock() for _ in held]  # a connection is used by one thread at a time

            def use_held(seed):
                own = random.Random(seed)
                for _ in range(150):
                    number = own.randrange(HELD)
                    with busy[number]:
                        held[number].use(own)

            def ask(number):
                instance = fleet.instances[number % INSTANCES]
                if number < orders:
                    instance.order(number % ITEMS + 1, f"order-{number}")
                else:
                    instance.read(number % ITEMS + 1, f"read-{number}")

            requests = list(range(1000))
            generator.shuffle(requests)
            work = [threads.submit(use_held, seed) for seed in range(6)]
            work += [threads.submit(ask, number) for number in requests]
            for future in concurrent.futures.as_completed(work):
                future.result()
            for one in held:
                one.use(generator)  # each of the 200 still has what it set
                one.connection.close()
    assert 2 <= sampler.most <= SIZE, f"at most {sampler.most} in {sampler.samples} samples"
    assert sampler.samples > 100
    # Nothing lost, nothing done twice.
    assert postgres.sql("select count(*), count(distinct mark) from sale", dbname="app") == [(orders, orders)]
    assert postgres.sql("select sum(sold) from item", dbname="app") == [(orders,)]


@pytest.mark.deadline(120)
def test_1000_connections_one_request_each_cost_at_most_size_logins(port, emulator, postgres):
    emulator.reset_records()
    begun = time.monotonic()
    with Sampler(postgres) as sampler, Fleet(port, 1, threads=4, pooled=lambda _: False) as fleet:
        instance = fleet.instances[0]
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda number: instance.read(number % ITEMS + 1, f"m{number}"), range(1000)))
    logins = emulator.count("login")
    print(f"1000 requests, {logins} logins, {time.monotonic() - begun:.1f} s")
    assert 1 <= logins <= SIZE
    assert sampler.most <= SIZE
