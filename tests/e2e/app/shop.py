"""tests/e2e/app/shop.py -- the application of the first example: Flask and psycopg2, as teams have it on Cloud Run.

DB_NAME, DB_USER and DB_PASSWORD come from the environment, the database is at localhost:5432 (DB_HOST, DB_PORT). A connection
is opened per request, or, with DB_POOL=1, taken from a ThreadedConnectionPool(2, 10) of each worker. It knows nothing of a pooler.
"""
import contextlib
import os
import threading

import psycopg2
import psycopg2.pool
from flask import Flask, jsonify, request

app = Flask(__name__)
LOGIN = {"host": os.environ.get("DB_HOST", "localhost"), "port": os.environ.get("DB_PORT", "5432"),
         "dbname": os.environ["DB_NAME"], "user": os.environ["DB_USER"], "password": os.environ.get("DB_PASSWORD", "")}
_lock = threading.Lock()
_pool = None


def pool():
    global _pool
    with _lock:
        if _pool is None:
            _pool = psycopg2.pool.ThreadedConnectionPool(2, 10, **LOGIN)
    return _pool


@contextlib.contextmanager
def database():
    if os.environ.get("DB_POOL") == "1":
        connection = pool().getconn()
        try:
            yield connection
        finally:
            pool().putconn(connection)  # rolls back what is open
    else:
        connection = psycopg2.connect(**LOGIN)
        try:
            yield connection
        finally:
            connection.close()


@app.get("/item/<int:number>")
def item(number):
    # Neither commit nor rollback: the connection goes while its transaction is open, as in many applications.
    with database() as connection, connection.cursor() as cursor:
        cursor.execute("select id, name, %s from item where id = %s", (request.args["mark"], number))
        row = cursor.fetchone()
        cursor.execute("select count(*) from item where id <= %s", (number,))
        return jsonify(row=row, below=cursor.fetchone()[0])


@app.post("/order/<int:number>")
def order(number):
    with database() as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute("update item set sold = sold + 1 where id = %s returning id", (number,))
            cursor.execute("insert into sale (item, mark) values (%s, %s) returning mark", (number, request.args["mark"]))
            return jsonify(mark=cursor.fetchone()[0])
