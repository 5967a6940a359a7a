"""Orders in PostgreSQL with psycopg: an order and the event about it are one transaction.

    python orders_postgres.py postgres://shop:secret@localhost/shop
"""

import itertools
import sys

import psycopg
from psycopg.types.json import Json


class Declined(Exception):
    """The customer's bank declined the payment."""


def place_order(db: psycopg.Connection, number: int) -> None:
    event = {
        "type": "track",
        "event": "Order placed",
        "userId": f"customer-{number % 7}",
        "properties": {"number": number},
    }
    with db.transaction():  # commits both, or none when an exception passes
        db.execute("INSERT INTO orders (number) VALUES (%s)", (number,))
        db.execute("SELECT postrider.enqueue(%s, %s, %s)", ("shop", Json(event), f"order-{number}"))
        charge(number)


def charge(number: int) -> None:
    if number % 5 == 0:
        raise Declined


def main(url: str) -> None:
    db = psycopg.connect(url, autocommit=True)
    (last,) = db.execute("SELECT coalesce(max(number), 0) FROM orders").fetchone()
    for number in itertools.count(last + 1):
        try:
            place_order(db, number)
            print(f"placed {number}", flush=True)
        except Declined:
            print(f"declined {number}", flush=True)


main(sys.argv[1])
