"""Reads an order from the owner's PostgreSQL, `{"id": 7}`: `pip install -t examples/orders pg8000`, then `--allow db.internal:5432`.

Its table: `CREATE TABLE orders (id int PRIMARY KEY, item text)`.
"""

import os

import pg8000.native

# Below the function's own timeout, which is 3 s unless --timeout says more.
LIMIT_S = 2


def handler(event, context):
    database = pg8000.native.Connection(
        os.environ.get("PGUSER", "orders"),
        password=os.environ.get("PGPASSWORD"),
        host=os.environ.get("PGHOST", "db.internal"),
        port=int(os.environ.get("PGPORT", "5432")),
        database=os.environ.get("PGDATABASE", "orders"),
        timeout=LIMIT_S,
    )
    try:
        rows = database.run("SELECT id, item FROM orders WHERE id = :id", id=event["id"])
    finally:
        database.close()
    return [{"id": number, "item": item} for number, item in rows]
